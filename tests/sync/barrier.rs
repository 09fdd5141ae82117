//! Barriers with late, cancelled and killed parties.

use std::time::Duration;

use procession::sync::Barrier;

use crate::asleep::process_asleep;
use crate::deadline::within;
use crate::notes::{Board, Notes};

async fn meet(barrier: Barrier, notes: Notes) -> Result<bool, String> {
    notes.write("comes", 0);
    let passed = barrier.wait().await;
    passed.map(|it| it.is_leader()).map_err(|it| it.to_string())
}

fn meet_blocking(barrier: Barrier, times: u32) -> u32 {
    (0..times)
        .map(|_| u32::from(barrier.blocking_wait().unwrap().is_leader()))
        .sum()
}

#[procession::test]
async fn barrier_releases_all_with_one_leader_and_is_used_again() {
    let barrier = Barrier::new(3).unwrap();
    let times = 200;
    let children: Vec<_> = (0..2)
        .map(|_| procession::spawn(meet_blocking, (barrier.clone(), times)))
        .collect();
    let mut led = 0;
    for _ in 0..times {
        led += u32::from(within(barrier.wait()).await.unwrap().is_leader());
    }
    for child in children {
        led += within(child).await.unwrap();
    }
    assert_eq!(led, times);
}

#[procession::test]
async fn late_party_completes_a_barrier_and_a_cancelled_one_does_not() {
    let barrier = Barrier::new(2).unwrap();
    let limit = Duration::from_millis(20);
    assert!(tokio::time::timeout(limit, barrier.wait()).await.is_err());
    let mut first = barrier.wait();
    assert!(futures::poll!(&mut first).is_pending());
    assert!(tokio::time::timeout(limit, &mut first).await.is_err());
    // Its third party is the second that has arrived.
    assert!(within(barrier.wait()).await.unwrap().is_leader());
    assert!(!within(first).await.unwrap().is_leader());
}

#[procession::test]
async fn killed_party_breaks_a_barrier_until_it_is_reset() {
    let (barrier, board) = (Barrier::new(3).unwrap(), Board::new());
    let mut own = barrier.wait();
    assert!(futures::poll!(&mut own).is_pending());
    let killed = procession::spawn(meet, (barrier.clone(), board.notes()));
    board.lines("comes", 1).await;
    process_asleep(killed.pid().unwrap()).await;
    killed.abort();
    assert!(within(own).await.is_err());
    assert!(barrier.is_broken());
    assert!(within(barrier.wait()).await.is_err() && barrier.blocking_wait().is_err());
    barrier.reset();
    assert!(!barrier.is_broken());
    let others = [
        procession::spawn(meet, (barrier.clone(), board.notes())),
        procession::spawn(meet, (barrier.clone(), board.notes())),
    ];
    let mut leaders = usize::from(within(barrier.wait()).await.unwrap().is_leader());
    for other in others {
        leaders += usize::from(within(other).await.unwrap().unwrap());
    }
    assert_eq!(leaders, 1);
}

#[procession::test]
async fn party_that_has_died_meets_no_other() {
    let (barrier, board) = (Barrier::new(2).unwrap(), Board::new());
    let killed = procession::spawn(meet, (barrier.clone(), board.notes()));
    board.lines("comes", 1).await;
    process_asleep(killed.pid().unwrap()).await;
    killed.abort();
    assert!(within(killed).await.is_err());
    assert!(within(barrier.wait()).await.is_err());
}

#[procession::test]
async fn aborted_and_reset_barriers_refuse_those_that_wait() {
    let barrier = Barrier::new(2).unwrap();
    for end in [Barrier::abort, Barrier::reset] {
        let mut waiting = barrier.wait();
        assert!(futures::poll!(&mut waiting).is_pending());
        end(&barrier);
        assert!(within(waiting).await.is_err());
        assert_eq!(
            barrier.is_broken(),
            within(barrier_is_broken(&barrier)).await
        );
        barrier.reset();
    }
    let mut waiting = barrier.wait();
    assert!(futures::poll!(&mut waiting).is_pending());
    assert!(within(barrier.wait()).await.is_ok());
    assert!(within(waiting).await.is_ok());
}

/// Whether a party that comes is refused at once.
async fn barrier_is_broken(barrier: &Barrier) -> bool {
    let limit = Duration::from_millis(5);
    let waited = tokio::time::timeout(limit, barrier.wait()).await;
    waited.is_ok_and(|it| it.is_err())
}

#[procession::test]
async fn barrier_for_one_never_waits_and_one_for_too_many_is_refused() {
    for parties in [0, 1] {
        let barrier = Barrier::new(parties).unwrap();
        assert!(within(barrier.wait()).await.unwrap().is_leader());
    }
    assert!(Barrier::new(5000).is_err());
}
