//! A fork server: one thread that waits for a request, forks and answers.
//!
//! It holds no descriptor but its control socket, so a fork has nothing to close. A failure is reported to the parent
//! of the child that was asked for. The fork server exits when its control socket has ended.

use std::hint::black_box;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use super::announce::{announce, announce_self, refusal, refuse};
use super::control::recv_until_ready;
use super::fork_setup::ForkSetup;
use super::forked_children::ForkedChildren;
use super::server_state::ServerState;
use super::setup::executor;
use super::single::ReleasedSpare;
use super::spare::become_spare;
use super::task_thread;
use crate::call::envelope::WORKER_RING_BYTES;
use crate::call::executor::NextRequest;
use crate::call::panic_capture;
use crate::call::rings::RingLayout;
use crate::ring::Ring;
use crate::sys::clock::{Moment, boot_ticks};
use crate::sys::doorbell::Doorbell;
use crate::sys::fork::Sibling;
use crate::sys::parent_death;
use crate::sys::parent_death::ParentDeathSignal;
use crate::sys::{cgroup, fork, identity, scratch, stdio, title};
use crate::transfer::control::{ControlSocket, exactly};
use crate::transfer::env_block::EnvBlock;
use crate::transfer::fork_spec::ForkSpec;
use crate::transfer::messages::{FromForkServer, ToForkServer};

/// Its thread's name and its title in lists of processes.
const SERVER_NAME: &str = "procession-fork";
const SERVER_TITLE: &str = "procession: fork server";

/// So many messages in a row that cannot be received mean that none can be.
const MOST_UNREADABLE_REQUESTS: usize = 100;

const THREADS: &str = "it has started threads, which would be missing in every copy of its process";

/// What a fork is.
#[derive(Debug)]
pub(super) enum Forked {
    /// A child that is greeted at its control socket.
    Child(ControlSocket),
    /// A spare that was released.
    Spare(Box<ReleasedSpare>),
}

/// Runs the preload, on the one thread that a fork server may have. Returns the control socket.
pub(super) fn run_preload(fds: Vec<OwnedFd>, control: ControlSocket) -> io::Result<ControlSocket> {
    if !fork::is_alone() {
        let _ = control.send(&FromForkServer::Unfit(THREADS.to_owned()), &[]);
        fork::quit(0);
    }
    let control = Arc::new(control);
    let [memory, doorbell, pipe] = exactly(fds)?;
    let rings = RingLayout::Worker.map(&memory)?;
    panic_capture::leave_reports_in(Some(rings[0].clone()));
    let mut executor = executor(rings, Some(Doorbell::from(doorbell)), &control);
    drop(memory);
    panic_capture::install();
    if !recv_until_ready(&control, &executor)? {
        fork::quit(0);
    }
    let parent_death = ParentDeathSignal::killing(&pipe)?;
    drop(pipe);
    task_thread::leave_main_to_preload();
    while let NextRequest::Run(enter) = executor.next().map_err(io::Error::other)? {
        enter(&mut executor);
    }
    drop(parent_death);
    drop(executor);
    panic_capture::leave_reports_in(None);
    Arc::into_inner(control).ok_or_else(|| io::Error::other("its control socket is in use"))
}

/// Prepares this process for its forks, and reports that, or that it cannot fork, which may be the fault of its
/// preload.
pub(super) fn prepare_to_fork(control: &ControlSocket, has_preload: bool) {
    // Or each fork would write the buffered output again.
    let _ = io::stdout().flush();
    fork::flush_c_streams();
    let answer = match fork::is_alone() {
        true => {
            prewarm_thread();
            panic_capture::install();
            fork::gather_pages();
            title::prepare();
            let environment = EnvBlock::of_this_process();
            FromForkServer::Settled(environment.fits_message().then_some(environment))
        }
        false if has_preload => FromForkServer::Spoiled(THREADS.to_owned()),
        false => FromForkServer::Unfit(THREADS.to_owned()),
    };
    // This fails if the parent has ended, which `serve_requests` sees.
    let _ = control.send(&answer, &[]);
}

/// Starts and joins a thread like the second thread of a worker, so that its stack is mapped in all forks.
///
/// The thread allocates nothing. A second arena of the C library's allocator would cost each fork more than it saves.
fn prewarm_thread() {
    if let Ok(thread) = thread::Builder::new().spawn(|| ()) {
        let _ = thread.join();
    }
    // These look up values that the kernel gives to a process, and keep them.
    black_box((Ring::footprint(WORKER_RING_BYTES), Moment::now()));
}

/// Forks on request. Returns only in the forks.
pub(super) fn serve_requests(control: ControlSocket) -> io::Result<Forked> {
    identity::set_thread_name(SERVER_NAME);
    title::set_title(SERVER_TITLE);
    // A reader of the application's output must see its end while this process lives.
    for slot in [1, 2] {
        stdio::put_slot(slot, stdio::standard(0))?;
    }
    // Stopped, it would not see the end of its socket. Every kernel has this.
    let _ = parent_death::continue_without_parent();
    let application = identity::parent();
    let state = ServerState::capture();
    // Not freed in a fork, which would write to pages that it shares.
    let children: &mut ForkedChildren = Box::leak(Box::default());
    let mut unreadable = 0;
    loop {
        match control.recv() {
            Ok(Some((ToForkServer::Fork(spec), fds))) => {
                if let Some(child) = fork_child(*spec, fds, state, children) {
                    return Ok(Forked::Child(child));
                }
            }
            Ok(Some((ToForkServer::Spare, mut fds))) => {
                if let Some(child) = fork_spare(&mut fds, state, children) {
                    // Or the end of this socket would not be seen while spares wait.
                    drop(control);
                    let released = become_spare(child, fds, state)?;
                    return Ok(Forked::Spare(Box::new(released)));
                }
            }
            Ok(None) => {
                children.end_without(application);
                cgroup::end_all_of(application);
                scratch::remove_all_of(application);
                fork::quit(0)
            }
            // The descriptors of the message are closed: the parent sees the end of the child's control socket.
            Err(_) if unreadable < MOST_UNREADABLE_REQUESTS => unreadable += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Forks a child. Returns its control socket in the child, and nothing in the fork server.
fn fork_child(
    spec: ForkSpec,
    mut fds: Vec<OwnedFd>,
    state: &ServerState,
    children: &mut ForkedChildren,
) -> Option<ControlSocket> {
    if fds.is_empty() {
        return None; // there is no socket to answer at
    }
    let child = ControlSocket::new(fds.remove(0));
    let before = boot_ticks();
    let forked = ForkSetup::prepare(spec, &mut fds).and_then(|setup| {
        let sibling = fork::sibling(&state.thread);
        Ok((sibling.map_err(|error| refusal(&error))?, setup))
    });
    match forked {
        Err(why) => {
            refuse(&child, why);
            None
        }
        Ok((Sibling::Original { pid, pidfd }, setup)) => {
            announce(&child, pid, &pidfd);
            if !setup.is_detached() {
                children.add(pid, before);
            }
            None
        }
        Ok((Sibling::Copy, setup)) => {
            // Fails only for a process that leads a session, and this one is new.
            let _ = match setup.is_detached() {
                true => identity::lead_session(),
                false => identity::lead_group(),
            };
            setup.apply(&state.environment, &state.limits);
            announce_self(&child);
            Some(child)
        }
    }
}

/// Forks a spare. Returns its control socket in the spare, which is the last of `fds`, and nothing in the fork server.
fn fork_spare(
    fds: &mut Vec<OwnedFd>,
    state: &ServerState,
    children: &mut ForkedChildren,
) -> Option<ControlSocket> {
    let child = ControlSocket::new(fds.pop()?);
    let before = boot_ticks();
    match fork::sibling(&state.thread) {
        Err(error) => {
            refuse(&child, refusal(&error));
            None
        }
        Ok(Sibling::Original { pid, pidfd }) => {
            announce(&child, pid, &pidfd);
            children.add(pid, before);
            None
        }
        Ok(Sibling::Copy) => {
            let _ = identity::lead_group();
            announce_self(&child);
            Some(child)
        }
    }
}
