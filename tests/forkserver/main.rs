//! `StartMethod::ForkServer`: forked children, the fork server, its spares and preloads. One file for each topic.
//!
//! This file has what several topics use.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../deadline/mod.rs"]
mod deadline;
#[path = "../leftovers/mod.rs"]
mod leftovers;
#[path = "../notes/mod.rs"]
mod notes;
#[path = "../tasks/mod.rs"]
mod tasks;

mod application;
mod many;
mod preload;
mod server;
mod spares;

use std::time::Duration;

use procession::{Process, StartMethod};

use crate::deadline::until;
use crate::leftovers::processes::{ProcessInfo, children, kill_if_running};

/// A builder of forked processes.
pub(crate) fn forked() -> procession::ProcessBuilder {
    Process::builder().start_method(StartMethod::ForkServer)
}

/// The fork servers of this process.
pub(crate) fn servers() -> Vec<ProcessInfo> {
    let mut servers = children();
    servers.retain(ProcessInfo::is_fork_server);
    servers
}

/// Spares end when no process was started for this time.
pub(crate) const SPARE_TIME: Duration = Duration::from_millis(20);

/// The spares of this process.
pub(crate) fn spares() -> Vec<ProcessInfo> {
    let mut spares = children();
    spares.retain(ProcessInfo::is_spare);
    spares
}

/// Starts processes one after the other until there are spares, and returns their pids.
pub(crate) async fn some_spares() -> Vec<u32> {
    loop {
        // On a machine under load a process may take longer than [`SPARE_TIME`], so its end is not waited for.
        let process = forked().spawn(|| (), ());
        until(|| process.pid().is_some()).await;
        let spares = spares();
        if !spares.is_empty() {
            return spares.iter().map(|spare| spare.pid).collect();
        }
    }
}

/// Raises the descriptor limit of this process to the hard limit.
pub(crate) fn raise_descriptor_limit() {
    let resource = rustix::process::Resource::Nofile;
    let mut limit = rustix::process::getrlimit(resource);
    limit.current = limit.maximum;
    rustix::process::setrlimit(resource, limit).unwrap();
}

/// Kills the fork servers of this process.
pub(crate) fn kill_servers() {
    for server in servers() {
        kill_if_running(server.pid);
    }
}
