//! A worker that still drops a result which has arrived: the task is over for its caller, so neither its time limit nor
//! a cancellation ends the worker.

use std::time::Duration;

use procession::{Lease, Pool};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;

use crate::deadline::{until, within};
use crate::notes::{Board, Notes};
use crate::pools::ready;
use crate::tasks::{parked, pid};

/// A value whose drop in the worker waits until the test has written something under `drop`. It is so large that it is
/// sent before it is dropped.
#[derive(Debug)]
struct DroppedLate(Option<Notes>);

impl Serialize for DroppedLate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&vec![0; 1 << 20])
    }
}

impl<'de> Deserialize<'de> for DroppedLate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ByteBuf::deserialize(deserializer)?;
        Ok(Self(None))
    }
}

impl Drop for DroppedLate {
    fn drop(&mut self) {
        if let Some(notes) = &self.0 {
            notes.meet("dropping", "drop");
        }
    }
}

fn returns(notes: Notes) -> DroppedLate {
    DroppedLate(Some(notes))
}

async fn leased() -> (Pool, Lease, Board) {
    let pool = ready(2).await;
    let lease = within(pool.worker()).await.unwrap();
    (pool, lease, Board::new())
}

async fn assert_stays(lease: &Lease, board: &Board) {
    board.lines("dropping", 1).await;
    board.write("drop", 1);
    assert_eq!(within(lease.run(pid, ())).await.unwrap(), lease.pid());
}

#[procession::test]
async fn time_limit_ends_with_the_outcome() {
    const LIMIT: Duration = Duration::from_secs(2);
    let (pool, lease, board) = leased().await;
    let call = lease.run(returns, board.notes()).timeout(LIMIT);
    within(call).await.unwrap();
    // This starts later and has the same limit.
    let late = within(pool.run(parked, ()).timeout(LIMIT)).await;
    assert!(late.unwrap_err().is_timed_out());
    assert_stays(&lease, &board).await;
}

#[procession::test]
async fn call_that_is_cancelled_after_its_outcome_does_not_end_the_worker() {
    let (_pool, lease, board) = leased().await;
    let call = lease.run(returns, board.notes()).spawn();
    until(|| call.is_finished()).await;
    call.abort();
    within(call).await.unwrap();
    assert_stays(&lease, &board).await;
}
