//! `progress_timeout`: how long a call may run without a sign of life.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use procession::{Emit, task};
use rustix::time::{ClockId, clock_gettime};

use crate::deadline::within;
use crate::notes::{Board, Notes};
use crate::pools::ready;
use crate::tasks::spin;
use crate::{LONG, SHORT};

/// Gives signs of life for `lively`, notes when it gave the last, and then runs without one.
fn lively_for(notes: Notes, lively: Duration) {
    let end = now() + lively;
    while now() < end {
        let at = now().as_nanos();
        task::alive();
        std::thread::sleep(Duration::from_millis(1));
        notes.write("alive", at);
    }
    spin();
}

/// The time since the machine was started, which all processes see.
fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
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
    let (limit, lively) = (Duration::from_millis(300), Duration::from_millis(900));
    let board = Board::new();
    let run = pool.run(lively_for, (board.notes(), lively));
    let error = within(run.progress_timeout(limit)).await.unwrap_err();
    let ended = now();
    assert!(error.is_timed_out(), "{error}");
    // A machine under load may not let the worker run for as long as the limit. That ends it early, but never sooner
    // after its last sign.
    let signs = board.read("alive");
    let last = signs.last().map_or(0, |it| it.parse().unwrap());
    let silent = ended - Duration::from_nanos(last);
    assert!(silent >= limit - SHORT, "{silent:?}");
    // The timeout holds as well.
    let run = pool
        .run(lively_for, (board.notes(), LONG))
        .progress_timeout(limit)
        .timeout(limit);
    assert!(within(run).await.unwrap_err().is_timed_out());
}

#[procession::test]
async fn call_that_waits_for_a_worker_has_no_progress_to_make() {
    let pool = ready(1).await;
    let first = pool.spawn(|| std::thread::sleep(Duration::from_millis(1200)), ());
    // More than the call takes under any load, and less than it waits.
    let second = pool
        .run(|| 2, ())
        .progress_timeout(Duration::from_millis(600));
    assert_eq!(within(second).await.unwrap(), 2);
    within(first).await.unwrap();
}

#[procession::test]
async fn item_is_a_sign_of_life_and_so_is_the_wait_for_a_slow_reader() {
    let pool = ready(1).await;
    // More than it takes from one item to the next under any load.
    let limit = Duration::from_millis(600);
    let slow = |emit: Emit<u32>| async move {
        for n in 0..16 {
            tokio::time::sleep(Duration::from_millis(60)).await;
            emit.send(n).await;
        }
    };
    let items: Vec<_> = within(pool.stream(slow, ()).progress_timeout(limit).try_collect())
        .await
        .unwrap();
    assert_eq!(items.len(), 16);
    let fast = |emit: Emit<u32>| (0..4).for_each(|n| emit.blocking_send(n));
    let mut unread = pool.stream(fast, ()).buffer(1).progress_timeout(limit);
    within(unread.next()).await.unwrap().unwrap();
    // Longer than the limit, and the driver looks meanwhile.
    tokio::time::sleep(2 * limit).await;
    assert_eq!(
        within(unread.try_collect::<Vec<_>>()).await.unwrap(),
        [1, 2, 3]
    );
    let stuck = |emit: Emit<u32>| {
        emit.blocking_send(1);
        spin();
    };
    let mut stuck = pool.stream(stuck, ()).progress_timeout(limit);
    within(stuck.next()).await.unwrap().unwrap();
    assert!(
        within(stuck.next())
            .await
            .unwrap()
            .unwrap_err()
            .is_timed_out()
    );
}
