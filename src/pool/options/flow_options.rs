//! The options of a pool that concern waiting tasks: the setters of the builder.
//!
//! Runs in the application.

use std::time::Duration;

use super::builder::PoolBuilder;
use super::retry_rule::RetryRule;
use crate::error::JoinError;

impl PoolBuilder {
    /// Limits how many tasks may wait. By default there is no limit.
    ///
    /// The pool takes as many tasks as it has workers, and `tasks` more that wait. A task waits until it is known to be
    /// the next of its worker. A batch of map items is one task. At the limit:
    ///
    /// - [`Pool::run`](crate::Pool::run) waits for a place before it encodes its arguments, and so do
    ///   [`Pool::map`](crate::Pool::map) and [`Pool::reserve`](crate::Pool::reserve). Each priority is served in order,
    ///   and the priorities take turns as waiting tasks do.
    /// - [`Pool::try_spawn`](crate::Pool::try_spawn) fails with [`Full`](crate::Full).
    /// - [`Pool::spawn`](crate::Pool::spawn) queues the task all the same.
    ///
    /// A task that is run again, or in another worker, keeps its place. When the pool is closed, what waits for a place
    /// fails with [`ErrorKind::Closed`](crate::ErrorKind::Closed); when it is terminated, with
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
    ///
    /// ```
    /// # #[procession::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = procession::Pool::builder().workers(1).queue_limit(0).build()?;
    /// let running = pool.spawn(|| std::thread::sleep(std::time::Duration::from_millis(50)), ());
    /// let refused = pool.try_spawn(|n: u32| n, 7).unwrap_err();
    /// assert_eq!(refused.into_inner(), 7);
    /// running.await?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "backpressure")]
    pub fn queue_limit(mut self, tasks: usize) -> Self {
        self.queue_limit = Some(tasks);
        self
    }

    /// Limits how many bytes the encoded arguments of waiting tasks may have. By default there is no limit.
    ///
    /// At the limit the same happens as at [`queue_limit`](Self::queue_limit). Arguments that are longer than the limit
    /// pass when no others wait. A map may exceed the limit by one batch. Arguments that travel as a descriptor count
    /// the few bytes that name it.
    pub fn queue_bytes(mut self, bytes: u64) -> Self {
        self.queue_bytes = Some(bytes);
        self
    }

    /// Limits how long a task may wait: for room in the queue, and for a worker. By default there is no limit.
    ///
    /// See [`Run::queue_timeout`](crate::Run::queue_timeout). It holds for [`Pool::reserve`](crate::Pool::reserve) too.
    pub fn queue_timeout(mut self, limit: Duration) -> Self {
        self.queue_timeout = Some(limit);
        self
    }

    /// Says which failed tasks are run again, instead of those whose worker crashed or exited.
    ///
    /// `rule` is asked after each failure of a task that has started, as long as it has [`retries`](Self::retries)
    /// left. It may allow another try after a panic, a timeout, a result that cannot be decoded. It is not asked about
    /// tasks that were cancelled. Work that had not started always runs elsewhere. `rule` runs on a thread of the
    /// runtime and must not block; if it panics, the task is not run again. Items of a map with retries are then sent
    /// one by one.
    ///
    /// ```
    /// # #[procession::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = procession::Pool::builder()
    ///     .workers(1)
    ///     .retries(2)
    ///     .retry_if(|error| error.is_panic() || error.is_timed_out())
    ///     .build()?;
    /// let error = pool.run(|| -> u32 { panic!("each time") }, ()).await.unwrap_err();
    /// assert!(error.is_panic());
    /// assert_eq!(pool.metrics().retried(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn retry_if(mut self, rule: impl Fn(&JoinError) -> bool + Send + Sync + 'static) -> Self {
        self.retry_if = Some(RetryRule::new(rule));
        self
    }
}
