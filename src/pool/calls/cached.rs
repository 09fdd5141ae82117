//! An argument that is sent to, and decoded in, each worker once.
//!
//! Made in the application. In a worker it is the value that the worker has decoded before.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::codec::cached;
use crate::codec::cached::CachedMemory;
use crate::codec::codec;
use crate::codec::codec::EncodeFault;
use crate::pool::driving::events::DriverEvent;
use crate::pool::pool::Pool;
use crate::sys::memory::Mapping;
use crate::transfer::cached_values;

/// A value that each worker of a pool is sent and decodes once. Made by [`Pool::cache`].
///
/// It dereferences to the value, in the application and in the functions that have it as an argument. As an argument,
/// or anywhere inside one, it costs a few bytes, whatever the size of the value. A worker, also a worker that is
/// started later, is sent the value with the first call that needs it, and keeps it until the last handle in the
/// application is dropped. A clone is another handle, and so is an argument of a call that has no outcome. A handle
/// that a function keeps beyond its call keeps the value in its worker.
///
/// The value is encoded once, into memory that no process can change. All workers read it from there; each has its own
/// decoded value. Nothing is kept across the end of a worker or the pool.
///
/// It can be sent only in arguments of calls of its pool, of maps, streams, leases and broadcasts too. Anywhere else,
/// in results, queues and pipes and in the initializer, it cannot be serialised.
///
/// # Panics
///
/// Dereferencing panics in the application if the value cannot be decoded from what it was encoded to. In a worker the
/// call fails with [`ErrorKind::Decode`](crate::ErrorKind::Decode) then.
///
/// ```
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession::Cached;
///
/// fn count(words: Cached<Vec<String>>, letter: char) -> usize {
///     words.iter().filter(|word| word.starts_with(letter)).count()
/// }
///
/// let pool = procession::Pool::with_workers(2)?;
/// let words = pool.cache(&vec!["ant".to_owned(), "bee".to_owned(), "asp".to_owned()])?;
/// let counts = pool.map(count, ['a', 'b', 'c'].map(|letter| (words.clone(), letter))).await?;
/// assert_eq!(counts, [2, 1, 0]);
/// # Ok(())
/// # }
/// ```
pub struct Cached<T>(Handle<T>);

enum Handle<T> {
    /// In the process that has cached the value.
    Home(Arc<HomeValue<T>>),
    /// In a worker.
    Arrived(Arc<T>),
}

/// The memory of a value, and the value once it was looked at.
struct HomeValue<T> {
    memory: Arc<CachedMemory>,
    value: OnceLock<T>,
}

impl Pool {
    /// Makes an argument of calls of this pool that is sent to and decoded in each worker once.
    ///
    /// It takes as long as encoding `value` does, so a large value is better cached where the runtime may be blocked.
    ///
    /// # Errors
    ///
    /// `value` cannot be encoded ([`io::ErrorKind::InvalidData`]), or the kernel has no memory or descriptors left. It
    /// takes one descriptor for as long as there is a handle.
    pub fn cache<T>(&self, value: &T) -> io::Result<Cached<T>>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let mut bytes = Vec::new();
        codec::encode_to_vec(value, &mut bytes).map_err(|fault| {
            let why = match fault {
                EncodeFault::Refused(why) => why,
                EncodeFault::Full => "it is too long".to_owned(),
            };
            let why = format!("the value cannot be encoded: {why}");
            io::Error::new(io::ErrorKind::InvalidData, why)
        })?;
        let shared = Arc::downgrade(&self.guard.shared);
        let owner = self.guard.shared.settings.id;
        let memory = CachedMemory::new(&bytes, owner, move |id| {
            if let Some(shared) = shared.upgrade() {
                shared.tell_driver(DriverEvent::Uncached(id));
            }
        })?;
        Ok(Cached(Handle::Home(Arc::new(HomeValue {
            memory: Arc::new(memory),
            value: OnceLock::new(),
        }))))
    }
}

impl<T: DeserializeOwned> HomeValue<T> {
    fn decode(&self) -> Result<T, String> {
        let len = self.memory.len();
        let mapping = Mapping::read_only(&*self.memory, len.max(1));
        let mapping = mapping.map_err(|error| error.to_string())?;
        codec::decode_shared(mapping.shared(0, len))
    }
}

impl<T: DeserializeOwned> Deref for Cached<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.0 {
            Handle::Arrived(value) => value,
            Handle::Home(home) => home.value.get_or_init(|| match home.decode() {
                Ok(value) => value,
                // Documented: there is no other answer here.
                Err(why) => panic!("a cached value cannot be decoded: {why}"),
            }),
        }
    }
}

impl<T> Clone for Cached<T> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Handle::Home(home) => Handle::Home(Arc::clone(home)),
            Handle::Arrived(value) => Handle::Arrived(Arc::clone(value)),
        })
    }
}

impl<T> Serialize for Cached<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Handle::Home(home) => {
                cached::name(&home.memory).map_err(ser::Error::custom)?;
                serializer.serialize_u64(home.memory.id())
            }
            Handle::Arrived(_) => Err(ser::Error::custom(cached::refuse_to_send())),
        }
    }
}

impl<'de, T> Deserialize<'de> for Cached<T>
where
    T: DeserializeOwned + Send + Sync + 'static,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = u64::deserialize(deserializer)?;
        let value = cached_values::get(id).map_err(de::Error::custom)?;
        Ok(Self(Handle::Arrived(value)))
    }
}

impl<T> fmt::Debug for Cached<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached").finish_non_exhaustive()
    }
}
