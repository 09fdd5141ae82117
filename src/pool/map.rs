//! One function over many items.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;

use super::map_batch::Batch;
use super::map_results::{MapResults, Stretch};
use super::pool_guard::PoolGuard;
use super::records::Options;
use crate::call::job::Job;
use crate::error::{ErrorKind, JoinError};
use crate::schedule::Priority;
use crate::task::{Call, Task};

/// How long a batch should take: much longer than it takes to send it, and too short to notice.
const BATCH_LASTS: Duration = Duration::from_micros(400);

/// The most items in one batch. More would not make sending cheaper.
const LARGEST_BATCH: usize = 4096;

/// Work for so long is read ahead for every worker.
const AHEAD_LASTS: Duration = Duration::from_micros(1500);

/// The fewest and the most items that are read ahead for every worker by default.
const FEWEST_AHEAD: usize = 2;
const MOST_AHEAD: usize = 4 * LARGEST_BATCH;

/// So many times what is read ahead may be finished behind an item that is not.
const FINISHED_BEHIND: usize = 16;

/// Batches that are handed over under one lock.
const BATCHES_AT_ONCE: usize = 64;

/// One function over many items, in a pool's workers.
///
/// Awaited, it gives all results in the order of the input; the first failure of any item, in the order of
/// time, ends it and cancels the rest. Read as a stream, it gives the outcome of every item, in the order of the
/// input, and goes on after a failed one. It begins when it is first polled.
///
/// The input is read as there is room: no more items are read ahead of the outcomes taken than
/// [`Map::concurrency`] says. By default as many are read as keep the workers busy for about a millisecond,
/// at least two for each; outcomes that wait behind a slow item count towards a limit sixteen times as large.
/// Items that take next to no time travel in batches, whose size follows from how long items take.
///
/// Dropping it cancels every item that has no outcome: what runs is killed.
///
/// # Cancel safety
///
/// As a stream it is cancel safe: dropping the future of `next` loses no outcome.
#[must_use = "a map does nothing until it is awaited or read"]
pub struct Map<'a, R> {
    front: Arc<PoolGuard>,
    feed: Option<Box<dyn Feed<R> + Send + 'a>>,
    pub(super) gather: Arc<MapResults<R>>,
    options: Options,
    ordered: bool,
    concurrency: Option<usize>,
    chunk_size: Option<usize>,
    progress: Option<Progress<'a>>,
    workers: usize,
    total: Option<usize>,
    /// Items read from the input.
    read: usize,
    /// Outcomes taken from the gathering.
    taken: usize,
    /// Outcomes given to the caller.
    pub(super) given: usize,
    /// Outcomes of which the progress was told.
    told: usize,
    stretch: std::vec::IntoIter<Result<R, JoinError>>,
    jobs: Vec<Arc<dyn Job>>,
}

type Progress<'a> = Box<dyn FnMut(usize, Option<usize>) + Send + 'a>;

/// Where items come from, with their type forgotten.
trait Feed<R> {
    /// The next items, at most `most`, as a job; `None` at the end.
    fn next(
        &mut self,
        first: usize,
        most: usize,
        gather: &Arc<MapResults<R>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(Arc<dyn Job>, usize)>>;

    /// How many items are left, if that is known.
    fn left(&self) -> Option<usize>;
}

struct FromIterator<I, F, M>(I, std::marker::PhantomData<fn() -> (F, M)>);

struct FromStream<S, F, M>(Pin<Box<S>>, bool, std::marker::PhantomData<fn() -> (F, M)>);

pub(super) fn over_iterator<'a, F, M, I>(
    guard: &Arc<PoolGuard>,
    items: I,
    options: Options,
) -> Map<'a, F::Output>
where
    F: Task<M, I::Item>,
    I: Iterator + Send + 'a,
    M: 'a,
{
    let feed = FromIterator::<I, F, M>(items, std::marker::PhantomData);
    Map::new(guard, Box::new(feed), options)
}

pub(super) fn over_stream<'a, F, M, S>(
    guard: &Arc<PoolGuard>,
    items: S,
    options: Options,
) -> Map<'a, F::Output>
where
    F: Task<M, S::Item>,
    S: Stream + Send + 'a,
    M: 'a,
{
    let feed = FromStream::<S, F, M>(Box::pin(items), false, std::marker::PhantomData);
    Map::new(guard, Box::new(feed), options)
}

type BatchOf<F, M, A> = Batch<<F as Task<M, A>>::Call>;

impl<I, F, M> Feed<F::Output> for FromIterator<I, F, M>
where
    I: Iterator,
    F: Task<M, I::Item>,
{
    fn next(
        &mut self,
        first: usize,
        most: usize,
        gather: &Arc<MapResults<F::Output>>,
        _: &mut Context<'_>,
    ) -> Poll<Option<(Arc<dyn Job>, usize)>> {
        let items: Vec<_> = self.0.by_ref().take(most).map(F::arguments).collect();
        let count = items.len();
        if count == 0 {
            return Poll::Ready(None);
        }
        let batch = BatchOf::<F, M, I::Item>::new(first, items, Arc::clone(gather));
        Poll::Ready(Some((Arc::new(batch), count)))
    }

    fn left(&self) -> Option<usize> {
        exact(self.0.size_hint())
    }
}

impl<S, F, M> Feed<F::Output> for FromStream<S, F, M>
where
    S: Stream,
    F: Task<M, S::Item>,
{
    fn next(
        &mut self,
        first: usize,
        most: usize,
        gather: &Arc<MapResults<F::Output>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(Arc<dyn Job>, usize)>> {
        let mut items: Vec<<F::Call as Call>::Args> = Vec::new();
        while items.len() < most && !self.1 {
            match self.0.as_mut().poll_next(cx) {
                Poll::Ready(Some(item)) => items.push(F::arguments(item)),
                Poll::Ready(None) => self.1 = true,
                Poll::Pending if items.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        let count = items.len();
        if count == 0 {
            return Poll::Ready(None);
        }
        let batch = BatchOf::<F, M, S::Item>::new(first, items, Arc::clone(gather));
        Poll::Ready(Some((Arc::new(batch), count)))
    }

    fn left(&self) -> Option<usize> {
        exact(self.0.size_hint())
    }
}

fn exact((least, most): (usize, Option<usize>)) -> Option<usize> {
    most.filter(|most| *most == least)
}

impl<'a, R> Map<'a, R> {
    fn new(guard: &Arc<PoolGuard>, feed: Box<dyn Feed<R> + Send + 'a>, options: Options) -> Self {
        Self {
            front: Arc::clone(guard),
            total: feed.left(),
            feed: Some(feed),
            gather: Arc::new(MapResults::new()),
            options,
            ordered: true,
            concurrency: None,
            chunk_size: None,
            progress: None,
            workers: guard.shared.look(|core| core.target),
            read: 0,
            taken: 0,
            given: 0,
            told: 0,
            stretch: Vec::new().into_iter(),
            jobs: Vec::new(),
        }
    }

    /// Gives outcomes as items finish, and not in the order of the input.
    pub fn unordered(mut self) -> Self {
        self.ordered = false;
        self
    }

    /// How many items may have been read whose outcome was not taken; at least one. It bounds how many run
    /// at a time and how far ahead the input is read.
    #[doc(alias = "buffersize")]
    pub fn concurrency(mut self, items: usize) -> Self {
        self.concurrency = Some(items.max(1));
        self
    }

    /// How many items travel together, at least one. By default it follows from how long items take.
    #[doc(alias = "chunksize")]
    pub fn chunk_size(mut self, items: usize) -> Self {
        self.chunk_size = Some(items.max(1));
        self
    }

    /// How long each item may take, counted from the moment a worker starts it.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.options.timeout = Some(limit);
        self
    }

    /// How often an item is run again whose worker crashes or exits while it runs.
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.retries = retries;
        self
    }

    /// Whether the items go before or after others that wait.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.options.priority = priority;
        self
    }

    /// Calls `f` whenever items have finished, with how many have and how many there are, if the input
    /// says so.
    pub fn on_progress(mut self, f: impl FnMut(usize, Option<usize>) + Send + 'a) -> Self {
        self.progress = Some(Box::new(f));
        self
    }

    /// Reads input and hands it to the pool as long as there is room. Pending or not, the caller goes on.
    fn feed(&mut self, cx: &mut Context<'_>) {
        while let Some(mut feed) = self.feed.take() {
            let room = self.room();
            if room == 0 || self.jobs.len() >= BATCHES_AT_ONCE {
                self.feed = Some(feed);
                if room == 0 {
                    break;
                }
                self.hand_over();
                continue;
            }
            let most = self.batch_size(feed.left()).min(room);
            match feed.next(self.read, most, &self.gather, cx) {
                Poll::Ready(Some((job, count))) => {
                    self.read += count;
                    self.jobs.push(job);
                    self.feed = Some(feed);
                }
                Poll::Ready(None) => self.total = Some(self.read),
                Poll::Pending => {
                    self.feed = Some(feed);
                    break;
                }
            }
        }
        self.hand_over();
    }

    fn hand_over(&mut self) {
        if self.jobs.is_empty() {
            return;
        }
        let (jobs, options) = (&mut self.jobs, self.options);
        let kept = jobs.clone();
        let taken = self
            .front
            .shared
            .with(|core| core.submit_all(jobs, options));
        if !taken {
            for job in kept {
                job.fail(
                    0,
                    job.items(),
                    &JoinError::new(ErrorKind::Closed, job.name()),
                );
            }
        }
    }

    /// How many more items may be read now.
    fn room(&self) -> usize {
        let unread = self.read - self.given;
        if let Some(concurrency) = self.concurrency {
            return concurrency.saturating_sub(unread);
        }
        // What is finished and waits behind a slow item does not keep the workers idle, up to a point.
        let ahead = self.ahead();
        let unfinished = self.read - self.gather.arrived();
        let most = ahead.saturating_mul(FINISHED_BEHIND).saturating_sub(unread);
        ahead.saturating_sub(unfinished).min(most)
    }

    /// How many items the workers should have before them.
    fn ahead(&self) -> usize {
        let chunk = self.chunk_size.unwrap_or(1);
        let each = match self.gather.mean() {
            None => FEWEST_AHEAD,
            Some(mean) => {
                let lasting = AHEAD_LASTS.as_nanos() / mean.as_nanos().max(1);
                (lasting as usize).clamp(FEWEST_AHEAD, MOST_AHEAD)
            }
        };
        self.workers * each.max(FEWEST_AHEAD * chunk)
    }

    /// How many items the next batch has.
    fn batch_size(&self, left: Option<usize>) -> usize {
        if let Some(chunk) = self.chunk_size {
            return chunk;
        }
        let Some(mean) = self.gather.mean() else {
            return 1;
        };
        let lasting = (BATCH_LASTS.as_nanos() / mean.as_nanos().max(1)) as usize;
        let mut size = lasting.clamp(1, LARGEST_BATCH);
        if let Some(concurrency) = self.concurrency {
            size = size.min(concurrency.div_ceil(2 * self.workers));
        }
        match left {
            // Towards the end smaller ones, so that all workers end together.
            Some(left) => size.min(left.div_ceil(2 * self.workers)).max(1),
            None => size,
        }
    }

    /// The next stretch of outcomes; `None` at the end.
    pub(super) fn poll_stretch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Stretch<R>>> {
        loop {
            let seen = self.gather.arrived();
            self.feed(cx);
            self.tell_progress();
            let next = self.ordered.then_some(self.taken);
            match self.gather.take(next, seen, cx) {
                Ok(stretch) => {
                    self.taken += stretch.len();
                    return Poll::Ready(Some(stretch));
                }
                Err(_) if self.feed.is_none() && self.taken == self.read => {
                    return Poll::Ready(None);
                }
                // What has come meanwhile makes room for more input.
                Err(true) => {}
                Err(false) => return Poll::Pending,
            }
        }
    }

    fn tell_progress(&mut self) {
        if let Some(progress) = &mut self.progress {
            let arrived = self.gather.arrived();
            if arrived > self.told {
                self.told = arrived;
                progress(arrived, self.total);
            }
        }
    }

    pub(super) fn cancel(&mut self) {
        self.feed = None;
        self.jobs.clear();
        if self.taken < self.read {
            let group = Arc::as_ptr(&self.gather).addr();
            self.front.shared.with(|core| core.cancel_group(group));
        }
    }
}

// Nothing in it is pinned in place: a stream that feeds it is in a box.
impl<R> Unpin for Map<'_, R> {}

impl<R> Stream for Map<'_, R> {
    type Item = Result<R, JoinError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(outcome) = self.stretch.next() {
                self.given += 1;
                return Poll::Ready(Some(outcome));
            }
            match ready!(self.poll_stretch(cx)) {
                Some(stretch) => self.stretch = stretch.into_iter(),
                None => return Poll::Ready(None),
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let read = self.read - self.given;
        match self.total {
            // An iterator may give more than it says.
            Some(total) => {
                let left = total.saturating_sub(self.given).max(read);
                (left, Some(left))
            }
            None => (read, None),
        }
    }
}

impl<R> Drop for Map<'_, R> {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl<R> fmt::Debug for Map<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("read", &self.read)
            .field("given", &self.given)
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}
