//! A pool whose workers each hold a state, and its builder.
//!
//! Runs in the application. It is a pool with one more initializer, which makes the state, and functions that take the
//! state first (`task/state_task.rs`). Never here: a second way to dispatch a call.

use std::fmt;
use std::io;
use std::marker::PhantomData;

use futures::Stream;

use super::state_lease::StateLeaseRequest;
use super::state_permit::StatePermitFuture;
use super::state_stream::StateStreamTask;
use crate::pool::calls::full::Full;
use crate::pool::calls::run::Run;
use crate::pool::calls::task_handle::TaskHandle;
use crate::pool::calls::task_stream::TaskStream;
use crate::pool::driving::initializer;
use crate::pool::maps::map::Map;
use crate::pool::options::builder::PoolBuilder;
use crate::pool::pool::Pool;
use crate::task::{OverState, StateSetup, StateTask, WithState};

/// The name of the function that makes the state, for error messages.
pub(in crate::pool) const STATE_NAME: &str = "the state";

/// Worker processes that each hold an `S`: an open document, a loaded model, an interpreter, a C library's context.
///
/// Every worker makes its own state before its first call. A call borrows the state of the worker it runs in, as the
/// function's first parameter. Calls of one worker run one after the other. The state never leaves its process: it need
/// not be `Send` or serialisable, and a crash in it ends one worker.
///
/// The state is made anew after a call has panicked, because the call may have left it half changed: its worker drops
/// it, leaves and is replaced. It is made anew, too, when its worker was killed or crashed. It is dropped in its worker
/// wherever the worker leaves in an orderly way: after a panic, and at the shutdown of the pool. A worker that is
/// killed (a timeout, a cancelled call, [`Pool::terminate`], the last handle of the pool) drops nothing. A worker that
/// takes longer than 10 s to make or drop its state when it leaves is killed. [`worker_exit`](PoolBuilder::worker_exit)
/// runs in every worker that leaves in an orderly way, also after a panic: before the state is dropped, which it does
/// not see.
///
/// [`Run::key`] is how a call finds the worker whose state is warm for it: the worker that last had the key.
///
/// If the state cannot be made, this is what a failing [`initializer`](PoolBuilder::initializer) is: the worker is
/// replaced; if it happens repeatedly, waiting calls fail with [`ErrorKind::Spawn`](crate::ErrorKind::Spawn) and the
/// cause.
///
/// A clone is another handle on the same pool.
///
/// ```
/// use procession::{Pool, StatePool};
///
/// struct Document {
///     pages: Vec<String>,
/// }
///
/// fn open(path: String) -> std::io::Result<Document> {
///     let text = std::fs::read_to_string(path)?;
///     let pages = text.split("\n\n").map(str::to_owned).collect();
///     Ok(Document { pages })
/// }
///
/// fn words(document: &mut Document, page: usize) -> usize {
///     document.pages[page].split_whitespace().count()
/// }
///
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let documents: StatePool<Document> = Pool::builder()
///     .workers(2)
///     .state(open, "Cargo.toml".to_owned())
///     .build()?;
/// let first = documents.run(words, 0).await?;
/// let pages = documents.map(words, 0..3).await?;
/// assert_eq!(pages[0], first);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "initializer")]
pub struct StatePool<S> {
    pool: Pool,
    state: PhantomData<fn(&mut S)>,
}

/// The options of a [`StatePool`]. Made by [`PoolBuilder::state`].
#[must_use = "a builder does nothing until `build`"]
pub struct StatePoolBuilder<S> {
    pool: PoolBuilder,
    state: PhantomData<fn(&mut S)>,
}

impl PoolBuilder {
    /// Has every worker hold a state, which `open` makes of `args`.
    ///
    /// `open` runs in each worker before its first call, after the [`initializer`](Self::initializer). It returns the
    /// state or a `Result` with it, and may be `async`. See [`StatePool`].
    pub fn state<S, F, M, A>(mut self, open: F, args: A) -> StatePoolBuilder<S>
    where
        S: 'static,
        F: StateSetup<S, M, A>,
    {
        let _ = open; // zero-sized: its type is the function
        self.state = Some(initializer::initializer::<F::Call>(
            STATE_NAME,
            F::arguments(args),
        ));
        StatePoolBuilder {
            pool: self,
            state: PhantomData,
        }
    }
}

impl<S: 'static> StatePoolBuilder<S> {
    /// Builds the pool and starts its workers. Does not wait for them.
    ///
    /// # Errors
    ///
    /// Those of [`PoolBuilder::build`]. A state that cannot be made is an error of the calls.
    pub fn build(self) -> io::Result<StatePool<S>> {
        Ok(StatePool {
            pool: self.pool.build()?,
            state: PhantomData,
        })
    }
}

impl<S: 'static> StatePool<S> {
    /// The pool itself: its metrics, its workers, its shutdown, and calls without the state.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Runs `f` with the state of one of the workers and `args`. As [`Pool::run`].
    #[doc(alias = "apply")]
    #[doc(alias = "submit")]
    pub fn run<F, M, A>(&self, f: F, args: A) -> Run<F::Output>
    where
        F: StateTask<S, M, A>,
    {
        self.pool.run(OverState::<S, F>::of(f), args)
    }

    /// Submits a call of `f` with the state of one of the workers and `args` at once. As [`Pool::spawn`].
    #[doc(alias = "apply_async")]
    pub fn spawn<F, M, A>(&self, f: F, args: A) -> TaskHandle<F::Output>
    where
        F: StateTask<S, M, A>,
    {
        self.run(f, args).spawn()
    }

    /// Submits a call of `f` with the state of one of the workers and `args` at once, if the queue has room. As
    /// [`Pool::try_spawn`].
    ///
    /// # Errors
    ///
    /// [`Full`], with the arguments.
    pub fn try_spawn<F, M, A>(&self, f: F, args: A) -> Result<TaskHandle<F::Output>, Full<A>>
    where
        F: StateTask<S, M, A>,
    {
        self.pool.try_spawn(OverState::<S, F>::of(f), args)
    }

    /// Waits for a place in the queue, and reserves it. As [`Pool::reserve`].
    pub fn reserve(&self) -> StatePermitFuture<S> {
        StatePermitFuture::new(self.pool.reserve())
    }

    /// Takes one worker, and so one state, for several calls. As [`Pool::worker`].
    pub fn worker(&self) -> StateLeaseRequest<S> {
        StateLeaseRequest::new(self.pool.worker())
    }

    /// Runs `f` with the state of one of the workers, and gives the items that it sends while it runs. As
    /// [`Pool::stream`].
    ///
    /// The first parameter of `f` is the state, the second an [`Emit`](crate::Emit), `args` are those behind it.
    pub fn stream<F, M, A>(&self, f: F, args: A) -> TaskStream<F::Item>
    where
        F: StateStreamTask<S, M, A>,
        A: Send + 'static,
    {
        self.pool.stream(OverState::<S, F>::of(f), args)
    }

    /// Runs `f` on every item, each with the state of the worker it runs in. As [`Pool::map`].
    #[doc(alias = "imap")]
    #[doc(alias = "imap_unordered")]
    #[doc(alias = "starmap")]
    pub fn map<'a, F, M, I>(&self, f: F, items: I) -> Map<'a, F::Output>
    where
        F: StateTask<S, M, I::Item>,
        I: IntoIterator,
        I::IntoIter: Send + 'a,
        I::Item: 'a,
        M: 'a,
    {
        let f = OverState::<S, F>::of(f);
        self.pool.map::<_, WithState<M>, _>(f, items)
    }

    /// Runs `f` on every item of a stream, each with the state of the worker it runs in. As [`Pool::map_stream`].
    pub fn map_stream<'a, F, M, I>(&self, f: F, items: I) -> Map<'a, F::Output>
    where
        F: StateTask<S, M, I::Item>,
        I: Stream + Send + 'a,
        I::Item: 'a,
        M: 'a,
    {
        let f = OverState::<S, F>::of(f);
        self.pool.map_stream::<_, WithState<M>, _>(f, items)
    }
}

impl<S> Clone for StatePool<S> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            state: PhantomData,
        }
    }
}

impl<S> fmt::Debug for StatePool<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatePool")
            .field("state", &std::any::type_name::<S>())
            .field("pool", &self.pool)
            .finish()
    }
}

impl<S> fmt::Debug for StatePoolBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatePoolBuilder")
            .field("state", &std::any::type_name::<S>())
            .field("pool", &self.pool)
            .finish()
    }
}
