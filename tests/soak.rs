//! Workers, and the parent, killed at every moment: each task has exactly one outcome, the right one,
//! and nothing is left.
//!
//! `PROCESSION_SOAK_SECONDS` says how long (3 by default), `PROCESSION_SOAK_SEED` makes a run take the same
//! decisions again.

#![allow(
    clippy::print_stdout,
    reason = "a soak that fails must say from which seed"
)]
#![allow(
    clippy::zombie_processes,
    reason = "what is left behind is what is looked for"
)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod deadline;
mod leftovers;
mod notes;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use deadline::{until, until_limit, within, within_limit};
use futures::StreamExt as _;
use futures::future::join_all;
use leftovers::{alone, marked};
use notes::{Board, Desk};
use procession::{ErrorKind, JoinError, Pool, Process, WorkerInfo, WorkerState};
use rustix::process::{Pid, Signal, kill_process};
use serde_bytes::ByteBuf;

fn seconds() -> Duration {
    let given = std::env::var("PROCESSION_SOAK_SECONDS").ok();
    Duration::from_secs_f64(given.and_then(|it| it.parse().ok()).unwrap_or(3.0))
}

fn seed() -> u64 {
    let given = std::env::var("PROCESSION_SOAK_SEED").ok();
    let given = given.and_then(|it| it.parse().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = given.unwrap_or_else(|| now().as_nanos() as u64);
    println!("PROCESSION_SOAK_SEED={seed}");
    seed
}

/// Numbers that look random (xorshift, Marsaglia 2003).
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn micros(&mut self, limit: u64) -> Duration {
        Duration::from_micros(self.below(limit))
    }
}

fn kill(pid: u32) {
    if let Some(pid) = Pid::from_raw(i32::try_from(pid).unwrap()) {
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn spin(span: Duration) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

async fn idle(pool: &Pool) {
    until(|| {
        let infos = pool.workers();
        let metrics = pool.metrics();
        infos.iter().all(|it| it.state() == WorkerState::Idle)
            && metrics.queued() == 0
            && metrics.running() == 0
    })
    .await;
}

// ---- accounts ----------------------------------------------------------------------------------

/// Who has promised what, and what came of it.
#[derive(Debug, Default)]
struct Accounts {
    /// The next task's number.
    next: AtomicU64,
    /// Tasks that said they were done.
    done: Mutex<Vec<u64>>,
    counts: Mutex<BTreeMap<String, u64>>,
}

impl Accounts {
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn count(&self, what: impl ToString) {
        *self
            .counts
            .lock()
            .unwrap()
            .entry(what.to_string())
            .or_default() += 1;
    }

    /// Task `number` has this outcome, whose value must be its number. Its failure must be one of these
    /// or the death of its worker.
    fn settle(&self, number: u64, outcome: Result<u64, JoinError>, expected: &[ErrorKind]) {
        match outcome {
            Ok(value) => {
                assert_eq!(value, number);
                self.done.lock().unwrap().push(number);
                self.count("Done");
            }
            Err(error) => {
                let killed = error.is_crashed() && error.signal() == Some(9);
                let right = killed || expected.contains(&error.kind());
                assert!(right, "{error:?}");
                assert!(error.started() || error.is_cancelled(), "{error:?}");
                self.count(format!("{:?}", error.kind()));
            }
        }
    }

    /// What the tasks themselves say: none ran twice, and those that are done ran.
    fn compare(&self, desk: &Desk) {
        let mut runs = BTreeMap::<u64, u64>::new();
        for line in desk.read("ran") {
            *runs.entry(line.parse().unwrap()).or_default() += 1;
        }
        let twice: Vec<_> = runs.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "ran more than once: {twice:?}");
        let done = std::mem::take(&mut *self.done.lock().unwrap());
        let never: Vec<_> = done.iter().filter(|it| !runs.contains_key(it)).collect();
        assert!(never.is_empty(), "said to be done: {never:?}");
    }
}

// ---- load --------------------------------------------------------------------------------------

fn note(desk: Desk, number: u64) -> u64 {
    desk.write("ran", number);
    number
}

fn note_and_spin(desk: Desk, number: u64, micros: u64) -> u64 {
    desk.write("ran", number);
    spin(Duration::from_micros(micros));
    number
}

async fn note_and_sleep(desk: Desk, number: u64, micros: u64) -> u64 {
    desk.write("ran", number);
    tokio::time::sleep(Duration::from_micros(micros)).await;
    number
}

fn large(desk: Desk, number: u64, bytes: ByteBuf) -> (u64, ByteBuf) {
    desk.write("ran", number);
    (number, bytes)
}

fn fails(desk: Desk, number: u64) -> u64 {
    desk.write("ran", number);
    std::panic::panic_any(number);
}

/// Everything that can be done with a pool, until it is told to stop.
struct Load {
    pool: Pool,
    desk: Desk,
    accounts: Arc<Accounts>,
    stop: Arc<AtomicBool>,
}

impl Load {
    async fn go_on(self, seed: u64) {
        let mut dice = Dice::new(seed);
        while !self.stop.load(Ordering::Relaxed) {
            match dice.below(16) {
                0..=5 => self.runs().await,
                6 => self.timed(&mut dice).await,
                7 => self.dropped(&mut dice).await,
                8 => self.aborted(&mut dice).await,
                9 => self.large(&mut dice).await,
                10 => self.panics().await,
                11 => self.sleeps(&mut dice).await,
                12 => self.retried(&mut dice).await,
                13 => self.dropped_map(&mut dice).await,
                _ => self.maps(&mut dice).await,
            }
        }
    }

    async fn runs(&self) {
        let runs = (0..8).map(|_| async {
            let number = self.accounts.number();
            let outcome = self.pool.run(note, (self.desk.clone(), number)).await;
            self.accounts.settle(number, outcome, &[]);
        });
        join_all(runs).await;
    }

    async fn timed(&self, dice: &mut Dice) {
        let number = self.accounts.number();
        let task = (self.desk.clone(), number, dice.below(3_000));
        let run = self.pool.run(note_and_spin, task);
        let outcome = run.timeout(Duration::from_millis(2)).await;
        self.accounts
            .settle(number, outcome, &[ErrorKind::TimedOut]);
    }

    async fn dropped(&self, dice: &mut Dice) {
        let number = self.accounts.number();
        let task = (self.desk.clone(), number, dice.below(1_000));
        let run = self.pool.run(note_and_spin, task);
        if let Ok(outcome) = tokio::time::timeout(dice.micros(2_000), run).await {
            self.accounts.settle(number, outcome, &[]);
        }
    }

    async fn aborted(&self, dice: &mut Dice) {
        let number = self.accounts.number();
        let task = (self.desk.clone(), number, dice.below(1_000));
        let handle = self.pool.spawn(note_and_spin, task);
        tokio::time::sleep(dice.micros(2_000)).await;
        handle.abort();
        let outcome = handle.await;
        self.accounts
            .settle(number, outcome, &[ErrorKind::Cancelled]);
    }

    async fn large(&self, dice: &mut Dice) {
        let number = self.accounts.number();
        let bytes = ByteBuf::from(vec![number as u8; dice.below(600_000) as usize]);
        let task = (self.desk.clone(), number, bytes.clone());
        let outcome = self.pool.run(large, task).await.map(|(number, back)| {
            assert!(back == bytes);
            number
        });
        self.accounts.settle(number, outcome, &[]);
    }

    async fn panics(&self) {
        let number = self.accounts.number();
        let outcome = self.pool.run(fails, (self.desk.clone(), number)).await;
        assert!(outcome.is_err());
        self.accounts
            .settle(number, outcome, &[ErrorKind::Panicked]);
    }

    async fn sleeps(&self, dice: &mut Dice) {
        let number = self.accounts.number();
        let task = (self.desk.clone(), number, dice.below(3_000));
        let outcome = self.pool.run(note_and_sleep, task).await;
        self.accounts.settle(number, outcome, &[]);
    }

    async fn retried(&self, dice: &mut Dice) {
        // It may run more than once, and says nothing.
        let micros = dice.below(500);
        let task = |micros: u64| spin(Duration::from_micros(micros));
        let outcome = self.pool.run(task, micros).retries(2).await;
        if let Err(error) = outcome {
            assert!(error.is_crashed(), "{error:?}");
        }
        self.accounts.number();
    }

    async fn maps(&self, dice: &mut Dice) {
        let count = 1 + dice.below(400);
        let numbers: Vec<_> = (0..count).map(|_| self.accounts.number()).collect();
        let items = numbers.iter().map(|&number| (self.desk.clone(), number));
        let mut map = self.pool.map(note, items);
        if dice.below(2) == 0 {
            map = map.chunk_size(1 + dice.below(50) as usize);
        }
        for &number in &numbers {
            let outcome = map.next().await.unwrap();
            self.accounts.settle(number, outcome, &[]);
        }
        assert!(map.next().await.is_none());
    }

    async fn dropped_map(&self, dice: &mut Dice) {
        let accounts = &self.accounts;
        let items = std::iter::repeat_with(|| (self.desk.clone(), accounts.number()));
        let mut map = self.pool.map(note, items).unordered();
        for _ in 0..dice.below(100) {
            match map.next().await.unwrap() {
                Ok(number) => accounts.settle(number, Ok(number), &[]),
                Err(error) => assert!(error.is_crashed(), "{error:?}"),
            }
        }
    }
}

/// Kills a worker that has started, whatever it does, every few milliseconds.
async fn kill_at_random(pool: &Pool, stop: &AtomicBool, seed: u64) -> u64 {
    let mut dice = Dice::new(seed);
    let mut kills = 0;
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(dice.micros(20_000)).await;
        let infos = pool.workers();
        let mut started: Vec<_> = infos
            .iter()
            .filter(|it| matches!(it.state(), WorkerState::Idle | WorkerState::Busy))
            .collect();
        if !started.is_empty() {
            let victim = started.swap_remove(dice.below(started.len() as u64) as usize);
            kill(victim.pid().unwrap());
            kills += 1;
        }
    }
    kills
}

async fn soak() {
    let seed = seed();
    let board = Board::new();
    let pool = Pool::with_workers(3).unwrap();
    let accounts = Arc::new(Accounts::default());
    let stop = Arc::new(AtomicBool::new(false));
    let load = |number: u64| {
        let load = Load {
            pool: pool.clone(),
            desk: board.desk(),
            accounts: Arc::clone(&accounts),
            stop: Arc::clone(&stop),
        };
        tokio::spawn(load.go_on(seed + 1 + number))
    };
    let loads: Vec<_> = (0..6).map(load).collect();
    let timer = async {
        tokio::time::sleep(seconds()).await;
        stop.store(true, Ordering::Relaxed);
    };
    let killing = async {
        let (kills, ()) = tokio::join!(kill_at_random(&pool, &stop, seed), timer);
        kills
    };
    let kills = within_limit(seconds() + deadline::LIMIT, killing).await;
    for load in within(join_all(loads)).await {
        load.unwrap();
    }
    idle(&pool).await;
    accounts.compare(&board);
    let metrics = pool.metrics();
    println!(
        "{kills} kills, {:?}, {metrics:?}",
        accounts.counts.lock().unwrap()
    );
    let ends = [metrics.completed(), metrics.failed(), metrics.cancelled()];
    assert_eq!(
        ends.iter().sum::<u64>(),
        accounts.next.load(Ordering::Relaxed),
        "{metrics:?}"
    );
    assert!(metrics.crashed() <= kills, "{metrics:?}");
    within(pool.shutdown()).await;
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_are_killed_under_load() {
    alone("workers_are_killed_under_load", soak()).await;
}

#[procession::test]
async fn workers_are_killed_under_load_of_one_thread() {
    alone("workers_are_killed_under_load_of_one_thread", soak()).await;
}

// ---- step by step ------------------------------------------------------------------------------

/// Steps of a fault loop, more of them in a longer soak.
fn steps() -> u32 {
    (seconds().as_secs_f64() * 40.0) as u32
}

#[procession::test]
async fn a_worker_is_killed_at_every_step_of_its_work() {
    alone("a_worker_is_killed_at_every_step_of_its_work", async {
        let pool = Pool::with_workers(1).unwrap();
        for step in 0..steps() {
            let board = Board::new();
            let accounts = Accounts::default();
            idle(&pool).await;
            let worker = pool.workers()[0].pid().unwrap();
            let mut handles = Vec::new();
            for size in [0, 100, 70_000, 400_000] {
                let number = accounts.number();
                let bytes = ByteBuf::from(vec![number as u8; size]);
                let task = (board.desk(), number, bytes);
                handles.push((number, pool.spawn(large, task)));
            }
            let numbers: Vec<_> = (0..40).map(|_| accounts.number()).collect();
            let items = numbers.iter().map(|&number| (board.desk(), number));
            let mut map = pool.map(note, items).chunk_size(20);
            assert!(futures::poll!(map.next()).is_pending());
            // The others have their turns meanwhile: this is the runtime's only thread.
            let moment = Instant::now() + step * Duration::from_micros(20);
            while Instant::now() < moment {
                tokio::task::yield_now().await;
            }
            kill(worker);
            let mut failed = 0;
            for (number, handle) in handles {
                let outcome = within(handle).await.map(|(number, _)| number);
                failed += u32::from(outcome.is_err());
                accounts.settle(number, outcome, &[]);
            }
            for &number in &numbers {
                let outcome = within(map.next()).await.unwrap();
                failed += u32::from(outcome.is_err());
                accounts.settle(number, outcome, &[]);
            }
            assert!(failed <= 1, "one death cost {failed} tasks at step {step}");
            accounts.compare(&board);
        }
        within(pool.shutdown()).await;
    })
    .await;
}

#[procession::test]
async fn a_worker_is_killed_at_every_step_of_its_start() {
    alone("a_worker_is_killed_at_every_step_of_its_start", async {
        for step in 0..steps() {
            let pool = Pool::with_workers(1).unwrap();
            let handle = pool.spawn(|n: u32| n, step);
            while pool.workers()[0].pid().is_none() {
                tokio::task::yield_now().await;
            }
            let worker = pool.workers()[0].pid().unwrap();
            let moment = Instant::now() + step * Duration::from_micros(40);
            while Instant::now() < moment {
                tokio::task::yield_now().await;
            }
            kill(worker);
            match within(handle).await {
                Ok(value) => assert_eq!(value, step),
                Err(error) => assert_eq!((error.signal(), error.pid()), (Some(9), Some(worker))),
            }
            assert_eq!(within(pool.run(|n: u32| n, step)).await.unwrap(), step);
            within(pool.terminate()).await;
        }
    })
    .await;
}

// ---- the parent --------------------------------------------------------------------------------

const FAMILY: &str = "PROCESSION_SOAK_FAMILY";

fn starts_something(desk: Desk) {
    let mut sleep = Command::new("sleep");
    sleep.arg("1000").stdin(Stdio::null()).spawn().unwrap();
    desk.write("started", std::process::id());
    loop {
        spin(Duration::from_millis(1));
    }
}

/// A parent with a pool that does all kinds of things, for ever.
async fn parent(desk: Desk, seed: u64) {
    let pool = Pool::with_workers(3).unwrap();
    let started = pool.spawn(starts_something, desk.clone());
    desk.write("parent", std::process::id());
    let load = |number: u64| {
        Load {
            pool: pool.clone(),
            desk: desk.clone(),
            accounts: Arc::default(),
            stop: Arc::default(),
        }
        .go_on(seed + number)
    };
    let killing = kill_others(&pool, &started, seed);
    tokio::join!(load(1), load(2), killing);
}

/// Kills workers too, so that there are always some that start and some that end.
async fn kill_others(pool: &Pool, but: &procession::TaskHandle<()>, seed: u64) {
    let mut dice = Dice::new(seed);
    loop {
        tokio::time::sleep(dice.micros(5_000)).await;
        let infos = pool.workers();
        let is_at_it = |it: &&WorkerInfo| it.current_task() == Some(but.id());
        // Until it runs, nobody is killed: where starting takes long, several in a row would fail it.
        let runs = infos.iter().any(|it| is_at_it(&it));
        let mut others = infos.iter().filter(|it| !is_at_it(it));
        let victim = others.next_back().filter(|_| runs);
        if let Some(pid) = victim.and_then(WorkerInfo::pid) {
            kill(pid);
        }
    }
}

#[procession::test]
async fn nothing_outlives_a_parent_that_is_killed() {
    alone("nothing_outlives_a_parent_that_is_killed", async {
        let seed = seed();
        let mut dice = Dice::new(seed);
        for round in 0..steps() / 10 {
            let board = Board::new();
            let family = format!("{}-{round}", std::process::id());
            let handle = Process::builder()
                .env(FAMILY, &family)
                .stderr(Stdio::null())
                .spawn(parent, (board.desk(), seed + u64::from(round)));
            // Half of them early, while the pool starts.
            board.lines("parent", 1).await;
            if round % 2 == 0 {
                board.lines("started", 1).await;
            }
            tokio::time::sleep(dice.micros(20_000)).await;
            kill(board.read("parent")[0].parse().unwrap());
            assert!(within(handle).await.unwrap_err().is_crashed());
            let limit = Duration::from_secs(5);
            until_limit(limit, || marked(FAMILY, &family).is_empty()).await;
        }
    })
    .await;
}
