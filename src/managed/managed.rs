//! The handle on a state in a process of its own.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::call::ManagedCall;
use super::connection::Away;
use super::handle::ManagedHandle;
use super::home::StateHome;
use super::stream::ManagedStream;
use crate::pool::StateStreamTask;
use crate::task::{SharedRead, StateCall, StateRead, Sync};

/// One state in a process of its own, called from any number of processes.
///
/// Functions are called with the state as their first parameter, in the state's process: one [call](Managed::call)
/// after the other, or [reads](Managed::read) at the same time. The state never leaves it: it need not be `Send` or
/// serialisable. A dictionary is a `HashMap`, a list is a `Vec`; no type needs a wrapper.
///
/// A handle is cheap to clone, and can be sent to other processes inside arguments, results and messages. The calls of
/// one process are begun in the order in which they were first polled. The process that has made the state takes at
/// most 1024 calls of another process at a time; more wait where they are made.
///
/// The state lives as long as a handle on it exists, in whatever process, and as long as the process that has made it
/// and that process's runtime. When the last handle is gone, the state is dropped in its process, which exits. In the
/// process that has made the state a call takes one round trip, in others two.
///
/// - A call that panics fails with [`ErrorKind::Panicked`](crate::ErrorKind::Panicked), for its caller alone. The state
///   stays as the call has left it.
/// - If the state's process dies, what it ran fails with the cause, and so does every other call from then on,
///   unless the state [is made anew](crate::ManagedBuilder::restart).
///
/// ```
/// use procession::Managed;
/// use std::collections::HashMap;
///
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache: Managed<HashMap<String, u32>> = Managed::spawn(HashMap::new, ()).await?;
/// cache.call(|map, (key, n)| map.insert(key, n), ("k".to_owned(), 7)).await?;
/// let n = cache.call(|map, key: String| map.get(&key).copied(), "k".into()).await?;
/// assert_eq!(n, Some(7));
///
/// async fn lookup(cache: Managed<HashMap<String, u32>>) -> Option<u32> {
///     cache.read(|map, key: String| map.get(&key).copied(), "k".into()).await.ok().flatten()
/// }
/// assert_eq!(procession::spawn(lookup, cache.clone()).await?, Some(7));
/// # Ok(())
/// # }
/// ```
#[doc(alias = "Manager")]
#[doc(alias = "BaseManager")]
#[doc(alias = "SyncManager")]
#[doc(alias = "dict")]
#[doc(alias = "list")]
#[doc(alias = "Namespace")]
pub struct Managed<S>(SerialReads<S>);

impl<S: 'static> Managed<S> {
    pub(super) fn at_home(home: Arc<StateHome>) -> Self {
        Self::of(ManagedHandle::Home(home))
    }

    /// Calls `f` with the state and `args`, in the state's process.
    ///
    /// `f` is a plain function or a closure that captures nothing. Several arguments are one tuple; `()` is none.
    pub fn call<F, A, R>(&self, f: F, args: A) -> ManagedCall<R>
    where
        F: Fn(&mut S, A) -> R + Copy + Send + std::marker::Sync + 'static,
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        let _ = f; // has no bytes: its type is the function
        self.0
            .handle
            .submit::<StateCall<F, S, Sync<R>, (A,)>>((args,))
    }

    /// Calls `f` with the state, and gives the items that it sends while it runs.
    ///
    /// The first parameter of `f` is `&mut S`, the second an [`Emit`](crate::Emit); `args` are those behind it. `f` may
    /// be `async`. See [`ManagedStream`].
    ///
    /// ```
    /// use futures::TryStreamExt;
    /// use procession::{Emit, Managed};
    ///
    /// fn drain(list: &mut Vec<u32>, emit: Emit<u32>) {
    ///     while let Some(n) = list.pop() {
    ///         emit.blocking_send(n);
    ///     }
    /// }
    ///
    /// # #[procession::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let list: Managed<Vec<u32>> = Managed::spawn(|| vec![1, 2, 3], ()).await?;
    /// let all: Vec<u32> = list.stream(drain, ()).try_collect().await?;
    /// assert_eq!(all, [3, 2, 1]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream<F, M, A>(&self, f: F, args: A) -> ManagedStream<F::Item>
    where
        F: StateStreamTask<S, M, A>,
        A: Send + 'static,
    {
        let _ = f; // has no bytes: its type is the function
        let handle = self.0.handle.clone();
        ManagedStream::new::<F::Call>(handle, move |emit| F::arguments(emit, args))
    }

    /// How often the state was made anew: 0 for the first.
    ///
    /// In a process that has not made the state, this is the generation that has answered last.
    pub fn generation(&self) -> u64 {
        self.0.handle.generation()
    }
}

impl<S: std::marker::Sync + 'static> Managed<S> {
    /// Calls `f` with the state and `args`, in the state's process. `f` does not change the state.
    ///
    /// Reads run at the same time, each on a thread of its own, up to 64; more wait. A read runs after the calls that
    /// were begun before it, and a call after the reads that were begun before it, so neither can keep the other
    /// waiting for ever. A read that panics fails for its caller alone. If the state's process dies, all reads that ran
    /// fail with the cause. Dropping a read that runs leaves it running, as [`Managed::call`].
    ///
    /// A read that does not end keeps the calls behind it waiting, and the reads behind those, for as long as the
    /// state's process lives. A caller bounds its own wait by `tokio::time::timeout`: its call is then removed, unless
    /// it was begun.
    ///
    /// If `S` is not `Sync`, or code that is generic over `S` does not say that it is, there is the same method, but
    /// its reads run one after the other, as calls do.
    ///
    /// In a read [`current`](crate::current) names no task. If the process can start no thread, a read runs as a call
    /// does.
    pub fn read<F, A, R>(&self, f: F, args: A) -> ManagedCall<R>
    where
        F: Fn(&S, A) -> R + Copy + Send + std::marker::Sync + 'static,
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        let _ = f; // has no bytes: its type is the function
        self.0.handle.read::<SharedRead<F, S, R, A>>(&(args,))
    }
}

/// A handle on a state that need not be `Sync`. [`Managed`] dereferences to it: the compiler takes the method of
/// `Managed` where the state is known to be `Sync`, and this type's otherwise.
#[doc(hidden)]
pub struct SerialReads<S> {
    handle: ManagedHandle,
    state: PhantomData<fn(&mut S)>,
}

impl<S: 'static> SerialReads<S> {
    /// As [`Managed::read`], but one after the other.
    pub fn read<F, A, R>(&self, f: F, args: A) -> ManagedCall<R>
    where
        F: Fn(&S, A) -> R + Copy + Send + std::marker::Sync + 'static,
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        let _ = f; // has no bytes: its type is the function
        self.handle.submit::<StateRead<F, S, R, A>>((args,))
    }
}

impl<S> Managed<S> {
    fn of(handle: ManagedHandle) -> Self {
        Self(SerialReads {
            handle,
            state: PhantomData,
        })
    }
}

#[doc(hidden)]
impl<S> Deref for Managed<S> {
    type Target = SerialReads<S>;

    fn deref(&self) -> &SerialReads<S> {
        &self.0
    }
}

impl<S> Clone for Managed<S> {
    fn clone(&self) -> Self {
        Self::of(self.0.handle.clone())
    }
}

impl<S> Serialize for Managed<S> {
    fn serialize<T: Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        let hellos = match &self.0.handle {
            ManagedHandle::Home(home) => &home.hellos,
            ManagedHandle::Away(away) => &away.hellos,
        };
        (hellos, self.0.handle.generation()).serialize(serializer)
    }
}

impl<'de, S> Deserialize<'de> for Managed<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (hellos, generation) = Deserialize::deserialize(deserializer)?;
        let away = Away::new(hellos, generation);
        Ok(Self::of(ManagedHandle::Away(Arc::new(away))))
    }
}

impl<S> fmt::Debug for Managed<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Managed")
            .field("state", &std::any::type_name::<S>())
            .field("handle", &self.0.handle)
            .finish()
    }
}

impl<S> fmt::Debug for SerialReads<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SerialReads")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}
