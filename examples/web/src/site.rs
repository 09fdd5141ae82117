//! The routes. Their handlers await the pool and compute nothing.
//!
//! A handler's future owns the run it awaits. When a run's time is over its worker is stopped and the
//! answer is 504; when a client goes away, axum drops the handler and with it the run, which stops the
//! worker too. Either way a CPU is free again at once. So it is with a stream of events, which owns the run that
//! sends them.

use std::path::{Component, Path};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::future::FusedFuture as _;
use futures::{FutureExt as _, StreamExt as _};
use procession::{JoinError, Pool, Task};
use serde::{Deserialize, Serialize};

use super::work::{self, Fault};

/// The longest side that may be asked for, in pixels: larger is not a thumbnail.
const LONGEST_SIDE: u32 = 1024;

#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) pool: Pool,
    pub(crate) pictures: Arc<Path>,
    /// How long the work for one request may take, once a worker has begun it.
    pub(crate) limit: Duration,
}

impl Site {
    pub(crate) fn routes(self) -> Router {
        Router::new()
            .route("/thumb", get(thumb))
            .route("/slow", get(slow))
            .route("/primes", get(primes))
            .route("/crash", get(crash))
            .route("/health", get(health))
            .with_state(self)
    }

    /// Runs `f` in a worker. Its time counts from when it begins to run; it may wait as long for that.
    async fn work<F, M, A>(&self, f: F, args: A) -> Result<F::Output, Refusal>
    where
        F: Task<M, A>,
    {
        let run = self.pool.run(f, args).timeout(self.limit);
        match tokio::time::timeout(self.limit * 2, run).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => {
                let why = "all workers are busy";
                Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why))
            }
        }
    }
}

#[derive(Debug, Deserialize)]
struct Wanted {
    name: String,
    size: Option<u32>,
}

async fn thumb(
    State(site): State<Site>,
    Query(Wanted { name, size }): Query<Wanted>,
) -> Result<impl IntoResponse, Refusal> {
    if !is_file_name(&name) {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "a name, not a path"));
    }
    let size = size.unwrap_or(128);
    if !(1..=LONGEST_SIDE).contains(&size) {
        let why = format!("a size from 1 to {LONGEST_SIDE}");
        return Err(Refusal::new(StatusCode::BAD_REQUEST, why));
    }
    let picture = site.pictures.join(&name).into_os_string();
    let png = site.work(work::thumbnail, (picture, size)).await??;
    Ok(([(header::CONTENT_TYPE, "image/png")], png))
}

#[derive(Debug, Deserialize)]
struct Burning {
    ms: u64,
}

async fn slow(
    State(site): State<Site>,
    Query(Burning { ms }): Query<Burning>,
) -> Result<&'static str, Refusal> {
    site.work(work::burn, Duration::from_millis(ms)).await?;
    Ok("burnt\n")
}

#[derive(Debug, Deserialize)]
struct Below {
    below: u64,
}

/// Server-sent events: every prime as a worker finds it, and then how many there were.
///
/// The stream owns the run. When the client goes away, axum drops the stream, and so the run: the search stops.
async fn primes(
    State(site): State<Site>,
    Query(Below { below }): Query<Below>,
) -> Result<impl IntoResponse, Refusal> {
    let (tx, mut found) = procession::queue(64)
        .map_err(|error| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    let mut run = site
        .pool
        .run(work::primes, (below, tx))
        .timeout(site.limit)
        .fuse();
    let mut outcome = None;
    let events = futures::stream::poll_fn(move |cx| {
        if let Poll::Ready(ended) = run.poll_unpin(cx) {
            outcome = Some(ended);
            // What was sent before is still received.
            found.close();
        }
        if let Some(prime) = ready!(found.poll_next_unpin(cx)) {
            return Poll::Ready(Some(
                prime.map(|prime| Event::default().data(prime.to_string())),
            ));
        }
        if !run.is_terminated() {
            return Poll::Pending;
        }
        let last = outcome.take().map(|ended| match ended {
            Ok(count) => Event::default().event("end").data(count.to_string()),
            Err(error) => Event::default().event("error").data(error.to_string()),
        });
        Poll::Ready(last.map(Ok))
    });
    Ok(Sse::new(events))
}

async fn crash(State(site): State<Site>) -> Result<(), Refusal> {
    site.work(work::crash, ()).await
}

#[derive(Debug, Serialize)]
struct Health {
    workers: usize,
    busy: usize,
    queued: usize,
    completed: u64,
    crashed: u64,
    timed_out: u64,
    cancelled: u64,
}

async fn health(State(site): State<Site>) -> Json<Health> {
    let metrics = site.pool.metrics();
    Json(Health {
        workers: metrics.workers(),
        busy: metrics.busy(),
        queued: metrics.queued(),
        completed: metrics.completed(),
        crashed: metrics.crashed(),
        timed_out: metrics.timed_out(),
        cancelled: metrics.cancelled(),
    })
}

/// Whether it names something in a directory and nothing above, below or beside it.
fn is_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let first = components.next();
    matches!(first, Some(Component::Normal(only)) if only == name) && !name.contains('\0')
}

/// An answer to a request that failed.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    why: String,
}

impl Refusal {
    fn new(status: StatusCode, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { status, why }
    }
}

impl From<JoinError> for Refusal {
    fn from(error: JoinError) -> Self {
        let status = if error.is_timed_out() {
            StatusCode::GATEWAY_TIMEOUT
        } else if error.is_closed() {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        Self::new(status, error.to_string())
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Missing => Self::new(StatusCode::NOT_FOUND, "there is no such picture"),
            Fault::NotAPicture(why) => Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, self.why + "\n").into_response()
    }
}
