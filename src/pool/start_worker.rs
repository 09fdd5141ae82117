//! Starting a worker: the process, and its preparation in its ring.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use futures::future::{Either, select};
use tokio::sync::oneshot;

use super::driver::Event;
use super::initializer;
use super::initializer::{InitJob, PREPARATION};
use super::pool::Shared;
use crate::call::{Post, RequestWriter};
use crate::schedule::WorkerKey;
use crate::spawn::{ChildSpec, Launched, StdioSpec, launch};
use crate::transfer::blob::Packed;

/// A worker with its preparation before it.
#[derive(Debug)]
pub(super) struct StartedWorker {
    pub(super) launched: Launched,
    /// None if it needs none: it is the copy of a process that was ready.
    pub(super) preparation: Option<Arc<dyn InitJob>>,
    /// Hold the arguments of the preparation that did not fit the ring.
    pub(super) packed: Vec<Packed>,
}

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
    // The first of two cannot be written early: it may take a parcel, and the other must not overtake it.
    let first = |requests: &mut RequestWriter| match &steps[..] {
        [only] => {
            let job = Arc::clone(only).into_job();
            Some(requests.post(PREPARATION, &*job, false))
        }
        _ => None,
    };
    let (streams, bell) = (StdioSpec::default(), Some(&shared.bell));
    let mut launched = launch(&settings.source, spec, streams, bell, &first).await?;
    let mut posted = launched.written.take();
    if steps.is_empty() && !launched.forked {
        steps.push(initializer::presence());
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

/// Writes a preparation into the worker's ring, unless that was `posted`. What does not fit is in the parcel.
async fn send(
    shared: &Arc<Shared>,
    launched: &mut Launched,
    preparation: &Arc<dyn InitJob>,
    posted: Option<Post>,
) -> io::Result<Option<Packed>> {
    let job = Arc::clone(preparation).into_job();
    let mut parcel = None;
    let mut post = posted.unwrap_or_else(|| launched.requests.post(PREPARATION, &*job, false));
    if let Post::TooLarge = post {
        let (packer, shared) = (Arc::clone(preparation), Arc::clone(shared));
        let pack = move || packer.pack(&shared.parcels);
        let packed = tokio::task::spawn_blocking(pack).await;
        let packed = packed.map_err(io::Error::other)?;
        let packed = packed.map_err(io::Error::other)?;
        post = launched.requests.write_blob(PREPARATION, &*job, &packed);
        parcel = Some(packed);
    }
    match post {
        Post::Sent { .. } => Ok(parcel),
        Post::Refused(why) => {
            let what = preparation.kind();
            let why = format!("the arguments of {what} cannot be sent: {why}");
            Err(io::Error::other(why))
        }
        Post::NoSpace | Post::TooLarge => Err(io::ErrorKind::OutOfMemory.into()),
    }
}
