//! Starting a child by executing this program again.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;

use super::child_guard::ChildGuard;
use super::command::{Reserve, command, start, take_pipes};
use super::greeting::greeting;
use super::launched::Launched;
use super::link::Rings;
use super::spec::{ChildSpec, StdioSpec};
use super::stdio_plan::StdioPlan;
use crate::sys::doorbell::Doorbell;
use crate::sys::signal;
use crate::transfer::greeting::Role;

/// Executes a worker that rings `doorbell`, or without one a single-task process. Blocks for about a millisecond, so
/// not on a runtime thread.
pub(super) fn exec(
    spec: &ChildSpec,
    streams: StdioSpec,
    doorbell: Option<&Doorbell>,
) -> io::Result<Launched> {
    let (role, rings) = match doorbell {
        Some(_) => (Role::Worker, Rings::of_worker(spec.other_lanes)?),
        None => (Role::Single, Rings::of_single()?),
    };
    let plan = StdioPlan::new(streams)?;
    let greeting = greeting(spec, role, &plan.sent_slots());
    let fds: Vec<_> = rings.descriptors(doorbell).chain(plan.sent_fds()).collect();
    plan.control.send(&greeting, &fds)?;

    let mut command = command(spec, plan.slot)?;
    let (control, stdin_pipe) = plan.apply(&mut command);
    let mut started = match start_on_own_thread(&mut command) {
        // There may be room for the process without the thread.
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {
            start(&mut command, Reserve::take()?)?
        }
        started => started?,
    };
    let pipes = take_pipes(&mut started);
    let guard = ChildGuard::executed(started, spec);
    let mut pipes = pipes?;
    if stdin_pipe.is_some() {
        pipes[0] = stdin_pipe;
    }
    let pidfd = signal::pidfd(guard.signal_handle().pid())?;
    let link = rings.into_link(&Arc::new(control));
    Ok(Launched::new(link, guard, pidfd, pipes))
}

/// Executes a fork server that finds its greeting at `theirs`. Blocks.
pub(super) fn exec_fork_server(
    theirs: OwnedFd,
    spec: &ChildSpec,
) -> io::Result<async_process::Child> {
    let mut command = command(spec, 0)?;
    command
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::inherit())
        .stderr(Stdio::inherit());
    start_on_own_thread(&mut command)
}

/// Starts the command on a thread that ends, so that the child is soon a child of the main thread. On a thread that
/// starts other children it would be taken for a leaked one, and the end of a thread that stays idle for a while would
/// interrupt the child (`sys/parent_death.rs`).
fn start_on_own_thread(command: &mut async_process::Command) -> io::Result<async_process::Child> {
    let reserve = Reserve::take()?;
    let starting = || start(command, reserve);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, starting)?;
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
