//! From an order to a process's outcome.
//!
//! The one request is in the ring before the child looks at it, so the parent has nothing to do between the start and
//! the end: it waits for the end, and then reads.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::sync::Arc;

use super::state::Stage;
use super::stdio::Pipes;
use crate::call::job::Job;
use crate::call::outcomes::ReplyBody;
use crate::call::request_writer::{SendFault, SentJob};
use crate::call::{ReplyReader, Written};
use crate::error::{ErrorKind, JoinError};
use crate::spawn::{ChildGuard, ChildSource, ChildSpec, Launched, StdioSpec, launch};
use crate::sys::clock::Moment;
use crate::sys::reactor;
use crate::sys::reactor::Watched;
use crate::transfer::entry_point::{ENTRY_TIMEOUT, NEVER_ENTERED};

/// Everything it takes to run one function in one process.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) job: Arc<dyn Job>,
    pub(super) stage: Arc<Stage>,
    pub(super) source: ChildSource,
    pub(super) spec: ChildSpec,
    pub(super) streams: StdioSpec,
    pub(super) pipes: Pipes,
}

/// Starts the process; from here on somebody attends to it until it has an outcome.
pub(super) fn begin(order: Order) {
    let duty = Duty {
        job: Arc::clone(&order.job),
        stage: Arc::clone(&order.stage),
        begun: false,
    };
    match reactor::check_runtime() {
        Ok(()) => drop(tokio::spawn(attend(order, duty))),
        Err(error) => duty.never_began(ErrorKind::Spawn, &error.to_string()),
    }
}

/// The duty to give the job an outcome. Dropped undone (the runtime is gone), it does so too.
#[derive(Debug)]
struct Duty {
    job: Arc<dyn Job>,
    stage: Arc<Stage>,
    /// Whether the function may have run by now.
    begun: bool,
}

impl Duty {
    fn never_began(self, kind: ErrorKind, why: &str) {
        let error = JoinError::new(kind, self.job.name()).because(why);
        self.stage.end(Err(why.into()));
        self.fail(&error);
    }

    fn fail(&self, error: &JoinError) {
        self.job.fail(0, 1, error);
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        let why = "the runtime that attended to it was shut down";
        let error = JoinError::new(ErrorKind::Closed, self.job.name()).because(why);
        self.fail(&error.after_start(self.begun));
        self.stage.end(Err(why.into()));
    }
}

/// A child with its work before it.
#[derive(Debug)]
struct Running {
    launched: Launched,
    sent: SentJob,
}

async fn attend(order: Order, mut duty: Duty) {
    let Order {
        job,
        stage,
        source,
        spec,
        streams,
        pipes,
    } = order;
    if stage.was_aborted() {
        return duty.never_began(ErrorKind::Cancelled, "it was aborted before it started");
    }
    duty.begun = true;
    match start(job, &source, spec, streams).await {
        Ok(running) => see_through(running, pipes, duty).await,
        Err(StartFault::Encode(why)) => {
            duty.never_began(ErrorKind::Encode, &format!("the arguments: {why}"));
        }
        Err(StartFault::Io(error)) if !reactor::is_shutdown(&error) => {
            duty.never_began(ErrorKind::Spawn, &error.to_string());
        }
        Err(StartFault::Io(_) | StartFault::Shutdown) => {} // the duty says so
    }
}

/// From a child's start to its end.
async fn see_through(running: Running, pipes: Pipes, duty: Duty) {
    let Running { mut launched, sent } = running;
    let position = sent.position;
    let signal_handle = launched.guard.signal_handle();
    duty.stage.start(Arc::clone(&signal_handle));
    pipes.arrive(std::mem::take(&mut launched.pipes));
    // Now it may begin: whoever hears of it can find it.
    let begun = launched.release();
    if begun.is_err() {
        signal_handle.kill();
    }
    let _leash = launched.parent_death;
    let requests = launched.requests;
    let guard = launched.guard.leave_group_on_success();
    let came = || requests.claimed(position) > 0;
    let status = match wait(guard, launched.pidfd, came).await {
        Ok(status) => status,
        Err(WaitFault::Start(why)) => return duty.never_began(ErrorKind::Spawn, &why),
        Err(WaitFault::Shutdown) => return, // the duty says so
    };
    if let Err(error) = begun {
        if !duty.stage.was_aborted() {
            return duty.never_began(ErrorKind::Spawn, &error.to_string());
        }
    }
    let how = How {
        started: requests.claimed(position) > 0,
        wanted_memory: requests.wanted_memory(),
    };
    // First: whoever has the outcome finds the process ended.
    duty.stage.end(match status {
        Some(status) => Ok(status),
        None => Err("somebody else in this program took its exit status".into()),
    });
    conclude(&duty, signal_handle.pid(), how, launched.replies, status).await;
}

/// Why nobody has seen the end of a child.
#[derive(Debug)]
enum WaitFault {
    Start(String),
    /// The runtime is shutting down.
    Shutdown,
}

/// Waits for the end of a child, which is killed if it never comes. Its status, unless somebody else took it.
async fn wait(
    mut guard: ChildGuard,
    pidfd: OwnedFd,
    came: impl Fn() -> bool,
) -> Result<Option<ExitStatus>, WaitFault> {
    // The shortest tasks are done before their process is heard of.
    if let Some(status) = guard.try_reap() {
        return Ok(status);
    }
    let signal_handle = guard.signal_handle();
    let pidfd = Watched::new(pidfd).map_err(|error| WaitFault::Start(error.to_string()))?;
    let mut end = std::pin::pin!(guard.wait(pidfd));
    let began = Moment::now();
    let ended = loop {
        if came() {
            break end.as_mut().await;
        }
        match tokio::time::timeout(ENTRY_TIMEOUT, &mut end).await {
            Ok(ended) => break ended,
            Err(_) if came() => {}
            // The runtime's clock may be a test's, which runs ahead.
            Err(_) if Moment::now().since(began) < ENTRY_TIMEOUT => {
                tokio::task::yield_now().await;
            }
            Err(_) => {
                signal_handle.kill();
                let _ = end.await;
                return Err(WaitFault::Start(NEVER_ENTERED.to_owned()));
            }
        }
    };
    ended.map_err(|_| WaitFault::Shutdown)
}

/// What the ring says about a process that has ended.
#[derive(Debug, Clone, Copy)]
struct How {
    started: bool,
    wanted_memory: bool,
}

#[derive(Debug)]
enum StartFault {
    Encode(String),
    Io(io::Error),
    /// The runtime is shutting down.
    Shutdown,
}

/// Starts the child and puts its one request into its ring.
async fn start(
    job: Arc<dyn Job>,
    source: &ChildSource,
    spec: ChildSpec,
    streams: StdioSpec,
) -> Result<Running, StartFault> {
    let launched = launch(source, spec, streams, None, &|_| None).await;
    let mut launched = launched.map_err(StartFault::Io)?;
    let written = launched.requests.write(TASK, &*job, false);
    if let Written::TooLarge = written {
        launched.allow_spares();
    }
    let requests = &mut launched.requests;
    let mut sent = requests
        .complete(written, TASK, &job, &Arc::default())
        .await?;
    // The job is never sent again: ends of channels among the arguments are the child's alone.
    job.forget_arguments();
    if let Some(packed) = &mut sent.packed {
        packed.attachments.clear();
    }
    Ok(Running { launched, sent })
}

impl From<SendFault> for StartFault {
    fn from(fault: SendFault) -> Self {
        match fault {
            SendFault::Refused(why) => Self::Encode(why),
            SendFault::NoSpace => Self::Io(io::Error::from(io::ErrorKind::OutOfMemory)),
            SendFault::Shutdown => Self::Shutdown,
        }
    }
}

/// The number of the only task of a process.
const TASK: u64 = 1;

/// Gives the job what the ended process left, or the reason why it left nothing.
async fn conclude(
    duty: &Duty,
    pid: u32,
    how: How,
    mut replies: ReplyReader,
    status: Option<ExitStatus>,
) {
    let mut bytes = Vec::new();
    match replies.only_outcome(&mut bytes, pid) {
        Some(ReplyBody::Frame(outcomes)) => {
            duty.job.deliver(0, outcomes);
        }
        Some(ReplyBody::Blob { outcomes, .. }) if outcomes.is_long() => {
            let job = Arc::clone(&duty.job);
            // Fails only when the runtime shuts down, and then the duty gives the outcome.
            let _ = tokio::task::spawn_blocking(move || job.deliver(0, outcomes)).await;
        }
        Some(ReplyBody::Blob { outcomes, .. }) => {
            duty.job.deliver(0, outcomes);
        }
        None => duty.fail(&no_result(duty, pid, how, status)),
    }
}

fn no_result(duty: &Duty, pid: u32, how: How, status: Option<ExitStatus>) -> JoinError {
    let exited = status.is_some_and(|status| status.code().is_some());
    let kind = match (duty.stage.was_aborted(), exited, how.started) {
        (true, ..) => ErrorKind::Cancelled,
        (_, false, true) if how.wanted_memory => ErrorKind::MemoryExceeded,
        (_, false, _) => ErrorKind::Crashed,
        (_, true, true) => ErrorKind::Exited,
        (_, true, false) => ErrorKind::Spawn,
    };
    let error = JoinError::new(kind, duty.job.name())
        .in_process(pid)
        .after_start(how.started);
    match status {
        Some(status) => error.with_status(status),
        None => error,
    }
}
