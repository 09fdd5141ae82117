//! One pool, from its start to its end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use procession::{Metrics, Pool, PoolEvent, PoolEvents, WorkerInfo, WorkerState};

use crate::Random;
use crate::call::{Call, Ends};
use crate::causes::Cause;
use crate::client::Client;
use crate::deadline::{LIMIT, until, within, within_limit};
use crate::ledger::Ledger;
use crate::leftovers::processes::{ProcessInfo, descendants};
use crate::notes::Board;
use crate::settings::Settings;

/// How many clients a pool has.
const CLIENTS: u64 = 6;

/// How many tasks a pool has at its end.
const LAST: u64 = 12;

/// Uses and injects faults into a pool for a while, and ends it.
pub(crate) async fn round(settings: Settings, span: Duration) {
    println!("{settings:?} for {span:?}");
    let board = Board::new();
    let pool = settings.build(&board);
    let events = pool.events();
    // Of these it may be too late to hear that they have started.
    let early = pool.workers().iter().filter_map(WorkerInfo::pid).count() as u64;
    let events = tokio::spawn(count_events(events));
    let client = Client {
        pool,
        notes: board.notes(),
        ledger: Arc::new(Ledger::new(settings)),
        stop: Arc::new(AtomicBool::new(false)),
    };
    use_for(&client, span).await;
    let random = &mut Random::new(client.ledger.settings.seed + 1);
    let last = end(client.clone(), random).await;
    let (ledger, pool) = (Arc::clone(&client.ledger), client.pool.clone());
    drop(client);

    match last {
        Some(orderly) => {
            until(|| ledger.is_counted(&pool.metrics(), &board)).await;
            let metrics = pool.metrics();
            ledger.check_runs(&board);
            ledger.check_metrics(&metrics, &board);
            within(events)
                .await
                .unwrap()
                .check(&metrics, early, orderly);
        }
        None => drop(pool),
    }
    nothing_is_left(&board).await;
}

/// Uses and injects faults into the pool, until all tasks are over.
async fn use_for(client: &Client, span: Duration) {
    let seed = client.ledger.settings.seed;
    let mut tasks: Vec<_> = (0..CLIENTS)
        .map(|number| tokio::spawn(client.clone().make_calls(seed + 10 + number)))
        .collect();
    tasks.push(tokio::spawn(client.clone().inject_faults(seed + 9)));
    tokio::time::sleep(span).await;
    client.stop.store(true, Ordering::Relaxed);
    match tokio::time::timeout(2 * LIMIT, join_all(tasks)).await {
        Ok(outcomes) => outcomes.into_iter().for_each(Result::unwrap),
        Err(_) => hangs(&client.pool),
    }
    if tokio::time::timeout(LIMIT, out_of_work(&client.pool))
        .await
        .is_err()
    {
        hangs(&client.pool);
    }
    client.ledger.check_runs(&client.notes);
    client
        .ledger
        .check_metrics(&client.pool.metrics(), &client.notes);
}

/// Workers may be replaced all the time, so no moment needs to come in which all are ready.
async fn out_of_work(pool: &Pool) {
    until(|| {
        let (workers, metrics) = (pool.workers(), pool.metrics());
        let is_busy = |it: &WorkerInfo| it.state() == WorkerState::Busy;
        !workers.iter().any(is_busy) && metrics.queued() == 0 && metrics.running() == 0
    })
    .await;
}

fn hangs(pool: &Pool) {
    let (metrics, workers) = (pool.metrics(), pool.workers());
    panic!("the pool hangs: {metrics:?}\n{workers:#?}");
}

/// Ends the pool in one of the ways in which pools end, while it has tasks. Returns what its exit functions returned.
async fn end(client: Client, random: &mut Random) -> Option<Vec<u32>> {
    let settings = client.ledger.settings.clone();
    let how = random.below(5);
    let count = [LAST, 0][random.below(2) as usize];
    let calls = (0..count).map(|_| client.call(random, Ends::ByItself));
    let calls: Vec<Call> = match how {
        0 | 1 => calls.collect(),
        _ => calls.map(|it| it.or(Cause::Cancelled)).collect(),
    };
    let runs = calls
        .iter()
        .map(|it| it.run(&client.pool, &client.notes).spawn());
    let handles: Vec<_> = runs.collect();
    tokio::time::sleep(random.micros(3_000)).await;
    let pool = &client.pool;
    let ending = match how {
        0 | 1 => pool.shutdown(),
        2 => pool.shutdown_timeout(random.micros(10_000)),
        3 => pool.terminate(),
        _ => {
            drop(handles);
            return None;
        }
    };
    let late = pool.run(|n: u32| n, 1).await.unwrap_err();
    assert!(late.is_closed() && !late.started(), "{late:?}");
    let outcomes = within_limit(2 * LIMIT, join_all(handles)).await;
    for (call, outcome) in calls.iter().zip(outcomes) {
        client.ended(call, outcome);
    }
    let report = within(ending).await;
    let results = report.results::<u32>();
    assert!(results.is_empty() || settings.exit_function);
    Some(results)
}

/// How often what has happened in a pool.
#[derive(Debug, Default)]
struct EventCounts {
    started: u64,
    exited: u64,
    ended: Vec<u32>,
    recycled: u64,
    timed_out: u64,
    opened: u64,
    closed: u64,
    missed: usize,
}

async fn count_events(mut events: PoolEvents) -> EventCounts {
    let mut counts = EventCounts::default();
    while let Some(event) = events.next().await {
        match event {
            PoolEvent::WorkerStarted => counts.started += 1,
            PoolEvent::WorkerExited { cause } => {
                counts.exited += 1;
                counts.ended.extend(cause.pid());
            }
            PoolEvent::WorkerRecycled { .. } => counts.recycled += 1,
            PoolEvent::TaskTimedOut => counts.timed_out += 1,
            PoolEvent::BreakerOpened { .. } => counts.opened += 1,
            PoolEvent::BreakerClosed => counts.closed += 1,
            PoolEvent::Missed(count) => counts.missed += count,
            other => panic!("{other:?}"),
        }
    }
    counts
}

impl EventCounts {
    /// Asserts that they are what the pool counts. `returned` are the workers whose exit functions returned.
    fn check(&self, metrics: &Metrics, early: u64, returned: Vec<u32>) {
        if self.missed > 0 {
            return; // the reader was too slow, on a machine that has other work
        }
        let started = self.started..=self.started + early;
        assert!(started.contains(&self.exited), "{early} early, {self:?}");
        assert_eq!(self.recycled, metrics.recycled(), "{self:?}");
        assert_eq!(self.timed_out, metrics.timed_out(), "{self:?}");
        assert!(self.closed <= self.opened, "{self:?}");
        assert!(
            returned.iter().all(|it| self.ended.contains(it)),
            "{self:?}, {returned:?}"
        );
    }
}

/// Waits until no process and no scratch directory of the pool is there.
async fn nothing_is_left(board: &Board) {
    until(|| descendants().iter().all(ProcessInfo::is_spare)).await;
    let scratch = board.read("scratch");
    until(|| scratch.iter().all(|it| !Path::new(it).exists())).await;
}
