//! Starting a worker: the process, and its preparation in its ring.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use futures::future::{Either, select};
use tokio::sync::oneshot;

use super::events::{Event, StartedWorker};
use super::initializer;
use super::initializer::{InitJob, PREPARATION};
use super::shared::Shared;
use crate::call::{RequestWriter, Written};
use crate::schedule::WorkerKey;
use crate::spawn::{ChildSpec, Launched, StdioSpec, launch};
use crate::transfer::blob::PackedBlob;

/// Starts a worker, unless it becomes unwanted before it has started.
pub(super) fn launch_worker(
    shared: &Arc<Shared>,
    worker: WorkerKey,
    spec: Box<ChildSpec>,
    unwanted: oneshot::Receiver<()>,
) {
    let shared = Arc::clone(shared);
    let runtime = shared.runtime.clone();
    runtime.spawn(async move {
        let hired = match select(pin!(hire(&shared, *spec)), unwanted).await {
            Either::Left((hired, _)) => hired.map(Box::new),
            Either::Right(_) => Err(io::Error::other("the pool was ended before it had started")),
        };
        // Nobody listens only when the driver is gone; then the worker is killed as it is dropped.
        let _ = shared.news.send(Event::Launched(worker, hired));
    });
}

async fn hire(shared: &Arc<Shared>, spec: ChildSpec) -> io::Result<StartedWorker> {
    let settings = shared.look(|core| Arc::clone(&core.settings));
    let steps = [&settings.preload, &settings.initializer].into_iter();
    let mut steps: Vec<_> = steps.flatten().map(|step| step()).collect();
    // The first of two cannot be written early: it may need a blob, and the other must not overtake it.
    let first = |requests: &mut RequestWriter| match &steps[..] {
        [only] => {
            let job = Arc::clone(only).into_job();
            Some(requests.write(PREPARATION, &*job, false))
        }
        _ => None,
    };
    let (streams, bell) = (StdioSpec::default(), Some(&shared.bell));
    let mut launched = launch(&settings.source, spec, streams, bell, &first).await?;
    let mut posted = launched.written.take();
    if steps.is_empty() && !launched.forked {
        steps.push(initializer::handshake());
    }
    let mut packed = Vec::new();
    for step in &steps {
        packed.extend(send(shared, &mut launched, step, posted.take()).await?);
    }
    let mut steps = steps.into_iter();
    let preparation = match (steps.next(), steps.next()) {
        (Some(first), Some(then)) => Some(initializer::both(first, then)),
        (only, _) => only,
    };
    launched.requests.wake();
    Ok(StartedWorker {
        launched,
        preparation,
        packed,
    })
}

/// Writes a preparation into the worker's ring, unless that was `written`. What does not fit is in the blob.
async fn send(
    shared: &Arc<Shared>,
    launched: &mut Launched,
    preparation: &Arc<dyn InitJob>,
    written: Option<Written>,
) -> io::Result<Option<PackedBlob>> {
    let job = Arc::clone(preparation).into_job();
    let written = written.unwrap_or_else(|| launched.requests.write(PREPARATION, &*job, false));
    let sent = launched
        .requests
        .complete(written, PREPARATION, &job, &shared.blobs)
        .await;
    sent.map(|sent| sent.packed)
        .map_err(|fault| fault.into_io(preparation.kind()))
}
