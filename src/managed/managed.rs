//! The handle on a state in a process of its own.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::away_call::AwayCall;
use super::call::{CallPlace, ManagedCall};
use super::connection::Away;
use super::home::StateHome;
use crate::call::executor::EntryOf;
use crate::error::{ErrorKind, JoinError};
use crate::sys::image;
use crate::task::{Call, StateCall, StateRead, Sync};
use crate::transfer::encoded_value::EncodedValue;

/// One state in a process of its own, called from any number of processes.
///
/// Functions are called with the state as their first parameter, one call after the other, in the state's process. The
/// state never leaves it: it need not be `Send` or serialisable. A dictionary is a `HashMap`, a list is a `Vec`; no type
/// needs a wrapper.
///
/// A handle is cheap to clone, and can be sent to other processes inside arguments, results and messages. The calls of one
/// process are begun in the order in which they were first polled. The process that has made the state takes at most 1024
/// calls of another process at a time; more wait where they are made.
///
/// The state lives as long as a handle on it exists, in whatever process, and as long as the process that has made it
/// and that process's runtime. When the last handle is gone, the state is dropped in its process, which exits. In the
/// process that has made the state a call takes one round trip, in others two.
///
/// - A call that panics fails with [`ErrorKind::Panicked`](crate::ErrorKind::Panicked), for its caller alone. The state stays as
///   the call has left it.
/// - If the state's process dies, the call that it ran fails with the cause, and so does every other call from then on,
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
pub struct Managed<S> {
    handle: ManagedHandle,
    state: PhantomData<fn(&mut S)>,
}

#[derive(Debug, Clone)]
pub(super) enum ManagedHandle {
    Home(Arc<StateHome>),
    Away(Arc<Away>),
}

impl<S: 'static> Managed<S> {
    pub(super) fn at_home(home: Arc<StateHome>) -> Self {
        Self {
            handle: ManagedHandle::Home(home),
            state: PhantomData,
        }
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
        self.submit::<StateCall<F, S, Sync<R>, (A,)>>((args,))
    }

    /// Calls `f` with the state and `args`, in the state's process. `f` does not change the state.
    ///
    /// All else is as [`Managed::call`]. Reads run one after the other, as calls do.
    pub fn read<F, A, R>(&self, f: F, args: A) -> ManagedCall<R>
    where
        F: Fn(&S, A) -> R + Copy + Send + std::marker::Sync + 'static,
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        let _ = f; // has no bytes: its type is the function
        self.submit::<StateRead<F, S, R, A>>((args,))
    }

    fn submit<C: Call>(&self, arguments: C::Args) -> ManagedCall<C::Output> {
        ManagedCall(match &self.handle {
            ManagedHandle::Home(home) => CallPlace::Home {
                call: home.engine.call::<C>(arguments),
                _home: Arc::clone(home),
            },
            ManagedHandle::Away(away) => {
                let call = AwayCall::new(away, C::name(), packed::<C>(&arguments));
                CallPlace::Away(call)
            }
        })
    }

    /// How often the state was made anew: 0 for the first.
    ///
    /// In a process that has not made the state, this is the generation that has answered last.
    pub fn generation(&self) -> u64 {
        self.handle.generation()
    }
}

impl ManagedHandle {
    fn generation(&self) -> u64 {
        match self {
            Self::Home(home) => home.engine.generation(),
            Self::Away(away) => away.generation(),
        }
    }
}

/// The token of a function, and its arguments.
fn packed<C: Call>(arguments: &C::Args) -> Result<(u64, EncodedValue), JoinError> {
    let error = |why| JoinError::new(ErrorKind::Encode, C::name()).because(why);
    let token = image::token::<EntryOf<C>>().map_err(|why| error(why.to_string()))?;
    let arguments =
        EncodedValue::pack(arguments).map_err(|why| error(format!("the arguments: {why}")))?;
    Ok((token.to_bits(), arguments))
}

impl<S> Clone for Managed<S> {
    fn clone(&self) -> Self {
        Self {
            handle: self.handle.clone(),
            state: PhantomData,
        }
    }
}

impl<S> Serialize for Managed<S> {
    fn serialize<T: Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        let hellos = match &self.handle {
            ManagedHandle::Home(home) => &home.hellos,
            ManagedHandle::Away(away) => &away.hellos,
        };
        (hellos, self.handle.generation()).serialize(serializer)
    }
}

impl<'de, S> Deserialize<'de> for Managed<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (hellos, generation) = Deserialize::deserialize(deserializer)?;
        let away = Away::new(hellos, generation);
        Ok(Self {
            handle: ManagedHandle::Away(Arc::new(away)),
            state: PhantomData,
        })
    }
}

impl<S> fmt::Debug for Managed<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Managed")
            .field("state", &std::any::type_name::<S>())
            .field("handle", &self.handle)
            .finish()
    }
}
