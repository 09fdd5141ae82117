//! The options of pools, calls and maps.

use std::time::Duration;

use procession::{Pool, PoolBuilder};

use crate::deadline::within;

fn pid() -> u32 {
    std::process::id()
}

fn double(n: u64) -> u64 {
    n * 2
}

/// A pool that `prepare` has built runs a call and a map.
async fn works(prepare: impl FnOnce(PoolBuilder) -> PoolBuilder) {
    let pool = prepare(Pool::builder().workers(1)).build().unwrap();
    assert_ne!(within(pool.run(pid, ())).await.unwrap(), pid());
    let all = within(pool.map(double, 0..100)).await.unwrap();
    assert_eq!(all.len(), 100);
    within(pool.shutdown_timeout(Duration::MAX)).await;
}

#[procession::test]
async fn longest_durations_are_for_ever() {
    works(|builder| {
        builder
            .task_timeout(Duration::MAX)
            .cancel_grace(Duration::MAX)
    })
    .await;
    let pool = Pool::with_workers(1).unwrap();
    let run = pool.run(double, 2).timeout(Duration::MAX);
    assert_eq!(within(run).await.unwrap(), 4);
    let map = pool.map(double, 0..100).timeout(Duration::MAX);
    assert_eq!(within(map).await.unwrap().len(), 100);
}

/// A task with the longest grace ends when it has heard of it.
#[procession::test]
async fn longest_grace_waits_for_the_task() {
    let pool = Pool::builder().workers(1).cancel_grace(Duration::MAX);
    let pool = pool.build().unwrap();
    let call = pool.run(
        || {
            while !procession::task::is_cancelled() {
                std::thread::sleep(Duration::from_millis(1));
            }
        },
        (),
    );
    let error = within(call.timeout(Duration::from_millis(20)))
        .await
        .unwrap_err();
    assert!(error.is_timed_out(), "{error}");
}

#[procession::test]
async fn timeout_of_zero_is_a_timeout() {
    let pool = Pool::builder()
        .workers(1)
        .task_timeout(Duration::ZERO)
        .build()
        .unwrap();
    let sleeps = || std::thread::sleep(Duration::from_secs(60));
    let error = within(pool.run(sleeps, ())).await.unwrap_err();
    assert!(error.is_timed_out(), "{error}");
    let pool = Pool::with_workers(1).unwrap();
    let map = pool.map(|_: u8| std::thread::sleep(Duration::from_secs(60)), 0..2);
    let error = within(map.timeout(Duration::ZERO)).await.unwrap_err();
    assert!(error.is_timed_out(), "{error}");
    within(pool.shutdown_timeout(Duration::ZERO)).await;
}

#[procession::test]
async fn largest_and_smallest_counts_are_taken() {
    works(|builder| builder.retries(u32::MAX).memory_limit(u64::MAX)).await;
    works(|builder| builder.nice(i32::MAX)).await;
    works(|builder| builder.nice(i32::MIN)).await;
    works(|builder| builder.workers(0)).await;
    let pool = Pool::with_workers(1).unwrap();
    for count in [0, usize::MAX] {
        let map = pool.map(double, 0..100).chunk_size(count);
        assert_eq!(within(map).await.unwrap().len(), 100);
        let map = pool.map(double, 0..100).concurrency(count);
        assert_eq!(within(map).await.unwrap().len(), 100);
        let map = pool
            .map(double, 0..100)
            .chunk_size(count)
            .concurrency(count);
        assert_eq!(within(map.retries(u32::MAX)).await.unwrap().len(), 100);
    }
}

#[procession::test]
async fn more_workers_than_a_machine_has_room_for_are_an_error() {
    let error = Pool::with_workers(usize::MAX).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("workers"), "{error}");
}

/// Without memory a worker cannot start, or cannot run: an error, and not a wait.
#[procession::test]
async fn memory_limit_of_zero_is_an_answer() {
    let pool = Pool::builder().workers(1).memory_limit(0).build().unwrap();
    let _ = within(pool.run(|| vec![1_u8; 1 << 20].len(), ())).await;
}

#[procession::test]
async fn long_names_are_shortened_and_zero_bytes_are_shown() {
    for name in [
        "x".repeat(100_000),
        "é".repeat(50_000),
        "a\0b".to_owned(),
        String::new(),
    ] {
        works(|builder| builder.name(name)).await;
    }
}
