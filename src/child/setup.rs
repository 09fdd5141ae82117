//! Applying the greeting to this process: streams, limits, identity.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::call::executor::Executor;
use crate::call::panic_capture;
use crate::ring::{Consumer, Producer, Ring};
use crate::sys::doorbell::Doorbell;
use crate::sys::{
    cgroup, crash_handler, exit_cause, identity, limits, process_tree, sched, stdio, title,
};
use crate::task;
use crate::task::Identity;
use crate::transfer::control::ControlSocket;
use crate::transfer::greeting::Greeting;

/// The exit status of a child that could not take its role (`EX_SOFTWARE` of `sysexits.h`).
pub(super) const FAILED: i32 = 70;

/// The rings with the notes in which this process leaves why it ends: a signal handler stores there at any time.
static WATCHED: OnceLock<[Ring; 2]> = OnceLock::new();

/// Puts the streams that came with the greeting into their slots. Returns the descriptors of the role, which are the
/// first `role_fds`.
pub(super) fn take_stdio(
    greeting: &Greeting,
    mut fds: Vec<OwnedFd>,
    role_fds: usize,
) -> io::Result<Vec<OwnedFd>> {
    let streams = fds.split_off(fds.len().min(role_fds));
    for (slot, stream) in greeting.stdio_slots.iter().zip(&streams) {
        stdio::put_slot(*slot, stream.as_fd())?;
    }
    Ok(fds)
}

/// Lets this process leave for its parent why it ends, and notice that its control socket was closed.
pub(super) fn watch_connection(control: &ControlSocket, rings: &[Ring; 2]) -> io::Result<()> {
    panic_capture::leave_reports_in(Some(rings[0].clone()));
    task::report_progress_in(rings[0].clone());
    let [requests, replies] = WATCHED.get_or_init(|| rings.clone());
    crash_handler::leave_note_in(replies.words_aside());
    exit_cause::watch(control, requests.note())
}

/// Applies the greeting's control group, name, session, limits, nice value and processors, before there is a second
/// thread.
pub(super) fn apply_limits(greeting: &Greeting) -> io::Result<()> {
    if let Some(group) = &greeting.cgroup {
        let entered = cgroup::enter(Path::new(&group.path));
        if group.required {
            entered?;
        }
    }
    let name = greeting.name.as_deref().unwrap_or("procession");
    identity::set_thread_name(name);
    match greeting.detached {
        true => title::set_title(&format!("{}{name}", title::DETACHED)),
        false => title::set_title(&format!("procession: {name}")),
    }
    if greeting.detached {
        // Fails only if this process leads a session already.
        let _ = identity::lead_session();
    }
    if !greeting.detached {
        // What a task has started and whose own parent has ended is this process's child then, and is found when this
        // process is killed. It fails on no kernel since 3.4.
        let _ = process_tree::adopt_orphans();
    }
    if greeting.memory_limit.is_some() {
        crash_handler::report_out_of_memory()?;
    }
    for (kind, amount) in &greeting.limits {
        match *kind {
            // The hard limit stays, so that shared memory may be larger (`with_file_size`).
            limits::FILE_SIZE => limits::lower_soft(*kind, *amount)?,
            _ => limits::lower(*kind, *amount)?,
        }
    }
    // Fails only for a lower nice value without the right to it: then the nice value stays.
    let _ = sched::set_nice(greeting.nice);
    match &greeting.processors[..] {
        [] => Ok(()),
        some => sched::set_affinity(some),
    }
}

/// Tells tasks who this process is, and has panics captured.
pub(super) fn set_identity(greeting: Greeting) {
    task::set_identity(Identity {
        name: greeting.name,
        parent: greeting.parent,
        pool: greeting.pool,
        number: greeting.number,
        seed: greeting.seed,
        scratch: greeting.scratch,
    });
    panic_capture::install();
}

/// Limits the memory that this process may add to what it has, or exits.
pub(super) fn limit_memory(limit: Option<u64>) {
    let limited = limit.map_or(Ok(()), limits::limit_memory_growth);
    if let Err(error) = limited {
        eprintln!("procession: this process's memory cannot be limited: {error}");
        std::process::exit(FAILED);
    }
}

/// Runs the requests in the rings.
pub(super) fn executor(
    [requests, replies]: [Ring; 2],
    doorbell: Option<Doorbell>,
    control: &Arc<ControlSocket>,
) -> Executor {
    let (requests, replies) = (Consumer::new(requests), Producer::new(replies));
    let doorbell = doorbell.map(Arc::new);
    Executor::new(requests, replies, doorbell, Arc::clone(control))
}

/// Exits because a ring is corrupt.
pub(super) fn exit_corrupt(corrupt: impl std::fmt::Display) -> ! {
    eprintln!("procession: {corrupt}");
    std::process::exit(FAILED)
}
