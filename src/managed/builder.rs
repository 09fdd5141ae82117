//! The options of a state in a process of its own, and the wait for it.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::engine::{Engine, EngineCall};
use super::home::StateHome;
use super::managed::Managed;
use super::reads::OpenWithReads;
use super::reads::pending_reads::PendingReads;
use super::state_thread::StateThread;
use crate::error::{ErrorKind, JoinError};
use crate::pool::{Pool, PoolBuilder};
use crate::spawn::StartMethod;
use crate::sys::reactor;
use crate::task::{Call, Keeping, StateSetup};

/// The name of the process, if it is given none.
const PROCESS_NAME: &str = "managed";

/// The options of a [`Managed`] state. Made by [`Managed::builder`]; later calls override earlier ones.
#[must_use = "a builder does nothing until `spawn`"]
pub struct ManagedBuilder<S> {
    pool: PoolBuilder,
    restart: bool,
    state: PhantomData<fn(&mut S)>,
}

impl<S: 'static> Managed<S> {
    /// Makes a state in a process of its own.
    ///
    /// `open` runs there with `args`. It returns the state or a `Result` with it, and may be `async`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Spawn`](crate::ErrorKind::Spawn) with the cause: the process cannot be started, `open` has failed,
    /// or there is no Tokio runtime here.
    pub fn spawn<F, M, A>(open: F, args: A) -> ManagedSpawn<S>
    where
        F: StateSetup<S, M, A>,
    {
        Self::builder().spawn(open, args)
    }

    /// Makes a state on a thread of this process, without another process: for tests of code that calls it.
    ///
    /// All else is as [`Managed::spawn`]. A call that ends its process ends this one.
    ///
    /// # Errors
    ///
    /// As [`Managed::spawn`].
    ///
    /// ```
    /// # #[procession::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let list: procession::Managed<Vec<u32>> = procession::Managed::local(Vec::new, ()).await?;
    /// list.call(|list, n| list.push(n), 1).await?;
    /// assert_eq!(list.read(|list, ()| list.len(), ()).await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn local<F, M, A>(open: F, args: A) -> ManagedSpawn<S>
    where
        F: StateSetup<S, M, A>,
    {
        Self::builder().local(open, args)
    }

    /// Returns a builder with the default options.
    pub fn builder() -> ManagedBuilder<S> {
        ManagedBuilder::default()
    }
}

impl<S> Default for ManagedBuilder<S> {
    fn default() -> Self {
        let pool = Pool::builder();
        Self {
            // A pool's niceness is for work that can wait.
            pool: pool.name(PROCESS_NAME).nice(0),
            restart: false,
            state: PhantomData,
        }
    }
}

impl<S: 'static> ManagedBuilder<S> {
    /// Names the process, in `ps` and `top` too.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.pool = self.pool.name(name);
        self
    }

    /// Sets how the process is started. See [`StartMethod`].
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.pool = self.pool.start_method(method);
        self
    }

    /// Limits the memory that the process may allocate, in bytes. See [`PoolBuilder::memory_limit`].
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.pool = self.pool.memory_limit(bytes);
        self
    }

    /// Sets the nice increment of the process (`nice(1)`). By default 0.
    pub fn nice(mut self, nice: i32) -> Self {
        self.pool = self.pool.nice(nice);
        self
    }

    /// Sets whether the state is made anew, in another process, if its process dies. By default it is not.
    ///
    /// The call or the reads that the process ran fail; calls that it had not begun are made with the new state.
    /// [`Managed::generation`] says how often this has happened. If `open` fails again and again, the calls that wait
    /// fail with the cause.
    pub fn restart(mut self, restart: bool) -> Self {
        self.restart = restart;
        self
    }

    /// Makes a state with these options. See [`Managed::spawn`].
    ///
    /// # Errors
    ///
    /// As [`Managed::spawn`].
    pub fn spawn<F, M, A>(self, open: F, args: A) -> ManagedSpawn<S>
    where
        F: StateSetup<S, M, A>,
    {
        let _ = open; // zero-sized: its type is the function
        let home = self.spawn_home::<F::Call>(F::arguments(args));
        ManagedSpawn::new::<F::Call>(home, |engine| engine.call::<HasState<F::Call>>(()))
    }

    /// Makes a state on a thread of this process. See [`Managed::local`].
    ///
    /// # Errors
    ///
    /// As [`Managed::spawn`].
    pub fn local<F, M, A>(self, open: F, args: A) -> ManagedSpawn<S>
    where
        F: StateSetup<S, M, A>,
    {
        let _ = open; // zero-sized: its type is the function
        ManagedSpawn::new::<F::Call>(local_home(), |engine| {
            let arguments = (engine.pending_reads().answers(), F::arguments(args));
            engine.call::<Keeping<OpenWithReads<F::Call>>>(arguments)
        })
    }

    fn spawn_home<C>(self, arguments: C::Args) -> io::Result<Arc<StateHome>>
    where
        C: Call<Output = Result<(), String>>,
    {
        reactor::check_runtime()?;
        let pending = PendingReads::new()?;
        let arguments = (pending.answers(), arguments);
        let pool = self
            .pool
            .only_state::<OpenWithReads<C>>(arguments, self.restart);
        StateHome::with(Engine::pool(pool.build()?, pending))
    }
}

fn local_home() -> io::Result<Arc<StateHome>> {
    reactor::check_runtime()?;
    let pending = PendingReads::new()?;
    StateHome::with(Engine::thread(StateThread::start()?, pending))
}

/// A call that returns once there is a state, which the worker has made before its first call.
#[derive(Debug)]
struct HasState<C>(PhantomData<C>);

impl<C: Call> Call for HasState<C> {
    type Args = ();
    type Output = Result<(), String>;

    fn name() -> &'static str {
        C::name()
    }

    fn call((): ()) -> Self::Output {
        Ok(())
    }
}

/// A future that resolves to a [`Managed`] state. Made by [`Managed::spawn`].
///
/// The process is started at once.
///
/// # Errors
///
/// [`ErrorKind::Spawn`](crate::ErrorKind::Spawn) with the cause.
///
/// # Cancel safety
///
/// Dropping it ends the process.
///
/// # Panics
///
/// If it is polled after it has resolved.
#[must_use = "the state is given by awaiting this"]
pub struct ManagedSpawn<S> {
    name: &'static str,
    stage: Option<Result<Opening, JoinError>>,
    state: PhantomData<fn(&mut S)>,
}

/// A home whose state is being made.
struct Opening {
    home: Arc<StateHome>,
    opened: EngineCall<Result<(), String>>,
}

impl<S> ManagedSpawn<S> {
    fn new<C: Call>(
        home: io::Result<Arc<StateHome>>,
        open: impl FnOnce(&Engine) -> EngineCall<Result<(), String>>,
    ) -> Self {
        let stage = match home {
            Ok(home) => Ok(Opening {
                opened: open(&home.engine),
                home,
            }),
            Err(error) => Err(failed(C::name(), error)),
        };
        Self {
            name: C::name(),
            stage: Some(stage),
            state: PhantomData,
        }
    }
}

impl Opening {
    /// The home, once it has its state.
    fn poll_opened(
        &mut self,
        name: &'static str,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Arc<StateHome>, JoinError>> {
        Poll::Ready(match ready!(Pin::new(&mut self.opened).poll(cx)) {
            Ok(Ok(())) => Ok(Arc::clone(&self.home)),
            Ok(Err(why)) => Err(failed(name, format!("the state: {why}"))),
            Err(error) => Err(error),
        })
    }
}

fn failed(name: &'static str, why: impl ToString) -> JoinError {
    JoinError::new(ErrorKind::Spawn, name).because(why.to_string())
}

impl<S: 'static> Future for ManagedSpawn<S> {
    type Output = Result<Managed<S>, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let name = self.name;
        let Some(stage) = &mut self.stage else {
            panic!("`ManagedSpawn` was polled after it had resolved");
        };
        let opened = match stage {
            Ok(opening) => ready!(opening.poll_opened(name, cx)),
            Err(error) => Err(error.clone()),
        };
        self.stage = None;
        Poll::Ready(opened.map(Managed::at_home))
    }
}

impl<S> fmt::Debug for ManagedBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedBuilder")
            .field("restart", &self.restart)
            .field("process", &self.pool)
            .finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for ManagedSpawn<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedSpawn")
            .field("open", &self.name)
            .finish_non_exhaustive()
    }
}
