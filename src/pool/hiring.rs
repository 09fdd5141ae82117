//! Starting a worker with its preparation before it.

use std::io;
use std::sync::Arc;

use super::driver::News;
use super::front::Shared;
use super::preparation::{PREPARATION, Prepares};
use crate::schedule::WorkerKey;
use crate::task::job::Job;
use crate::wire::parcel::Packed;
use crate::worker::{Blueprint, Launched, Post, Streams, launch};

/// A worker with its preparation before it.
#[derive(Debug)]
pub(super) struct Hired {
    pub(super) launched: Launched,
    pub(super) preparation: Arc<dyn Prepares>,
    /// The arguments of a preparation that did not fit the ring.
    pub(super) packed: Option<Packed>,
}

/// Starts a worker, on a thread that may block.
pub(super) fn launch_worker(shared: &Arc<Shared>, worker: WorkerKey, blueprint: Box<Blueprint>) {
    let shared = Arc::clone(shared);
    let runtime = shared.runtime.clone();
    runtime.spawn_blocking(move || {
        let hired = hire(&shared, &blueprint).map(Box::new);
        // Nobody listens only when the driver is gone; then the worker is killed as it is dropped.
        let _ = shared.news.send(News::Launched(worker, hired));
    });
}

fn hire(shared: &Shared, blueprint: &Blueprint) -> io::Result<Hired> {
    let initializer = shared.look(|core| Arc::clone(&core.settings.initializer));
    let preparation = initializer();
    let mut launched = launch(blueprint, Streams::default(), &shared.bell)?;
    let job: &dyn Job = &*preparation;
    let mut packed = None;
    let mut post = launched.requests.post(PREPARATION, job, false);
    if let Post::TooLarge = post {
        let large = job.pack(&shared.parcels).map_err(io::Error::other)?;
        post = launched.requests.post_parcel(PREPARATION, job, &large);
        packed = Some(large);
    }
    match post {
        Post::Sent { .. } => launched.requests.wake(),
        Post::Refused(why) => {
            let why = format!("the initializer's arguments cannot be sent: {why}");
            return Err(io::Error::other(why));
        }
        Post::NoSpace | Post::TooLarge => return Err(io::ErrorKind::OutOfMemory.into()),
    }
    Ok(Hired {
        launched,
        preparation,
        packed,
    })
}
