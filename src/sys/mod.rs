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

pub(crate) mod buffer;
pub(crate) mod hugepages;
pub(crate) mod memory;
pub(crate) mod socket;

pub(crate) mod doorbell;
pub(crate) mod futex;
pub(crate) mod reactor;
pub(crate) mod robust_mutex;

pub(crate) mod clock;
pub(crate) mod exit;
pub(crate) mod fork;
pub(crate) mod hook;
pub(crate) mod identity;
pub(crate) mod image;
pub(crate) mod limits;
pub(crate) mod parent_death;
pub(crate) mod prefault;
pub(crate) mod procfs;
pub(crate) mod sched;
pub(crate) mod signal;
pub(crate) mod stdio;
pub(crate) mod text;
pub(crate) mod title;
