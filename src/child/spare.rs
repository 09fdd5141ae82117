//! A spare: a fork that gets ready for a single task, then waits to be told which child it is.

use std::io;
use std::os::fd::OwnedFd;

use super::announce::refuse;
use super::control::ReceivedMessage;
use super::fork_setup::ForkSetup;
use super::server_state::ServerState;
use super::setup::FAILED;
use super::single::{ReleasedSpare, SingleTask};
use crate::sys::{fork, identity, limits, signal, title};
use crate::transfer::control::{ControlSocket, Either};
use crate::transfer::fork_spec::ForkSpec;
use crate::transfer::greeting::Greeting;
use crate::transfer::messages::ToSpare;

/// Its thread's name and its title in lists of processes.
const SPARE_NAME: &str = "procession-spare";
const SPARE_TITLE: &str = "procession: spare";

/// Gets ready for a single task with the descriptors `fds`, and waits for the release. Runs in the fork.
pub(super) fn become_spare(
    control: ControlSocket,
    fds: Vec<OwnedFd>,
    state: &ServerState,
) -> io::Result<ReleasedSpare> {
    identity::set_thread_name(SPARE_NAME);
    title::set_title(SPARE_TITLE);
    let Ok(task) = SingleTask::new(fds, false) else {
        fork::quit(FAILED); // the parent sees its end, and does without it
    };
    state.written_pages.copy();
    // The release may carry more descriptors than the fork server's limit allows, but no more than the child's.
    let own_limits = limits::raise_descriptor_limit(&state.limits);
    let release = recv_release(&control);
    let mut fds = release.fds;
    match ForkSetup::prepare(release.spec, &mut fds) {
        Ok(setup) => setup.apply(&state.environment, &own_limits),
        Err(refusal) => {
            refuse(&control, refusal);
            fork::quit(FAILED)
        }
    }
    Ok(ReleasedSpare {
        greeting: release.greeting,
        fds,
        control,
        task,
        received: release.received,
    })
}

/// What a spare has received when it is released.
#[derive(Debug)]
struct ReceivedRelease {
    spec: ForkSpec,
    greeting: Greeting,
    fds: Vec<OwnedFd>,
    /// What came before.
    received: Vec<ReceivedMessage>,
}

/// Waits for the release. Exits if there will be none.
fn recv_release(control: &ControlSocket) -> ReceivedRelease {
    let mut received = Vec::new();
    loop {
        match control.recv() {
            Ok(Some((Either::Left(ToSpare::Become(spec, greeting)), fds))) => {
                return ReceivedRelease {
                    spec: *spec,
                    greeting: *greeting,
                    fds,
                    received,
                };
            }
            Ok(Some((Either::Right(message), fds))) => received.push((message, fds)),
            // The parent does not need this spare.
            Ok(None) => fork::quit(0),
            // A message could not be received whole. The parent sees this process's end.
            Err(_) => signal::kill_own_group(),
        }
    }
}
