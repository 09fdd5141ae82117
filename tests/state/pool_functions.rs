//! `StatePool`: which functions can make a state and take one.

use std::convert::Infallible;

use futures::TryStreamExt as _;
use procession::{Emit, Pool, StatePool};

use crate::deadline::within;

struct Counter {
    count: u64,
}

fn counter(count: u64) -> Counter {
    Counter { count }
}

fn add(counter: &mut Counter, n: u64) -> u64 {
    counter.count += n;
    counter.count
}

async fn add_later(counter: &mut Counter, n: u64) -> u64 {
    tokio::task::yield_now().await;
    counter.count += n;
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    counter.count
}

fn add_all<T: Into<u64>>(counter: &mut Counter, a: u64, b: u64, c: T) -> u64 {
    counter.count += a + b + c.into();
    counter.count
}

fn pool() -> StatePool<Counter> {
    let pool = Pool::builder().workers(1).state(counter, 10);
    pool.build().unwrap()
}

#[procession::test]
async fn functions_may_be_sync_async_or_generic() {
    let pool = pool();
    assert_eq!(within(pool.run(add, 1)).await.unwrap(), 11);
    assert_eq!(within(pool.run(add_later, 1)).await.unwrap(), 12);
    let sum = pool.run(add_all::<u32>, (1, 1, 1_u32));
    assert_eq!(within(sum).await.unwrap(), 15);
}

#[procession::test]
async fn closures_may_take_the_state() {
    let pool = pool();
    let count = pool.run(|counter: &mut Counter| counter.count, ());
    assert_eq!(within(count).await.unwrap(), 10);
    let sum = pool.run(
        |counter: &mut Counter, a: u64, b: u64| {
            counter.count += a + b;
            counter.count
        },
        (1, 2),
    );
    assert_eq!(within(sum).await.unwrap(), 13);
    let slow = pool.run(
        async |counter: &mut Counter, n: u64| {
            tokio::task::yield_now().await;
            counter.count += n;
            counter.count
        },
        1,
    );
    assert_eq!(within(slow).await.unwrap(), 14);
    let unborrowed = pool.run(|_: &mut Counter, n: u64| async move { n + 1 }, 1);
    assert_eq!(within(unborrowed).await.unwrap(), 2);
    let error = within(pool.run(|_: &mut Counter| panic!("on purpose"), ())).await;
    assert!(error.unwrap_err().is_panic());
}

#[procession::test]
async fn spawn_and_maps_take_the_state() {
    let pool = pool();
    assert_eq!(within(pool.spawn(add, 1)).await.unwrap(), 11);
    let sums = within(pool.map(add, [1, 1, 1])).await.unwrap();
    assert_eq!(sums, [12, 13, 14]);
    let items = futures::stream::iter([(1, 2, 3_u32), (0, 0, 0)]);
    let sums = pool.map_stream(add_all::<u32>, items);
    assert_eq!(within(sums).await.unwrap(), [20, 20]);
    let count = within(pool.map(add_later, vec![1]));
    assert_eq!(count.await.unwrap(), [21]);
}

#[procession::test]
async fn try_spawn_and_reserve_take_the_state() {
    let pool = Pool::builder().workers(1).queue_limit(1).state(counter, 10);
    let pool = pool.build().unwrap();
    let permit = within(pool.reserve()).await.unwrap();
    assert_eq!(within(permit.run(add, 1)).await.unwrap(), 11);
    let permit = within(pool.reserve()).await.unwrap();
    assert_eq!(within(permit.spawn(add_later, 1)).await.unwrap(), 12);
    let spawned = pool.try_spawn(add_all::<u32>, (1, 2, 3)).unwrap();
    assert_eq!(within(spawned).await.unwrap(), 18);
}

fn count_up(counter: &mut Counter, emit: Emit<u64>, n: u64) {
    for _ in 0..n {
        counter.count += 1;
        emit.blocking_send(counter.count);
    }
}

#[procession::test]
async fn streams_take_the_state() {
    let pool = pool();
    let counts: Vec<u64> = within(pool.stream(count_up, 3).try_collect())
        .await
        .unwrap();
    assert_eq!(counts, [11, 12, 13]);
    let later = async |counter: &mut Counter, emit: Emit<u64>| {
        emit.send(counter.count).await;
        counter.count += 1;
        emit.send(counter.count).await;
    };
    let counts: Vec<u64> = within(pool.stream(later, ()).try_collect()).await.unwrap();
    assert_eq!(counts, [13, 14]);
}

#[procession::test]
async fn lease_holds_one_state() {
    let pool = Pool::builder()
        .workers(2)
        .state(counter, 0)
        .build()
        .unwrap();
    let lease = within(pool.worker()).await.unwrap();
    for count in 1..=10 {
        assert_eq!(within(lease.run(add, 1)).await.unwrap(), count);
        within(pool.run(add, 100)).await.unwrap();
    }
    let pid = lease.run(|_: &mut Counter| std::process::id(), ());
    assert_eq!(within(pid).await.unwrap(), lease.pid());
    let counts: Vec<u64> = within(lease.stream(count_up, 2).try_collect())
        .await
        .unwrap();
    assert_eq!(counts, [11, 12]);
    let panics = lease.run(|_: &mut Counter| panic!("on purpose"), ());
    assert!(within(panics).await.unwrap_err().is_panic());
    assert!(
        within(lease.run(add, 1)).await.is_err(),
        "the state is gone"
    );
}

#[procession::test]
async fn open_may_return_a_result_and_be_async() {
    let results = Pool::builder().workers(1).state(
        |n: u64, more: u64| -> Result<Counter, Infallible> { Ok(Counter { count: n + more }) },
        (1, 2),
    );
    let results = results.build().unwrap();
    assert_eq!(within(results.run(add, 1)).await.unwrap(), 4);
    let later = async |n: u64| {
        tokio::task::yield_now().await;
        Counter { count: n }
    };
    let later: StatePool<Counter> = Pool::builder().workers(1).state(later, 1).build().unwrap();
    assert_eq!(within(later.run(add, 1)).await.unwrap(), 2);
    let both = async || std::io::Result::Ok(Counter { count: 5 });
    let both: StatePool<Counter> = Pool::builder().workers(1).state(both, ()).build().unwrap();
    assert_eq!(within(both.run(add, 1)).await.unwrap(), 6);
}

#[procession::test]
async fn foreign_states_need_no_wrapper() {
    let map = Pool::builder().workers(1);
    let map: StatePool<std::collections::HashMap<String, u32>> = map
        .state(std::collections::HashMap::new, ())
        .build()
        .unwrap();
    let put =
        |map: &mut std::collections::HashMap<String, u32>, key: String, n: u32| map.insert(key, n);
    assert_eq!(
        within(map.run(put, ("a".to_owned(), 1))).await.unwrap(),
        None
    );
    assert_eq!(
        within(map.run(put, ("a".to_owned(), 2))).await.unwrap(),
        Some(1)
    );
}
