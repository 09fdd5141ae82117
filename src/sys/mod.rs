//! Typed access to the kernel. Runs in the parent and in its children.
//!
//! Lives here: shared memory, sockets that carry descriptors, doorbells, futexes, signals, the attributes of processes,
//! and the table of entry points that the linker builds. All unsafe code of the crate is here.
//!
//! Must stay true: an `OwnedFd` owns a new descriptor before the next call that can fail; every descriptor is
//! close-on-exec; no code here knows what a task, a worker or a pool is.
//!
//! Never here: policy. The layers above decide which process is killed, and when.

pub(crate) mod atomics;
mod available;
pub(crate) mod buffer;
pub(crate) mod bundle;
pub(crate) mod hugepages;
pub(crate) mod memory;
mod page_range;
mod populate;
pub(crate) mod scratch;
pub(crate) mod sealed_memory;
pub(crate) mod socket;
pub(crate) mod stack;

pub(crate) mod doorbell;
pub(crate) mod futex;
pub(crate) mod reactor;

pub(crate) mod cgroup;
pub(crate) mod clock;
pub(crate) mod close_watch;
pub(crate) mod cpu_count;
pub(crate) mod cpu_timer;
pub(crate) mod crash_handler;
pub(crate) mod crash_note;
pub(crate) mod exit;
pub(crate) mod exit_cause;
pub(crate) mod fork;
pub(crate) mod fork_epoch;
pub(crate) mod hook;
pub(crate) mod identity;
pub(crate) mod image;
pub(crate) mod inheritable;
pub(crate) mod limits;
pub(crate) mod mark;
pub(crate) mod objects;
pub(crate) mod out_of_memory;
pub(crate) mod parent_death;
pub(crate) mod prefault;
pub(crate) mod presence;
pub(crate) mod process_mark;
pub(crate) mod process_tree;
pub(crate) mod procfs;
pub(crate) mod program;
pub(crate) mod rights;
pub(crate) mod sched;
pub(crate) mod signal;
pub(crate) mod stdio;
pub(crate) mod text;
pub(crate) mod thread_value;
pub(crate) mod title;
pub(crate) mod unmapped;
mod unwind;
pub(crate) mod writable_memory;
pub(crate) mod yields;
