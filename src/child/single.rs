//! A single-task process: one thread runs one request, then the process exits.
//!
//! The control socket is read before the task begins and not after. The kernel kills this process and everything it
//! started when the parent ends.

use std::convert::Infallible as Never;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::control::{ReceivedMessage, handle, recv_until_ready};
use super::setup::{
    apply_limits, executor, exit_corrupt, limit_memory, set_identity, take_stdio, watch_connection,
};
use super::task_thread;
use crate::call::executor::{Executor, NextRequest};
use crate::call::rings::RingLayout;
use crate::ring::Ring;
use crate::sys::exit_cause::ExitCause;
use crate::sys::parent_death::ParentDeathSignal;
use crate::sys::{exit, exit_cause, signal};
use crate::transfer::control::{ControlSocket, exactly};
use crate::transfer::greeting::Greeting;

/// The rings of a single-task process, and the signal at its parent's end.
#[derive(Debug)]
pub(super) struct SingleTask {
    rings: [Ring; 2],
    /// `None` if the process is detached.
    parent_death: Option<ParentDeathSignal>,
}

impl SingleTask {
    /// Made of the descriptors of a single-task process: memory and parent-death pipe.
    pub(super) fn new(fds: Vec<OwnedFd>, detached: bool) -> io::Result<Self> {
        let [memory, parent_death] = exactly(fds)?;
        let parent_death = match detached {
            false => Some(ParentDeathSignal::killing(&parent_death)?),
            true => None,
        };
        Ok(Self {
            rings: RingLayout::Single.map(&memory)?,
            parent_death,
        })
    }
}

/// A spare that was told which child it is.
#[derive(Debug)]
pub(super) struct ReleasedSpare {
    pub(super) greeting: Greeting,
    /// The descriptors of its role, unless it runs its single task.
    pub(super) fds: Vec<OwnedFd>,
    pub(super) control: ControlSocket,
    pub(super) task: SingleTask,
    /// All that came before the release: the blobs and attachments of the request.
    pub(super) received: Vec<ReceivedMessage>,
}

impl ReleasedSpare {
    /// What a worker needs. The rings of a single task are unmapped, and the parent's end kills no longer.
    pub(super) fn into_worker(self) -> (Greeting, Vec<OwnedFd>, ControlSocket) {
        (self.greeting, self.fds, self.control)
    }
}

/// Runs the request of a process that was greeted, and never returns.
pub(super) fn run(
    greeting: Greeting,
    fds: Vec<OwnedFd>,
    control: ControlSocket,
) -> io::Result<Never> {
    let fds = take_stdio(&greeting, fds, 2)?;
    let task = SingleTask::new(fds, greeting.detached)?;
    let detached = greeting.detached;
    let requests = task.rings[0].clone();
    let prepared = prepare(greeting, task, control)?;
    match recv_until_ready(&prepared.control, &prepared.executor) {
        Ok(true) => {}
        // The parent has ended. The request is run all the same, if it is there.
        Ok(false) if detached && requests.frames() > 0 => {}
        // An error is a message that could not be received whole (a full descriptor table).
        Ok(false) | Err(_) => signal::kill_own_group(),
    }
    run_request(prepared)
}

/// Runs the request of a spare that was released, and never returns.
pub(super) fn run_released(spare: ReleasedSpare) -> io::Result<Never> {
    let prepared = prepare(spare.greeting, spare.task, spare.control)?;
    for received in spare.received {
        handle(received, &prepared.control, &prepared.executor);
    }
    run_request(prepared)
}

/// A single-task process before its task begins.
#[derive(Debug)]
struct Prepared {
    executor: Executor,
    control: Arc<ControlSocket>,
    memory_limit: Option<u64>,
    detached: bool,
}

fn prepare(greeting: Greeting, task: SingleTask, control: ControlSocket) -> io::Result<Prepared> {
    // Until the process has ended: also while the program's exit handlers run.
    if let Some(parent_death) = task.parent_death {
        parent_death.keep();
    }
    watch_connection(&control, &task.rings)?;
    apply_limits(&greeting)?;
    let control = Arc::new(control);
    let executor = executor(task.rings, None, &control);
    let (memory_limit, detached) = (greeting.memory_limit, greeting.detached);
    set_identity(greeting);
    Ok(Prepared {
        executor,
        control,
        memory_limit,
        detached,
    })
}

fn run_request(prepared: Prepared) -> io::Result<Never> {
    if task_thread::is_main() {
        run_here(prepared)
    }
    let task = task_thread::spawn(move || -> Never {
        exit::prepare();
        run_here(prepared)
    })?;
    // Returns only if the thread ends without the process.
    let _ = task.join();
    exit_cause::end(ExitCause::ThreadEnded)
}

fn run_here(prepared: Prepared) -> ! {
    if !prepared.detached {
        task_thread::follow_parent(true);
    }
    let mut executor = prepared.executor;
    limit_memory(prepared.memory_limit);
    match executor.next() {
        Ok(NextRequest::Run(enter)) => enter(&mut executor),
        Ok(NextRequest::Stop) => {}
        Err(corrupt) => exit_corrupt(corrupt),
    }
    exit::exit()
}
