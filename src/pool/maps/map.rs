//! One function over many items.
//!
//! Runs in the parent, in the task that polls the map. `map_input` reads the input, `read_ahead` decides how much of
//! it, `map_batch` is a job of several items, `map_results` collects their outcomes.
//!
//! Must stay true: a map reads input and submits jobs only when it is polled; a dropped map leaves no task behind.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use pin_project::{pin_project, pinned_drop};

use super::map_input::MapInput;
use super::map_places::MapPlaces;
use super::map_results::{MapResults, Span, Take};
use super::read_ahead::{MapProgress, ReadAhead};
use crate::call::encoded_items::{EncodeResult, EncodedItems};
use crate::call::job::Job;
use crate::error::JoinError;
use crate::pool::decisions::backoff::Backoff;
use crate::pool::decisions::core::Core;
use crate::pool::options::call_options::option_setters;
use crate::pool::options::shared_options::SharedOptions;
use crate::pool::pool_guard::PoolGuard;
use crate::schedule::Priority;

/// Jobs that are submitted under one lock of the pool.
const JOBS_AT_ONCE: usize = 64;

/// Runs one function on many items in the workers of a pool. Made by [`Pool::map`](crate::Pool::map).
///
/// It does nothing until it is polled, and can be used in two ways:
///
/// - **Awaited** ([`MapFuture`](crate::MapFuture)), it gives all results in the order of the input. The first
///   failure of any item, in the order of time, ends the map and cancels the other items.
/// - **Read as a [`Stream`]**, it gives the outcome of every item in the order of the input, and continues after
///   a failure.
///
/// The input is read as results are taken: [`Map::concurrency`] bounds how far ahead. By default a map reads as many
/// items as keep the workers busy for about 1.5 ms, at least two for each task that a worker runs at a time
/// ([`tasks_per_worker`](crate::PoolBuilder::tasks_per_worker)). Items whose outcome waits behind a slow item count
/// towards a limit that is sixteen times as large. Short items are sent to workers in batches;
/// [`Map::chunk_size`] sets their size, which otherwise follows from how long items run. While the pool's queue is full
/// ([`queue_limit`](crate::PoolBuilder::queue_limit)), no input is read; a batch takes one place.
///
/// Dropping a map cancels every item that has no outcome: waiting items are removed, and the workers of running
/// ones are killed. The map keeps the pool alive.
///
/// # Errors
///
/// A failed item is a [`JoinError`] of any [`kind`](JoinError::kind), and [`JoinError::item`] is its place in the input.
/// When the pool is closed, items that were submitted are finished. Each item that is read from then on fails with
/// [`ErrorKind::Closed`](crate::ErrorKind::Closed).
///
/// # Cancel safety
///
/// Cancel safe as a stream: dropping the future of `next` loses no outcome.
///
/// ```
/// use futures::StreamExt;
///
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = procession::Pool::with_workers(2)?;
/// let mut halves = pool.map(|n: u32| n / 2, [2, 4]);
/// while let Some(half) = halves.next().await {
///     println!("{}", half?);
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "a map does nothing until it is awaited or read"]
#[pin_project(PinnedDrop)]
pub struct Map<'a, R> {
    guard: Arc<PoolGuard>,
    /// `None` after the end of the input.
    input: Option<Pin<Box<dyn MapInput<R> + Send + 'a>>>,
    results: Arc<MapResults<R>>,
    options: SharedOptions,
    ordered: bool,
    read_ahead: ReadAhead,
    on_progress: Option<OnProgress<'a>>,
    /// The length of the input, if it is known.
    total: Option<usize>,
    /// Items read from the input.
    read: usize,
    /// Outcomes taken from `results`.
    taken: usize,
    /// Finished items that `on_progress` was told of.
    reported: usize,
    /// The outcomes that were taken and not given to the stream's reader.
    span: std::vec::IntoIter<Result<R, JoinError>>,
    /// Jobs that were read and not submitted.
    jobs: Vec<(Arc<dyn Job>, EncodeResult)>,
    places: MapPlaces,
}

type OnProgress<'a> = Box<dyn FnMut(usize, Option<usize>) + Send + 'a>;

impl<'a, R> Map<'a, R> {
    /// A map over `input`.
    pub(in crate::pool) fn over(
        guard: &Arc<PoolGuard>,
        input: impl MapInput<R> + Send + 'a,
        options: SharedOptions,
    ) -> Self {
        Self::new(guard, Box::pin(input), options)
    }

    fn new(
        guard: &Arc<PoolGuard>,
        input: Pin<Box<dyn MapInput<R> + Send + 'a>>,
        options: SharedOptions,
    ) -> Self {
        Self {
            guard: Arc::clone(guard),
            total: input.exact_len(),
            input: Some(input),
            results: Arc::new(MapResults::new()),
            options,
            ordered: true,
            read_ahead: ReadAhead {
                places: guard.shared.read(Core::most_running),
                concurrency: None,
                chunk_size: None,
            },
            on_progress: None,
            read: 0,
            taken: 0,
            reported: 0,
            span: Vec::new().into_iter(),
            jobs: Vec::new(),
            places: MapPlaces::default(),
        }
    }

    /// Gives outcomes as items finish, instead of in the order of the input.
    pub fn unordered(mut self) -> Self {
        self.ordered = false;
        self
    }

    /// Upper bound on items read from the input whose outcome you have not taken yet (minimum 1).
    ///
    /// It bounds how many items run at the same time and how far ahead the input is read. By default the bound
    /// follows from how long items run, see [`Map`].
    #[doc(alias = "buffersize")]
    pub fn concurrency(mut self, items: usize) -> Self {
        self.read_ahead.concurrency = Some(items.max(1));
        self
    }

    /// Sets how many items are sent to a worker together (minimum 1).
    ///
    /// By default the number follows from how long items run: a batch runs for about 0.4 ms, and slow items are
    /// sent one by one.
    #[doc(alias = "chunksize")]
    pub fn chunk_size(mut self, items: usize) -> Self {
        self.read_ahead.chunk_size = Some(items.max(1));
        self
    }

    option_setters!("each item");

    /// Lets an item wait before it is run again, if it has [`retries`](Map::retries).
    ///
    /// Before the second try it waits for `first`, and before each further try `factor` times as long as before, but at
    /// most an hour. Each wait is shortened by up to a half, at random, so that items which failed together do not all
    /// come back together. While an item waits, other items run. A factor below 1 counts as 1. By default an item is
    /// run again at once.
    pub fn backoff(mut self, first: Duration, factor: f64) -> Self {
        self.options.backoff = Some(Backoff::new(first, factor));
        self
    }

    /// Calls `f` when items have finished, with the number of finished items and, if known, of all items.
    ///
    /// `f` is called in the task that polls the map, at most once per poll.
    pub fn on_progress(mut self, f: impl FnMut(usize, Option<usize>) + Send + 'a) -> Self {
        self.on_progress = Some(Box::new(f));
        self
    }

    /// The same map, whose outcomes come in the order of the input.
    pub(in crate::pool) fn in_order(mut self) -> Self {
        self.ordered = true;
        self
    }

    /// The next span of outcomes; `None` at the end.
    pub(in crate::pool) fn poll_span(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Span<R>>> {
        let this = self.get_mut();
        if this.guard.shared.is_elsewhere() && this.taken < this.read {
            this.give_up();
        }
        loop {
            let seen = this.results.finished();
            this.read_input(cx);
            this.report_progress();
            let next = this.ordered.then_some(this.taken);
            match this.results.take(next, seen, cx) {
                Take::Span(span) => {
                    this.taken += span.len();
                    return Poll::Ready(Some(span));
                }
                _ if this.input.is_none() && this.taken == this.read => return Poll::Ready(None),
                Take::ReadMore => {}
                Take::Wait => {
                    this.guard.shared.expect();
                    return Poll::Pending;
                }
            }
        }
    }

    /// In a copy of the process that has begun the map: the next item fails, and the map ends.
    #[cold]
    fn give_up(&mut self) {
        self.input = None;
        self.jobs.clear();
        self.read = self.taken + 1;
        self.results = Arc::new(MapResults::new());
        let error = JoinError::elsewhere("procession::map").of_item(Some(self.taken));
        self.results.add(self.taken, vec![Err(error)], None);
    }

    /// The first failure of any item, in the order of time.
    pub(in crate::pool) fn failure(&self) -> Option<JoinError> {
        self.results.failure()
    }

    /// Reads no more input and cancels every item that has no outcome.
    pub(in crate::pool) fn cancel(self: Pin<&mut Self>) {
        let this = self.project();
        *this.input = None;
        this.jobs.clear();
        this.places.give_back(&this.guard.shared);
        if this.taken < this.read {
            let group = this.results.group();
            this.guard.shared.with(|core| core.cancel_group(group));
        }
    }

    /// Reads input and submits it to the pool while there is room.
    fn read_input(&mut self, cx: &mut Context<'_>) {
        // The input is taken out while it is read, so that an input that panics is not read again.
        while let Some(mut input) = self.input.take() {
            match self.read_batch(input.as_mut(), cx) {
                Poll::Ready(Some(())) => self.input = Some(input),
                Poll::Ready(None) => self.total = Some(self.read),
                Poll::Pending => {
                    self.input = Some(input);
                    break;
                }
            }
        }
        self.submit_jobs();
    }

    /// Reads one batch. Pending if there is no room or no item; `None` at the end of the input.
    fn read_batch(
        &mut self,
        input: Pin<&mut (dyn MapInput<R> + Send + 'a)>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<()>> {
        let progress = self.progress();
        let room = self.read_ahead.room(progress);
        if room == 0 {
            self.places.stop_waiting(&self.guard.shared);
            return Poll::Pending;
        }
        if self.jobs.len() >= JOBS_AT_ONCE {
            self.submit_jobs();
        }
        let (shared, priority) = (&self.guard.shared, self.options.priority);
        ready!(self.places.poll_next(shared, priority, cx));
        let size = self
            .read_ahead
            .batch_size(progress.mean, input.exact_len())
            .min(room);
        // The rule is asked about one item at a time, which then has a task of its own.
        let asks_rule = self.options.retries > 0 && shared.settings.retry_if.is_some();
        let size = if asks_rule { 1 } else { size };
        let Poll::Ready(batch) = input.poll_batch(self.read, size, &self.results, cx) else {
            self.places.give_next_back(&self.guard.shared);
            return Poll::Pending;
        };
        Poll::Ready(batch.map(|job| {
            self.places.use_next();
            self.read += job.items();
            // Before the core's lock is taken: it runs the `Serialize` of the items.
            EncodedItems::of_all(job, &mut self.jobs);
        }))
    }

    fn submit_jobs(&mut self) {
        let shared = &self.guard.shared;
        if self.jobs.is_empty() {
            return self.places.give_next_back(shared);
        }
        let (jobs, mut options, places) = (&mut self.jobs, self.options.clone(), &mut self.places);
        options.begin_wait();
        if !shared.with(|core| core.submit_all(jobs, &options, places.take_used())) {
            for (job, _) in jobs.drain(..) {
                let closed = shared.read(|core| core.refusal(job.name()));
                job.fail(0, job.items(), &closed);
            }
        }
    }

    fn progress(&self) -> MapProgress {
        let (finished, mean) = self.results.progress();
        MapProgress {
            read: self.read,
            finished,
            given: self.given(),
            mean,
        }
    }

    /// Outcomes given to the caller.
    fn given(&self) -> usize {
        self.taken - self.span.len()
    }

    fn report_progress(&mut self) {
        if let Some(on_progress) = &mut self.on_progress {
            let finished = self.results.finished();
            if finished > self.reported {
                self.reported = finished;
                on_progress(finished, self.total);
            }
        }
    }
}

impl<R> Stream for Map<'_, R> {
    type Item = Result<R, JoinError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(outcome) = self.as_mut().project().span.next() {
                return Poll::Ready(Some(outcome));
            }
            match ready!(self.as_mut().poll_span(cx)) {
                Some(span) => *self.as_mut().project().span = span.into_iter(),
                None => return Poll::Ready(None),
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let given = self.given();
        let read = self.read - given;
        match self.total {
            // An iterator may give more items than its size hint says.
            Some(total) => {
                let left = total.saturating_sub(given).max(read);
                (left, Some(left))
            }
            None => (read, None),
        }
    }
}

#[pinned_drop]
impl<R> PinnedDrop for Map<'_, R> {
    fn drop(self: Pin<&mut Self>) {
        self.cancel();
    }
}

impl<R> fmt::Debug for Map<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("read", &self.read)
            .field("given", &self.given())
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}
