//! What the death of a worker costs: the one task it was running, and nothing else.

#![allow(unconditional_recursion, reason = "a stack overflow is what is tested")]
#![allow(
    clippy::zombie_processes,
    reason = "what is left behind is what is looked for"
)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod deadline;
mod leftovers;
mod notes;

use std::collections::{BTreeMap, HashSet};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadline::{until, within};
use futures::StreamExt as _;
use futures::future::join_all;
use leftovers::{Found, alone, descendants};
use notes::{Board, Desk};
use procession::{ErrorKind, JoinError, Pool, WorkerState};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::{Deserialize, Deserializer, Serialize};
use serde_bytes::ByteBuf;

const SHORT: Duration = Duration::from_millis(50);

fn pid() -> u32 {
    std::process::id()
}

fn parked() {
    loop {
        std::thread::park();
    }
}

fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

fn busy(desk: Desk) {
    desk.write("busy", pid());
    parked();
}

fn held(desk: Desk) -> u32 {
    desk.meet("held", "go");
    pid()
}

fn note(desk: Desk, n: usize) -> usize {
    desk.write("ran", n);
    n
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

fn is_there(pid: &str) -> bool {
    test_kill_process(Pid::from_raw(pid.parse().unwrap()).unwrap()).is_ok()
}

fn pids(pool: &Pool) -> HashSet<u32> {
    pool.workers()
        .iter()
        .filter_map(procession::WorkerInfo::pid)
        .collect()
}

async fn all_idle(pool: &Pool, workers: usize) {
    until(|| {
        let infos = pool.workers();
        infos.len() == workers && infos.iter().all(|it| it.state() == WorkerState::Idle)
    })
    .await;
}

async fn ready(workers: usize) -> Pool {
    let pool = Pool::with_workers(workers).unwrap();
    all_idle(&pool, workers).await;
    pool
}

/// Makes the pool believe that tasks take no time, so that it gives many to a worker at once.
async fn teach(pool: &Pool) {
    for _ in 0..20 {
        let runs = (0..100_u64).map(|n| pool.run(|n: u64| n, n));
        within(join_all(runs)).await;
    }
}

/// Every number under `name` once, and no other.
fn once_each(desk: &Desk, name: &str, count: usize) {
    let mut counts = BTreeMap::<usize, usize>::new();
    for line in desk.read(name) {
        *counts.entry(line.parse().unwrap()).or_default() += 1;
    }
    let expected: BTreeMap<_, _> = (0..count).map(|n| (n, 1)).collect();
    assert_eq!(counts, expected);
}

// ---- killed from outside -----------------------------------------------------------------------

#[procession::test]
async fn after_the_death_of_an_idle_worker_the_next_task_runs() {
    alone(
        "after_the_death_of_an_idle_worker_the_next_task_runs",
        async {
            let pool = ready(1).await;
            for n in 0..20 {
                let worker = pool.workers()[0].pid().unwrap();
                kill(worker);
                if n % 2 == 0 {
                    until(|| !pids(&pool).contains(&worker)).await;
                }
                assert_ne!(within(pool.run(pid, ())).await.unwrap(), worker);
            }
            assert_eq!(pool.metrics().crashed(), 0);
            within(pool.shutdown()).await;
        },
    )
    .await;
}

#[procession::test]
async fn a_worker_killed_while_it_starts_is_replaced() {
    let pool = Pool::with_workers(1).unwrap();
    for _ in 0..3 {
        until(|| pool.workers().iter().any(|it| it.pid().is_some())).await;
        let worker = pool.workers()[0].pid().unwrap();
        kill(worker);
        until(|| !pids(&pool).contains(&worker)).await;
    }
    assert_ne!(within(pool.run(pid, ())).await.unwrap(), pid());
}

#[procession::test]
async fn of_many_busy_workers_the_one_that_is_killed_loses_its_task() {
    alone(
        "of_many_busy_workers_the_one_that_is_killed_loses_its_task",
        async {
            let pool = ready(4).await;
            let board = Board::new();
            let handles: Vec<_> = (0..4).map(|_| pool.spawn(held, board.desk())).collect();
            let workers = board.lines("held", 4).await;
            let victim: u32 = workers[2].parse().unwrap();
            kill(victim);
            until(|| handles.iter().any(procession::TaskHandle::is_finished)).await;
            assert_eq!(handles.iter().filter(|it| it.is_finished()).count(), 1);
            board.write("go", 1);
            let (failed, done): (Vec<_>, Vec<_>) = within(join_all(handles))
                .await
                .into_iter()
                .partition(Result::is_err);
            assert_eq!((failed.len(), done.len()), (1, 3));
            let error = failed[0].as_ref().unwrap_err();
            assert!(error.is_crashed() && error.started(), "{error:?}");
            assert_eq!((error.signal(), error.pid()), (Some(9), Some(victim)));
            assert!(error.to_string().contains("SIGKILL"), "{error}");
            assert!(done.iter().all(|it| *it.as_ref().unwrap() != victim));
            assert_eq!(pool.metrics().crashed(), 1);
            all_idle(&pool, 4).await;
            within(pool.shutdown()).await;
        },
    )
    .await;
}

#[procession::test]
async fn what_a_dead_worker_had_not_started_runs_elsewhere_once() {
    for workers in [1, 3] {
        let pool = ready(workers).await;
        teach(&pool).await;
        let board = Board::new();
        let held: Vec<_> = (0..workers)
            .map(|_| pool.spawn(held, board.desk()))
            .collect();
        let tasks: Vec<_> = (0..100)
            .map(|n| pool.spawn(note, (board.desk(), n)))
            .collect();
        let map = pool.map(note, (100..300).map(|n| (board.desk(), n)));
        let mut map = map.chunk_size(20);
        assert!(futures::poll!(map.next()).is_pending());
        board.lines("held", workers).await;
        for line in board.read("held") {
            kill(line.parse().unwrap());
        }
        for (n, outcome) in within(join_all(tasks)).await.into_iter().enumerate() {
            assert_eq!(outcome.unwrap(), n);
        }
        for n in 100..300 {
            assert_eq!(within(map.next()).await.unwrap().unwrap(), n);
        }
        for outcome in within(join_all(held)).await {
            assert!(outcome.unwrap_err().is_crashed());
        }
        once_each(&board, "ran", 300);
        assert_eq!(pool.metrics().crashed(), workers as u64);
    }
}

#[procession::test]
async fn what_is_done_is_never_done_again() {
    let pool = ready(1).await;
    let task = |desk: Desk, n: usize, padding: ByteBuf| {
        desk.write("ran", n);
        padding.len()
    };
    // This thread is the runtime's only one: the pool does not see that anything is done. Meanwhile the
    // requests of later tasks come to lie where those of the first were, if the pool gives the worker as
    // many as that; for that it must find it fast.
    let mut wrapped = false;
    for _ in 0..100 {
        teach(&pool).await;
        let board = Board::new();
        let mut handles = Vec::new();
        for n in 0..7 {
            let padding = ByteBuf::from(vec![0; 60_000]);
            handles.push(pool.spawn(task, (board.desk(), n, padding)));
            if pool.metrics().queued() > 0 {
                break;
            }
            board.wait_for("ran", n + 1);
        }
        wrapped = pool.metrics().queued() == 0;
        handles[0].abort();
        let count = handles.len();
        for outcome in within(join_all(handles)).await {
            assert_eq!(outcome.unwrap(), 60_000);
        }
        within(pool.run(pid, ())).await.unwrap();
        once_each(&board, "ran", count);
        if wrapped {
            break;
        }
    }
    assert!(wrapped, "no worker was ever given seven tasks");
}

// ---- what a task starts ------------------------------------------------------------------------

fn with_children(desk: Desk, name: String) {
    for _ in 0..2 {
        let mut sleep = Command::new("sleep");
        let child = sleep.arg("1000").stdin(Stdio::null()).spawn().unwrap();
        desk.write(&name, child.id());
    }
    parked();
}

#[procession::test]
async fn whatever_ends_a_task_ends_what_it_started_and_only_that() {
    alone(
        "whatever_ends_a_task_ends_what_it_started_and_only_that",
        async {
            let board = Board::new();
            let desk = |name: &str| (board.desk(), name.to_owned());
            let pool = ready(2).await;
            let other = pool.spawn(with_children, desk("other"));
            let others = board.lines("other", 2).await;

            let timed = pool.run(with_children, desk("timed")).timeout(2 * SHORT);
            assert!(within(timed).await.unwrap_err().is_timed_out());

            let mut dropped = Box::pin(pool.run(with_children, desk("dropped")));
            assert!(futures::poll!(&mut dropped).is_pending());
            board.lines("dropped", 2).await;
            drop(dropped);

            let aborted = pool.spawn(with_children, desk("aborted"));
            board.lines("aborted", 2).await;
            aborted.abort();
            assert!(within(aborted).await.unwrap_err().is_cancelled());

            let crashed = pool.spawn(with_children, desk("crashed"));
            board.lines("crashed", 2).await;
            kill(board.read_worker(&pool, crashed.id()));
            assert!(within(crashed).await.unwrap_err().is_crashed());

            for name in ["timed", "dropped", "aborted", "crashed"] {
                for child in board.read(name) {
                    until(|| !is_there(&child)).await;
                }
            }
            assert!(others.iter().all(|child| is_there(child)));
            other.abort();
            assert!(within(other).await.unwrap_err().is_cancelled());
            within(pool.shutdown()).await;
        },
    )
    .await;
}

trait ReadWorker {
    fn read_worker(&self, pool: &Pool, task: procession::TaskId) -> u32;
}

impl ReadWorker for Board {
    /// The worker that runs `task`.
    fn read_worker(&self, pool: &Pool, task: procession::TaskId) -> u32 {
        let infos = pool.workers();
        let runner = infos.iter().find(|it| it.current_task() == Some(task));
        runner.unwrap().pid().unwrap()
    }
}

#[procession::test]
async fn a_timeout_is_no_other_task_s_business() {
    let board = Board::new();
    let pool = ready(2).await;
    teach(&pool).await;
    let held = pool.spawn(held, board.desk());
    board.lines("held", 1).await;
    // Behind the one that spins stand tasks that have to be taken back from its worker.
    let spinning: Vec<_> = (0..3)
        .map(|_| pool.run(spin, ()).timeout(SHORT).spawn())
        .collect();
    let tasks: Vec<_> = (0..200)
        .map(|n| {
            let run = pool.run(note, (board.desk(), n));
            run.timeout(Duration::from_secs(60)).spawn()
        })
        .collect();
    for outcome in within(join_all(spinning)).await {
        assert!(outcome.unwrap_err().is_timed_out());
    }
    for (n, outcome) in within(join_all(tasks)).await.into_iter().enumerate() {
        assert_eq!(outcome.unwrap(), n);
    }
    assert!(!held.is_finished());
    board.write("go", 1);
    within(held).await.unwrap();
    once_each(&board, "ran", 200);
    let metrics = pool.metrics();
    assert_eq!(
        (metrics.timed_out(), metrics.crashed(), metrics.cancelled()),
        (3, 0, 0)
    );
}

#[procession::test]
async fn what_is_just_in_time_and_what_is_just_late_have_one_outcome() {
    // As many as possible end in the moment in which their time is over.
    let board = Board::new();
    let pool = ready(2).await;
    let limit = Duration::from_millis(4);
    let task = |desk: Desk, n: usize, nanos: u64| {
        let end = std::time::Instant::now() + Duration::from_nanos(nanos);
        while std::time::Instant::now() < end {
            std::hint::spin_loop();
        }
        desk.write("ran", n);
        n
    };
    let tasks: Vec<_> = (0..150)
        .map(|n| {
            let nanos = 3_000_000 + 20_000 * n as u64;
            let run = pool.run(task, (board.desk(), n, nanos));
            run.timeout(limit).spawn()
        })
        .collect();
    for (n, outcome) in within(join_all(tasks)).await.into_iter().enumerate() {
        match outcome {
            Ok(result) => assert_eq!(result, n),
            Err(error) => assert!(error.is_timed_out() && error.started(), "{error:?}"),
        }
    }
    let counts = pool.metrics();
    assert_eq!(counts.completed() + counts.timed_out(), 150, "{counts:?}");
    assert_eq!((counts.crashed(), counts.failed()), (0, counts.timed_out()));
}

// ---- ends of its own ---------------------------------------------------------------------------

fn overflow(n: u64) -> u64 {
    let frame = std::hint::black_box([n; 512]);
    overflow(n + 1) + frame[usize::try_from(n % 512).unwrap()]
}

#[procession::test]
async fn a_pool_outlives_every_way_to_die() {
    alone("a_pool_outlives_every_way_to_die", async {
        let pool = ready(1).await;
        for _ in 0..3 {
            let error = within(pool.run(|| std::process::exit(0), ()))
                .await
                .unwrap_err();
            assert_eq!(
                (error.kind(), error.exit_code()),
                (ErrorKind::Exited, Some(0))
            );
            let error = within(pool.run(|| std::process::exit(7), ()))
                .await
                .unwrap_err();
            assert_eq!(
                (error.kind(), error.exit_code()),
                (ErrorKind::Exited, Some(7))
            );
            let error = within(pool.run(|| std::process::abort(), ()))
                .await
                .unwrap_err();
            assert_eq!(
                (error.kind(), error.signal()),
                (ErrorKind::Crashed, Some(6))
            );
            for number in [Signal::SEGV, Signal::TERM, Signal::BUS] {
                let raw = number.as_raw();
                let suicide = |number: i32| {
                    let number = Signal::from_named_raw(number).unwrap();
                    signal(pid(), number);
                    parked();
                };
                let error = within(pool.run(suicide, raw)).await.unwrap_err();
                assert_eq!(
                    (error.kind(), error.signal()),
                    (ErrorKind::Crashed, Some(raw))
                );
            }
            let error = within(pool.run(overflow, 0)).await.unwrap_err();
            assert!(error.is_crashed() && error.started(), "{error:?}");
            assert_eq!(within(pool.run(|n: u64| n, 3)).await.unwrap(), 3);
        }
        let metrics = pool.metrics();
        assert_eq!((metrics.crashed(), metrics.completed()), (21, 3));
        within(pool.shutdown()).await;
    })
    .await;
}

#[procession::test]
async fn a_thread_that_a_task_left_behind_kills_who_is_there_then() {
    // The worker dies of it while it runs nothing, or something else; nobody hangs.
    let pool = ready(1).await;
    let mine = || {
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(3));
            std::process::abort();
        });
    };
    for _ in 0..10 {
        let first = within(pool.run(mine, ())).await;
        let outcomes = within(join_all((0..50).map(|n| pool.run(|n: u64| n, n)))).await;
        let failed = outcomes.into_iter().filter_map(Result::err);
        let failed: Vec<_> = failed.chain(first.err()).collect();
        assert!(
            failed.iter().all(|error| error.signal() == Some(6)),
            "{failed:?}"
        );
        // One that was left behind, and one that an earlier round did.
        assert!(failed.len() <= 2, "{failed:?}");
    }
}

// ---- stopped -----------------------------------------------------------------------------------

#[procession::test]
async fn a_stopped_worker_holds_nobody_up() {
    alone("a_stopped_worker_holds_nobody_up", async {
        let board = Board::new();
        let pool = ready(2).await;
        teach(&pool).await;
        let stopped = pool.workers()[0].pid().unwrap();
        signal(stopped, Signal::STOP);
        // What it has begun until the signal arrives is its own.
        let is_stopped = |it: &Found| it.pid == stopped && it.state == 'T';
        until(|| descendants().iter().any(is_stopped)).await;
        // Whatever it is given is taken back.
        let runs = (0..300).map(|n| pool.run(note, (board.desk(), n)));
        for outcome in within(join_all(runs)).await {
            outcome.unwrap();
        }
        let mapped = pool.map(note, (300..600).map(|n| (board.desk(), n)));
        within(mapped).await.unwrap();
        once_each(&board, "ran", 600);
        // Large values too, which need more than its ring.
        for _ in 0..4 {
            let large = ByteBuf::from(vec![1; 2 << 20]);
            let echo = within(pool.run(|bytes: ByteBuf| bytes, large.clone())).await;
            assert_eq!(echo.unwrap(), large);
        }
        // Once it goes on, it is used again.
        signal(stopped, Signal::CONT);
        let used = async {
            while pool.run(pid, ()).await.unwrap() != stopped {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        within(used).await;
        assert_eq!(pool.metrics().crashed(), 0);

        // One that is stopped while it runs something can be timed out, aborted and terminated.
        // Long enough for both to have begun before, under any load.
        let timed = pool.run(busy, board.desk()).timeout(40 * SHORT).spawn();
        let aborted = pool.spawn(busy, board.desk());
        for worker in board.lines("busy", 2).await {
            signal(worker.parse().unwrap(), Signal::STOP);
        }
        aborted.abort();
        assert!(within(aborted).await.unwrap_err().is_cancelled());
        assert!(within(timed).await.unwrap_err().is_timed_out());
        all_idle(&pool, 2).await;
        for worker in pids(&pool) {
            signal(worker, Signal::STOP);
        }
        until(|| descendants().iter().all(|it| it.state == 'T')).await;
        let waiting: Vec<_> = (0..300).map(|_| pool.spawn(pid, ())).collect();
        within(pool.terminate()).await;
        for outcome in within(join_all(waiting)).await {
            let error = outcome.unwrap_err();
            assert!(error.is_cancelled() && !error.started(), "{error:?}");
        }
        assert!(descendants().iter().all(Found::is_spare));
    })
    .await;
}

// ---- large results -----------------------------------------------------------------------------

static BEING_DECODED: AtomicUsize = AtomicUsize::new(0);
static MAY_GO_ON: AtomicUsize = AtomicUsize::new(0);

/// A number that can be decoded only when it may.
#[derive(Debug, Serialize)]
struct Gate(usize);

impl<'de> Deserialize<'de> for Gate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = usize::deserialize(deserializer)?;
        BEING_DECODED.fetch_max(number, Ordering::SeqCst);
        while MAY_GO_ON.load(Ordering::SeqCst) < number {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Self(number))
    }
}

/// Large enough to be decoded, in two halves, where its memory can be seen to change.
type Halves = (ByteBuf, Gate, ByteBuf);

fn halves(number: usize) -> Halves {
    let half = ByteBuf::from(vec![u8::try_from(number).unwrap(); 300_000]);
    (half.clone(), Gate(number), half)
}

fn is_whole(outcome: Result<Halves, JoinError>, number: usize) -> bool {
    let (first, gate, second) = outcome.unwrap();
    let all = |half: &ByteBuf| half.iter().all(|&byte| usize::from(byte) == number);
    gate.0 == number && first.len() == 300_000 && all(&first) && all(&second)
}

#[procession::test]
async fn a_dead_worker_s_memory_is_not_mistaken_for_its_successor_s() {
    let pool = ready(1).await;
    let first = pool.spawn(halves, 1);
    until(|| BEING_DECODED.load(Ordering::SeqCst) == 1).await;
    let worker = pool.workers()[0].pid().unwrap();
    kill(worker);
    until(|| !pids(&pool).contains(&worker)).await;
    // The next worker's first result comes in memory of the same number as the dead one's.
    let second = pool.spawn(halves, 2);
    until(|| BEING_DECODED.load(Ordering::SeqCst) == 2).await;
    MAY_GO_ON.store(1, Ordering::SeqCst);
    assert!(is_whole(within(first).await, 1));
    // Were it thought to be free again, the third would be written over the second.
    within(pool.run(pid, ())).await.unwrap();
    let third = pool.spawn(halves, 3);
    until(|| BEING_DECODED.load(Ordering::SeqCst) == 3).await;
    MAY_GO_ON.store(3, Ordering::SeqCst);
    assert!(is_whole(within(second).await, 2));
    assert!(is_whole(within(third).await, 3));
}
