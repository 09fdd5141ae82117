//! Everything that decides when and where a task runs, at random and together, while workers are killed.

use std::cell::Cell;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use procession::{ErrorKind, JoinError, Pool, Priority, WorkerInfo, WorkerState};
use serde_bytes::ByteBuf;

use crate::deadline::{until, within, within_limit};
use crate::leftovers::alone;
use crate::notes::{Board, Notes};
use crate::pools::drained;

const WORKERS: usize = 3;
const LIMIT: usize = 4;

/// Pseudo-random numbers, the same in every run (xorshift, Marsaglia 2003).
struct Random(Cell<u64>);

impl Random {
    fn below(&self, limit: u64) -> u64 {
        let mut state = self.0.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.0.set(state);
        state % limit
    }
}

/// Ends in one of the ways in which a task ends.
fn work(n: u64, bytes: ByteBuf) -> u64 {
    match n % 23 {
        0 => panic!("task {n}"),
        1 => std::process::abort(),
        2 => std::process::exit(2),
        3 => std::thread::sleep(Duration::from_millis(60)),
        _ => std::thread::sleep(Duration::from_micros(bytes.len() as u64)),
    }
    n
}

/// Asserts that an outcome is among the expected ones.
fn check(n: u64, outcome: Result<u64, JoinError>) {
    match outcome {
        Ok(result) => assert_eq!(result, n),
        Err(error) => {
            let kinds = [
                ErrorKind::Panicked,
                ErrorKind::Crashed,
                ErrorKind::Exited,
                ErrorKind::TimedOut,
            ];
            assert!(kinds.contains(&error.kind()), "{error}");
            // Only a wait that was too long ends a task that has not started.
            assert!(error.started() || error.is_timed_out(), "{error}");
        }
    }
}

/// Calls of all kinds, one after the other.
async fn calls(pool: &Pool, count: u64, seed: u64) {
    let random = Random(Cell::new(seed));
    for _ in 0..count {
        let n = random.below(1 << 20);
        let bytes = ByteBuf::from(vec![7; random.below(700) as usize]);
        let priorities = [Priority::Low, Priority::Normal, Priority::High];
        let run = pool.run(work, (n, bytes.clone()));
        let run = run.priority(priorities[random.below(3) as usize]);
        let run = run.timeout(Duration::from_millis(30));
        let run = match random.below(2) {
            0 => run.key(random.below(5)),
            _ => run,
        };
        let mut run = match random.below(4) {
            0 => run.queue_timeout(Duration::from_millis(random.below(40))),
            _ => run,
        };
        match random.below(7) {
            0 => {
                // Dropped while it waits for room, for a worker, or runs.
                let moment = Duration::from_micros(random.below(20_000));
                if let Ok(outcome) = tokio::time::timeout(moment, &mut run).await {
                    check(n, outcome);
                }
            }
            1 => check(n, run.spawn().await),
            2 => match pool.try_spawn(work, (n, bytes)) {
                Ok(handle) => check(n, handle.await),
                Err(full) => assert_eq!(full.into_inner().0, n),
            },
            3 => {
                let permit = pool.reserve().await.unwrap();
                tokio::task::yield_now().await;
                match random.below(2) {
                    0 => drop(permit),
                    _ => check(n, permit.run(work, (n, bytes)).await),
                }
            }
            4 => {
                let items = (n..n + 6).map(|n| (n, ByteBuf::new()));
                let mut map = pool.map(work, items);
                let mut expected = n;
                let taken = random.below(8) as usize;
                while let Some(outcome) = map.next().await.filter(|_| expected < n + taken as u64) {
                    check(expected, outcome);
                    expected += 1;
                }
            }
            _ => check(n, run.await),
        }
    }
}

/// Kills workers from outside until `calls` are over.
async fn kill_at_random(pool: &Pool, calls: impl Future<Output = Vec<()>>) {
    let mut calls = std::pin::pin!(calls);
    let random = Random(Cell::new(4_711));
    loop {
        let pause = Duration::from_millis(5 + random.below(40));
        if tokio::time::timeout(pause, &mut calls).await.is_ok() {
            return;
        }
        let infos = pool.workers();
        let mut busy = infos.iter().filter(|it| it.state() == WorkerState::Busy);
        let busy = busy.nth(random.below(WORKERS as u64) as usize);
        if let Some(pid) = busy.and_then(WorkerInfo::pid) {
            let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
            // It may have ended already.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

#[procession::test]
async fn calls_of_all_kinds_resolve_and_give_their_places_back() {
    alone(
        "flow_mix::calls_of_all_kinds_resolve_and_give_their_places_back",
        async {
            let pool = Pool::builder()
                .workers(WORKERS)
                .queue_limit(LIMIT)
                .queue_bytes(2_000)
                .retries(1)
                .retry_if(|error| error.is_panic() || error.is_crashed())
                .build()
                .unwrap();
            let all = join_all((1..=6).map(|seed| calls(&pool, 60, seed)));
            within_limit(Duration::from_secs(200), kill_at_random(&pool, all)).await;
            drained(&pool).await;
            assert_eq!(pool.metrics().queued_bytes(), 0);
            // As many places are free as there are.
            let board = Board::new();
            let stay = |notes: Notes| notes.meet("here", "go");
            let mut handles = Vec::new();
            while let Ok(handle) = pool.try_spawn(stay, board.notes()) {
                handles.push(handle);
            }
            assert_eq!(handles.len(), WORKERS + LIMIT);
            board.write("go", 1);
            for outcome in within(join_all(handles)).await {
                outcome.unwrap();
            }
            until(|| pool.metrics().running() == 0).await;
            within(pool.shutdown()).await;
        },
    )
    .await;
}
