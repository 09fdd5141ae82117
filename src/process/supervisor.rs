//! The task that supervises one process, from its start to its outcome.
//!
//! Runs in the parent. The only request is in the ring before the child looks at it. So the parent has nothing to do
//! between the start and the end of the process: it waits for the end, and then reads the outcome.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::sync::Arc;

use super::outcome_guard::OutcomeGuard;
use super::state::ProcessState;
use super::stdio::PipeSenders;
use crate::background::Background;
use crate::call::job::Job;
use crate::call::outcomes::ReplyBody;
use crate::call::request_writer::{SendFault, SentJob};
use crate::call::{LastWords, ReplyReader, Written};
use crate::error::{ErrorKind, JoinError};
use crate::own_runtime;
use crate::spawn::{
    ChildEnd, ChildGuard, ChildSource, ChildSpec, Launched, StdioSpec, Ties, launch,
};
use crate::sys::clock::Moment;
use crate::sys::reactor;
use crate::sys::reactor::Watched;
use crate::threads;
use crate::transfer::entry_point::{ENTRY_TIMEOUT, NEVER_ENTERED};
use crate::transfer::nonsense::Nonsense;

/// The key of the only task of a process.
const ONLY_TASK: u64 = 1;

/// One function, and the process that is to run it.
#[derive(Debug)]
pub(super) struct SpawnRequest {
    pub(super) job: Arc<dyn Job>,
    pub(super) state: Arc<ProcessState>,
    pub(super) source: ChildSource,
    pub(super) spec: ChildSpec,
    pub(super) result_limit: Option<u64>,
    pub(super) streams: StdioSpec,
    pub(super) pipes: PipeSenders,
}

/// Begins to start and supervise the process. `None` if it has failed already.
pub(super) fn begin(request: SpawnRequest) -> Option<Arc<Background>> {
    let outcome = OutcomeGuard::new(Arc::clone(&request.job), Arc::clone(&request.state));
    if let Err(error) = reactor::check_runtime() {
        outcome.never_ran(ErrorKind::Spawn, &error.to_string());
        return None;
    }
    let background = Background::here();
    background.spawn(supervise(request, outcome));
    Some(background)
}

async fn supervise(request: SpawnRequest, mut outcome: OutcomeGuard) {
    if request.state.was_aborted() {
        let why = "it was aborted before it started";
        return outcome.never_ran(ErrorKind::Cancelled, why);
    }
    outcome.starting();
    let SpawnRequest {
        job,
        source,
        spec,
        streams,
        pipes,
        result_limit,
        ..
    } = request;
    match start(&job, &source, spec, streams).await {
        Ok(mut child) => {
            child.launched.replies.limit_results(result_limit);
            run(child, pipes, outcome).await;
        }
        Err(StartFault::Encode(why)) => {
            outcome.never_ran(ErrorKind::Encode, &format!("the arguments: {why}"));
        }
        Err(StartFault::Io(error)) if !reactor::is_shutdown(&error) => {
            outcome.never_ran(ErrorKind::Spawn, &error.to_string());
        }
        // The guard reports the shutdown when it is dropped.
        Err(StartFault::Io(_)) => {}
    }
}

/// A child whose request is in its ring, and which waits for permission to begin.
#[derive(Debug)]
struct StartedChild {
    launched: Launched,
    sent: SentJob,
}

#[derive(Debug)]
enum StartFault {
    Encode(String),
    Io(io::Error),
}

/// Starts the child and writes its only request into its ring.
async fn start(
    job: &Arc<dyn Job>,
    source: &ChildSource,
    spec: ChildSpec,
    streams: StdioSpec,
) -> Result<StartedChild, StartFault> {
    let launched = launch(source, spec, streams, None, &|_| None).await;
    let mut launched = launched.map_err(StartFault::Io)?;
    let written = launched.requests.write(ONLY_TASK, &**job, false);
    if let Written::TooLarge = written {
        launched.allow_spares();
    }
    let requests = &mut launched.requests;
    let mut sent = requests.complete(written, ONLY_TASK, job).await?;
    // The job is never sent again: ends of channels among the arguments are the child's alone.
    job.forget_arguments();
    if let Some(packed) = &mut sent.packed {
        packed.attachments.clear();
    }
    Ok(StartedChild { launched, sent })
}

impl From<SendFault> for StartFault {
    fn from(fault: SendFault) -> Self {
        match fault {
            SendFault::Refused(why) => Self::Encode(why),
            SendFault::NoSpace => Self::Io(io::Error::from(io::ErrorKind::OutOfMemory)),
        }
    }
}

/// Lets the child begin, waits for its end and gives the job its outcome.
async fn run(child: StartedChild, pipes: PipeSenders, outcome: OutcomeGuard) {
    // `sent` keeps the memory of large arguments until the process has ended.
    let StartedChild { mut launched, sent } = child;
    let signal_handle = launched.guard.signal_handle();
    outcome.state().start(Arc::clone(&signal_handle));
    pipes.deliver(std::mem::take(&mut launched.pipes));
    // The child begins after its handle knows it: code that hears of the child can find it.
    let begun = launched.release();
    if begun.is_err() {
        signal_handle.kill();
    }
    let _parent_death = launched.parent_death;
    let requests = launched.requests;
    let guard = launched.guard.leave_group_on_success();
    let started = || requests.claimed(sent.position) > 0;
    let end = match wait_for_end(guard, launched.pidfd, launched.ties, started).await {
        Ok(end) => end,
        Err(WaitFault::Start(why)) if !started() => {
            return outcome.never_ran(ErrorKind::Spawn, &why);
        }
        Err(WaitFault::Start(why)) => return outcome.ended_unwatched(signal_handle.pid(), &why),
        Err(WaitFault::Shutdown) => return, // the guard reports it
    };
    if let Err(error) = begun {
        if !outcome.state().was_aborted() {
            return outcome.never_ran(ErrorKind::Spawn, &error.to_string());
        }
    }
    let ended = EndedProcess {
        pid: signal_handle.pid(),
        status: end.status,
        started: started(),
        words: requests.last_words(end.status, end.cause),
    };
    outcome.process_ended(end.status);
    deliver(&outcome, launched.replies, ended).await;
}

/// Why the end of a child was not observed.
#[derive(Debug)]
enum WaitFault {
    Start(String),
    /// The runtime is shutting down.
    Shutdown,
}

/// Waits for the end of a child, and kills it if it does not enter in time.
async fn wait_for_end(
    mut guard: ChildGuard,
    pidfd: OwnedFd,
    ties: Ties,
    started: impl Fn() -> bool,
) -> Result<ChildEnd, WaitFault> {
    // The shortest tasks end before the parent gets here.
    if let Some(status) = guard.try_reap() {
        let cause = None;
        return Ok(ChildEnd { status, cause });
    }
    let signal_handle = guard.signal_handle();
    let pidfd = match Watched::new(pidfd) {
        Ok(pidfd) => pidfd,
        Err(error) => {
            // After the end it is certain whether the function has started.
            signal_handle.kill();
            guard.reap_killed().await;
            return Err(WaitFault::Start(error.to_string()));
        }
    };
    let mut end = std::pin::pin!(guard.wait(pidfd, ties));
    let began = Moment::now();
    let ended = loop {
        if started() {
            break end.as_mut().await;
        }
        match own_runtime::timeout(ENTRY_TIMEOUT, &mut end).await {
            Some(ended) => break ended,
            None if started() => {}
            // The runtime's clock may be a paused one, which runs ahead.
            None if Moment::now().since(began) < ENTRY_TIMEOUT => {
                tokio::task::yield_now().await;
            }
            None => {
                signal_handle.kill();
                let _ = end.await;
                return Err(WaitFault::Start(NEVER_ENTERED.to_owned()));
            }
        }
    };
    ended.map_err(|_| WaitFault::Shutdown)
}

/// A process that has ended, and what its request ring says about its task.
#[derive(Debug)]
struct EndedProcess {
    pid: u32,
    status: Option<ExitStatus>,
    /// Whether the function had started.
    started: bool,
    words: LastWords,
}

/// Gives the job the outcome that the process left in its ring, or the error of a process that left none.
async fn deliver(outcome: &OutcomeGuard, mut replies: ReplyReader, ended: EndedProcess) {
    let job = outcome.job();
    let mut bytes = Vec::new();
    match replies.only_outcome(&mut bytes, ended.pid) {
        Some(ReplyBody::Frame(outcomes)) => {
            job.deliver(0, outcomes);
        }
        Some(ReplyBody::Blob { outcomes, .. }) if outcomes.is_long() => {
            let job = Arc::clone(job);
            // Fails only if a value's code has panicked; the guard reports that there is no outcome.
            let _ = threads::run(move || job.deliver(0, outcomes)).await;
        }
        Some(ReplyBody::Blob { outcomes, .. }) => {
            job.deliver(0, outcomes);
        }
        None => outcome.fail(&no_result(outcome, ended, replies.nonsense())),
    }
}

fn no_result(outcome: &OutcomeGuard, ended: EndedProcess, nonsense: Option<Nonsense>) -> JoinError {
    let exited = ended.status.is_some_and(|status| status.code().is_some());
    let kind = match (outcome.state().was_aborted(), exited, ended.started) {
        (true, ..) => ErrorKind::Cancelled,
        _ if nonsense.is_some() => ErrorKind::Crashed,
        (_, false, true) => ended.words.kind(),
        (_, false, false) => ErrorKind::Crashed,
        (_, true, true) => ErrorKind::Exited,
        (_, true, false) => ErrorKind::Spawn,
    };
    let error = JoinError::new(kind, outcome.job().name())
        .in_process(ended.pid)
        .after_start(ended.started || nonsense.is_some());
    let error = match (kind, nonsense) {
        (ErrorKind::Crashed, Some(nonsense)) => {
            #[cfg(feature = "tracing")]
            tracing::warn!(
                task = outcome.job().name(),
                pid = ended.pid,
                "a process wrote what cannot be: {nonsense}"
            );
            (ended.words.explain(error)).because(nonsense.explain())
        }
        _ => ended.words.explain(error),
    };
    match ended.status {
        Some(status) => error.with_status(status),
        None => error,
    }
}
