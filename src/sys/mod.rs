//! The kernel, with types.
//!
//! Lives here: shared memory, sockets that carry descriptors, bells, futexes, process identity and
//! the table of entry points that the linker builds. Every call the crate makes into the kernel or
//! the linker's symbols is made here, so that the layers above are plain safe Rust.
//!
//! Must stay true: a descriptor is an `OwnedFd` before anything after it can fail; every descriptor
//! is close-on-exec; nothing here knows what a task, a worker or a pool is.
//!
//! Never here: policy. Which process is killed, and when, is decided above.

pub(crate) mod gap;
pub(crate) mod huge;
pub(crate) mod mapping;
pub(crate) mod socket;

pub(crate) mod bell;
pub(crate) mod futex;
pub(crate) mod reactor;
pub(crate) mod robust;

pub(crate) mod child;
pub(crate) mod clock;
pub(crate) mod ending;
pub(crate) mod fork;
pub(crate) mod hook;
pub(crate) mod image;
pub(crate) mod leash;
pub(crate) mod limits;
pub(crate) mod text;
pub(crate) mod title;
pub(crate) mod warm;
