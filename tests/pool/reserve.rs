//! Places in the queue that are reserved before there is a call.

use futures::future::join_all;
use procession::Pool;

use crate::add;
use crate::deadline::within;
use crate::notes::Board;
use crate::pools::all_idle;
use crate::tasks::record_run;

async fn small() -> Pool {
    let pool = Pool::builder().workers(1).queue_limit(1).build().unwrap();
    all_idle(&pool, 1).await;
    pool
}

#[procession::test]
async fn permit_is_a_place_in_the_queue() {
    let pool = small().await;
    let first = within(pool.reserve()).await.unwrap();
    let second = within(pool.reserve()).await.unwrap();
    assert!(pool.try_spawn(add, (1, 1)).is_err());
    let mut waiting = pool.run(add, (3, 3));
    assert!(futures::poll!(&mut waiting).is_pending());
    assert_eq!(within(first.run(add, (1, 1))).await.unwrap(), 2);
    assert_eq!(within(second.spawn(add, (2, 2))).await.unwrap(), 4);
    assert_eq!(within(waiting).await.unwrap(), 6);
}

#[procession::test]
async fn dropped_permit_gives_its_place_back() {
    let pool = small().await;
    for _ in 0..10 {
        let permits: Vec<_> = [pool.reserve(), pool.reserve()].into();
        let permits: Vec<_> = within(join_all(permits)).await;
        let mut third = pool.reserve();
        let mut fourth = pool.reserve();
        assert!(futures::poll!(&mut third).is_pending());
        assert!(futures::poll!(&mut fourth).is_pending());
        drop(permits);
        let third = within(third).await.unwrap();
        // A call that has the place and is never polled gives it back too.
        drop(third.run(add, (1, 1)));
        drop(fourth);
    }
    within(pool.try_spawn(add, (1, 1)).unwrap()).await.unwrap();
}

#[procession::test]
async fn permit_outlives_the_closing_of_its_pool() {
    let board = Board::new();
    let pool = small().await;
    let permits = [pool.reserve(), pool.reserve()];
    let mut permits = within(join_all(permits)).await.into_iter();
    within(pool.shutdown()).await;
    let (first, second) = (permits.next().unwrap(), permits.next().unwrap());
    let run = first.unwrap().run(record_run, (board.notes(), 1));
    let error = within(run).await.unwrap_err();
    assert!(error.is_closed() && !error.started(), "{error}");
    let handle = second.unwrap().spawn(record_run, (board.notes(), 2));
    assert!(within(handle).await.unwrap_err().is_closed());
    assert!(within(pool.reserve()).await.unwrap_err().is_closed());
    assert!(!board.has("ran"));
}

#[procession::test]
async fn permits_of_a_pool_without_limits_are_given_at_once() {
    let pool = Pool::with_workers(1).unwrap();
    let permits = within(join_all((0..1_000).map(|_| pool.reserve()))).await;
    let runs = permits
        .into_iter()
        .map(|permit| permit.unwrap().run(add, (1, 1)));
    for outcome in within(join_all(runs)).await {
        assert_eq!(outcome.unwrap(), 2);
    }
}
