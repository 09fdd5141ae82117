//! Arguments whose `Serialize` uses their pool, or waits for a thread that does.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use procession::Pool;
use serde::{Deserialize, Serialize, Serializer};

use crate::deadline::within;

static POOL: OnceLock<Pool> = OnceLock::new();

fn pool() -> &'static Pool {
    POOL.get_or_init(|| Pool::with_workers(2).unwrap())
}

static ENCODED: AtomicU32 = AtomicU32::new(0);

/// Its encoding looks at the pool, and submits another task.
#[derive(Debug, Deserialize)]
struct Curious(#[allow(dead_code, reason = "it has a size")] Vec<u8>);

impl Serialize for Curious {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ENCODED.fetch_add(1, Ordering::Relaxed);
        let looked = pool().metrics().workers() + pool().workers().len();
        drop(pool().spawn(|n: usize| n, looked));
        self.0.serialize(serializer)
    }
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn serialize_may_use_the_pool() {
    within(pool().run(|| (), ())).await.unwrap();
    for len in [0, 1000, 100_000, 1 << 20] {
        let call = pool().run(|it: Curious| it.0.len(), Curious(vec![1; len]));
        assert_eq!(within(call).await.unwrap(), len);
        let items = (0..20).map(|_| Curious(vec![1; len / 20]));
        let all = within(pool().map(|it: Curious| it.0.len(), items))
            .await
            .unwrap();
        assert_eq!(all.iter().sum::<usize>(), len / 20 * 20);
    }
    // Tasks that are sent once more are encoded once more.
    let dies = |it: Curious| -> usize { std::process::exit(i32::try_from(it.0.len()).unwrap()) };
    let call = pool().run(dies, Curious(vec![1; 5])).retries(2);
    assert_eq!(within(call).await.unwrap_err().exit_code(), Some(5));
    assert!(ENCODED.load(Ordering::Relaxed) > 80);
}

/// Its encoding locks it, as serde's own of a `Mutex` does.
#[derive(Debug, Deserialize)]
#[serde(from = "u32")]
struct Locked(Arc<Mutex<u32>>);

impl From<u32> for Locked {
    fn from(number: u32) -> Self {
        Self(Arc::new(Mutex::new(number)))
    }
}

impl Serialize for Locked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.lock().unwrap().serialize(serializer)
    }
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn serialize_may_wait_for_a_thread_that_looks_at_the_pool() {
    let pool = Pool::with_workers(1).unwrap();
    within(pool.run(|| (), ())).await.unwrap();
    let state = Arc::new(Mutex::new(7_u32));
    let (held, is_held) = mpsc::channel();
    let (mine, theirs) = (pool.clone(), Arc::clone(&state));
    let other = std::thread::spawn(move || {
        let number = theirs.lock().unwrap();
        held.send(()).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        *number + u32::try_from(mine.metrics().workers()).unwrap()
    });
    is_held.recv().unwrap();
    let number = |it: Locked| *it.0.lock().unwrap();
    let call = tokio::spawn(async move { pool.run(number, Locked(state)).await });
    assert_eq!(within(call).await.unwrap().unwrap(), 7);
    assert_eq!(other.join().unwrap(), 8);
}
