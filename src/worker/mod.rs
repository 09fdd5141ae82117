//! A worker process and the two ends of the connection to it.
//!
//! `launch` starts one, by executing the program or with the help of a `forkserver` (whose side of that
//! is `forking`), from which `birth` says what a child is to find, `newborn` is one on its way and `spare` one that
//! waits. `rings` is what lies ready for it, `serve` is what runs in it, `once` in one that runs one task, `link` is
//! how its parent talks to it and `lifeline` how the parent ends it and learns of its end.
//!
//! Must stay true: a worker is alone with its rings, no lock is shared with another worker; a worker
//! whose parent is gone kills itself and its group; a process number is never signalled after it was
//! reaped.
//!
//! Never here: which task goes to which worker.

mod birth;
mod entrance;
mod forking;
mod forkserver;
mod launch;
mod lifeline;
mod link;
mod method;
mod newborn;
mod once;
mod preload;
mod reaper;
mod registry;
mod rings;
mod serve;
mod spare;
mod strays;
mod wish;

pub use forkserver::warm_up;
pub use method::StartMethod;
pub use registry::{ChildInfo, active_children};

pub(crate) use entrance::Entrance;
pub(crate) use forkserver::ForkServer;
pub(crate) use launch::{Blueprint, Launched, Source, Streams, launch};
pub(crate) use lifeline::{Lifeline, Remains};
pub(crate) use link::{Post, ReplySide, RequestSide};
pub(crate) use preload::Preload;
pub(crate) use serve::serve;
