//! `progress_timeout`: how long a call may run without a sign of life.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use procession::{Emit, task};

use crate::deadline::within;
use crate::pools::ready;
use crate::tasks::spin;
use crate::{LONG, SHORT};

/// Gives signs of life for `lively`, and then runs without one.
fn lively_for(lively: Duration) {
    let began = Instant::now();
    while began.elapsed() < lively {
        task::alive();
        std::thread::sleep(Duration::from_millis(1));
    }
    spin();
}

#[procession::test]
async fn progress_timeout_counts_from_the_start_without_a_sign() {
    let pool = ready(1).await;
    let error = within(pool.run(spin, ()).progress_timeout(SHORT)).await;
    assert!(error.unwrap_err().is_timed_out());
    // Signs of an earlier task, also of its last moment, are not this task's.
    within(pool.run(task::alive, ())).await.unwrap();
    let error = within(pool.run(spin, ()).progress_timeout(SHORT)).await;
    assert!(error.unwrap_err().is_timed_out());
}

#[procession::test]
async fn sign_of_life_puts_the_end_off() {
    let pool = ready(1).await;
    let (limit, lively) = (Duration::from_millis(200), Duration::from_millis(700));
    let began = Instant::now();
    let error = within(pool.run(lively_for, lively).progress_timeout(limit))
        .await
        .unwrap_err();
    assert!(
        error.is_timed_out() && began.elapsed() >= lively + limit - SHORT,
        "{error}"
    );
    // The timeout holds as well.
    let run = pool
        .run(lively_for, LONG)
        .progress_timeout(limit)
        .timeout(limit);
    assert!(within(run).await.unwrap_err().is_timed_out());
}

#[procession::test]
async fn call_that_waits_for_a_worker_has_no_progress_to_make() {
    let pool = ready(1).await;
    let first = pool.spawn(|| std::thread::sleep(Duration::from_millis(300)), ());
    let second = pool.run(|| 2, ()).progress_timeout(SHORT);
    assert_eq!(within(second).await.unwrap(), 2);
    within(first).await.unwrap();
}

#[procession::test]
async fn item_is_a_sign_of_life_and_so_is_the_wait_for_a_slow_reader() {
    let pool = ready(1).await;
    let limit = Duration::from_millis(300);
    let slow = |emit: Emit<u32>| async move {
        for n in 0..10 {
            tokio::time::sleep(Duration::from_millis(60)).await;
            emit.send(n).await;
        }
    };
    let items: Vec<_> = within(pool.stream(slow, ()).progress_timeout(limit).try_collect())
        .await
        .unwrap();
    assert_eq!(items.len(), 10);
    let fast = |emit: Emit<u32>| (0..4).for_each(|n| emit.blocking_send(n));
    let mut unread = pool.stream(fast, ()).buffer(1).progress_timeout(SHORT);
    within(unread.next()).await.unwrap().unwrap();
    // Longer than the limit, and the driver looks meanwhile.
    tokio::time::sleep(10 * SHORT).await;
    assert_eq!(
        within(unread.try_collect::<Vec<_>>()).await.unwrap(),
        [1, 2, 3]
    );
    let stuck = |emit: Emit<u32>| {
        emit.blocking_send(1);
        spin();
    };
    let mut stuck = pool.stream(stuck, ()).progress_timeout(SHORT);
    within(stuck.next()).await.unwrap().unwrap();
    assert!(
        within(stuck.next())
            .await
            .unwrap()
            .unwrap_err()
            .is_timed_out()
    );
}
