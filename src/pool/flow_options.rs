//! The options of a pool that concern waiting tasks: the setters of the builder.
//!
//! Runs in the application.

use super::builder::PoolBuilder;

impl PoolBuilder {
    /// Limits how many tasks may wait. By default there is no limit.
    ///
    /// The pool takes as many tasks as it has workers, and `tasks` more that wait. A task waits until it is known to be
    /// the next of its worker. A batch of map items is one task. At the limit:
    ///
    /// - [`Pool::run`] waits for a place before it encodes its arguments, and so do [`Pool::map`] and
    ///   [`Pool::reserve`]. Each priority is served in order, and the priorities take turns as waiting tasks do.
    /// - [`Pool::try_spawn`] fails with [`Full`](crate::Full).
    /// - [`Pool::spawn`] queues the task all the same.
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
    /// pass when no others wait. A map may exceed the limit by one batch. Arguments that travel as a descriptor count the
    /// few bytes that name it.
    pub fn queue_bytes(mut self, bytes: u64) -> Self {
        self.queue_bytes = Some(bytes);
        self
    }
}
