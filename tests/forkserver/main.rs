//! Children that are forked: by a server that may die, that is prepared or not, and that shows its children
//! what the application is at that moment.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../deadline/mod.rs"]
mod deadline;
#[path = "../leftovers/mod.rs"]
mod leftovers;
#[path = "../notes/mod.rs"]
mod notes;
#[path = "../processes/mod.rs"]
mod processes;
#[path = "../tasks/mod.rs"]
mod tasks;

mod application;
mod many;
mod preload;
mod server;
mod spares;

use std::time::Duration;

use procession::{Process, StartMethod};

use crate::deadline::within;
use crate::leftovers::{Found, everybody};

pub(crate) fn forked() -> procession::ProcessBuilder {
    Process::builder().start_method(StartMethod::ForkServer)
}

/// The fork servers of this process.
pub(crate) fn servers() -> Vec<Found> {
    let mut servers = everybody();
    servers.retain(|found| found.parent == std::process::id() && found.is_fork_server());
    servers
}

/// Longer than that between two starts, and there are no spares.
pub(crate) const SOON: Duration = Duration::from_millis(20);

/// The children that wait to be told what they are to be.
pub(crate) fn spares() -> Vec<Found> {
    let mut spares = everybody();
    spares.retain(|found| found.parent == std::process::id() && found.is_spare());
    spares
}

/// Starts one process after the other until there are spares.
pub(crate) async fn some_spares() -> Vec<u32> {
    loop {
        within(forked().spawn(|| (), ())).await.unwrap();
        let spares = spares();
        if !spares.is_empty() {
            return spares.iter().map(|spare| spare.pid).collect();
        }
    }
}

/// Lets this process have as many descriptors as it may.
pub(crate) fn raise_descriptor_limit() {
    let resource = rustix::process::Resource::Nofile;
    let mut limit = rustix::process::getrlimit(resource);
    limit.current = limit.maximum;
    rustix::process::setrlimit(resource, limit).unwrap();
}

pub(crate) fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    // Does nothing if it is gone by itself.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}
