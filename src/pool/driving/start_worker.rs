//! Starting a worker: its process, and the requests of its initializers in its ring.
//!
//! Runs in the application, as one task of the runtime for each start. It knows nothing of the core: what it has
//! started, or why it could not, is an event for the driver.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;

use futures::future::{Either, select};
use tokio::sync::oneshot;

use super::captured_output;
use super::captured_output::TailRequest;
use super::events::{DriverEvent, StartedWorker};
use super::initializer;
use super::initializer::{INIT_TASK, InitJob};
use crate::call::{RequestWriter, Written};
use crate::pool::decisions::core::Settings;
use crate::pool::shared::PoolShared;
use crate::schedule::WorkerKey;
use crate::spawn::{ChildSpec, Launched, Output, OutputFds, StdioSpec, launch};
use crate::sys::doorbell::Doorbell;
use crate::threads;
use crate::transfer::blob::PackedBlob;

/// Starts a worker, unless the sender of `unwanted` is dropped before it has started. `proves` says whether it must
/// show that it runs before its first task.
pub(in crate::pool) fn spawn_start(
    shared: &Arc<PoolShared>,
    worker: WorkerKey,
    spec: Box<ChildSpec>,
    unwanted: oneshot::Receiver<()>,
    proves: bool,
) {
    let shared = Arc::clone(shared);
    let background = Arc::clone(&shared.background);
    background.spawn(async move {
        let started = match select(pin!(start(&shared, *spec, proves)), unwanted).await {
            Either::Left((started, _)) => started.map(Box::new),
            Either::Right(_) => Err(io::Error::other("the pool was ended before it had started")),
        };
        // If the driver was dropped, so is the event, which kills the worker.
        shared.tell_driver(DriverEvent::Started(worker, started));
    });
}

async fn start(
    shared: &PoolShared,
    mut spec: ChildSpec,
    proves: bool,
) -> io::Result<StartedWorker> {
    let settings = &shared.settings;
    add_own(settings, &mut spec).await?;
    let pipes = match settings.output {
        Output::Captured => {
            let (output, pipes) = OutputFds::piped()?;
            spec.output = output;
            Some(pipes)
        }
        Output::Null => {
            spec.output = OutputFds::null()?;
            None
        }
        _ => None,
    };
    let number = spec.number;
    let mut init = initializers(settings, true);
    // With several initializers, the first is not written before there is a process: it may need a blob, and the next
    // must not overtake it.
    let first = |requests: &mut RequestWriter| match &init[..] {
        [only] => {
            let job = Arc::clone(only).into_job();
            Some(requests.write(INIT_TASK, &*job, false))
        }
        _ => None,
    };
    let (stdio, doorbell) = (StdioSpec::default(), Doorbell::new()?);
    let mut launched = launch(&settings.source, spec, stdio, Some(&doorbell), &first).await?;
    let stderr = pipes.map(|pipes| {
        let pid = launched.guard.signal_handle().pid();
        capture(shared, pipes, number, pid)
    });
    let mut written = launched.written.take();
    if !launched.forked {
        init = initializers(settings, false);
    }
    if init.is_empty() && (proves || !launched.forked) {
        init.push(initializer::handshake());
    }
    let mut packed = Vec::new();
    for job in &init {
        packed.extend(send(&mut launched, job, written.take()).await?);
    }
    launched.requests.wake();
    Ok(StartedWorker {
        launched,
        doorbell,
        init,
        packed,
        stderr,
    })
}

/// Adds what no other worker has.
async fn add_own(settings: &Settings, spec: &mut ChildSpec) -> io::Result<()> {
    if let (Some(variables), Some(number)) = (&settings.env_per_worker, spec.number) {
        variables.add_to(&mut spec.surroundings, number)?;
    }
    if let Some(groups) = settings.cgroups.clone() {
        spec.cgroup = threads::run(move || groups.make()).await??;
    }
    Ok(())
}

/// Reads what a worker writes, in tasks of their own. Returns the request for the end of its stderr.
fn capture(
    shared: &PoolShared,
    [stdout, stderr]: [OwnedFd; 2],
    number: Option<usize>,
    pid: u32,
) -> TailRequest {
    let (request, inquiry) = TailRequest::new();
    for (stream, pipe, inquiry) in [("stdout", stdout, None), ("stderr", stderr, Some(inquiry))] {
        let settings = Arc::clone(&shared.settings);
        shared.background.spawn(async move {
            let on_line = |line: &str| {
                #[cfg(feature = "tracing")]
                tracing::info!(
                    target: "procession::output",
                    pool = settings.name.as_deref(),
                    worker = number,
                    pid,
                    stream,
                    "{line}"
                );
                #[cfg(not(feature = "tracing"))]
                let _ = (&settings, number, pid, stream, line);
            };
            // An error says that the runtime is shutting down.
            let _ = captured_output::read_lines(pipe, inquiry, on_line).await;
        });
    }
    request
}

/// The initializers of a worker. A preload is one of them, unless the worker is `forked` from a process that ran it.
fn initializers(settings: &Settings, forked: bool) -> Vec<Arc<dyn InitJob>> {
    let has_preload = forked && settings.source.has_preload();
    let preload = settings.preload.as_ref().filter(|_| !has_preload);
    let all = preload.into_iter().chain(&settings.initializer);
    let all = all.chain(&settings.state);
    all.map(|make| make()).collect()
}

/// Writes the request of an initializer, unless it was `written`. Returns the blob with its arguments, if they were too
/// large for the ring.
async fn send(
    launched: &mut Launched,
    init: &Arc<dyn InitJob>,
    written: Option<Written>,
) -> io::Result<Option<PackedBlob>> {
    let job = Arc::clone(init).into_job();
    let requests = &mut launched.requests;
    let written = written.unwrap_or_else(|| requests.write(INIT_TASK, &*job, false));
    let sent = requests.complete(written, INIT_TASK, &job);
    match sent.await {
        Ok(sent) => Ok(sent.packed),
        Err(fault) => Err(fault.into_io(init.kind())),
    }
}
