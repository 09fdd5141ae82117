//! How often a call takes the core's lock. Starts processes: they enter by the constructor of this test binary.

use super::Pool;
use super::shared::PoolShared;

fn add(a: u64, b: u64) -> u64 {
    a + b
}

/// Lets other tasks of the runtime run until `done`.
async fn until(shared: &PoolShared, done: impl Fn(&PoolShared) -> bool) {
    let waiting = async {
        while !done(shared) {
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(60);
    tokio::time::timeout(limit, waiting).await.unwrap();
}

/// How often one call takes the lock, from its submission until the driver sleeps again.
async fn locks_of_a_call(pool: &Pool) -> usize {
    let shared = &pool.guard.shared;
    until(shared, PoolShared::driver_has_no_alarm).await;
    shared.take_lock_count();
    assert_eq!(pool.run(add, (1, 2)).await.unwrap(), 3);
    until(shared, PoolShared::driver_is_asleep).await;
    shared.take_lock_count()
}

/// The least of several calls: a worker that the machine does not let run costs one more.
#[procession_macros::test(crate = "crate")]
async fn call_on_an_idle_pool_takes_the_lock_four_times_at_most() {
    let pool = Pool::with_workers(2).unwrap();
    for _ in 0..3 {
        pool.run(add, (1, 2)).await.unwrap();
    }
    let mut counts = Vec::new();
    for _ in 0..10 {
        counts.push(locks_of_a_call(&pool).await);
    }
    let least = counts.iter().min();
    assert!(least <= Some(&4), "{counts:?}");
    pool.shutdown().await;
}
