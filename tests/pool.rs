//! A pool as its user sees it: calls, options, who runs them, counts, preparation, and its end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod deadline;
mod leftovers;
mod notes;

use std::collections::HashSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deadline::{until, within};
use futures::StreamExt as _;
use futures::future::join_all;
use leftovers::{alone, descendants};
use notes::{Board, Desk};
use procession::{ErrorKind, JoinError, Pool, Priority, WorkerState, current};
use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;

/// Longer than any test takes: what has this as its limit is not stopped by it.
const LONG: Duration = Duration::from_secs(600);

/// Short enough to be waited for.
const SHORT: Duration = Duration::from_millis(50);

fn add(a: u64, b: u64) -> u64 {
    a + b
}

fn pid() -> u32 {
    std::process::id()
}

fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

fn parked() {
    loop {
        std::thread::park();
    }
}

fn busy(desk: Desk) {
    desk.write("busy", pid());
    parked();
}

fn held(desk: Desk, name: String) -> u32 {
    desk.meet(&name, "go");
    pid()
}

fn kinds<R>(outcomes: &[Result<R, JoinError>]) -> Vec<Option<ErrorKind>> {
    let kind = |outcome: &Result<R, JoinError>| outcome.as_ref().err().map(JoinError::kind);
    outcomes.iter().map(kind).collect()
}

async fn ready(workers: usize) -> Pool {
    let pool = Pool::with_workers(workers).unwrap();
    all_idle(&pool, workers).await;
    pool
}

async fn all_idle(pool: &Pool, workers: usize) {
    until(|| {
        let infos = pool.workers();
        infos.len() == workers && infos.iter().all(|it| it.state() == WorkerState::Idle)
    })
    .await;
}

// ---- calls -------------------------------------------------------------------------------------

async fn calls_of_all_kinds() {
    let pool = Pool::with_workers(2).unwrap();
    assert_eq!(within(pool.run(add, (1, 2))).await.unwrap(), 3);
    assert_eq!(within(pool.spawn(add, (3, 4))).await.unwrap(), 7);
    let doubled = async |n: u64| {
        tokio::task::yield_now().await;
        2 * n
    };
    assert_eq!(within(pool.run(doubled, 4)).await.unwrap(), 8);
    let many = join_all((0..200).map(|n| pool.run(|n: u64| n + 1, n)));
    let results: Vec<_> = within(many).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(results, (1..=200).collect::<Vec<_>>());
    assert_ne!(within(pool.run(pid, ())).await.unwrap(), pid());
}

#[procession::test]
async fn calls_on_a_current_thread_runtime() {
    calls_of_all_kinds().await;
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_on_a_multi_thread_runtime() {
    calls_of_all_kinds().await;
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_is_used_from_many_tasks_and_threads_at_once() {
    let pool = Pool::with_workers(2).unwrap();
    let callers = (0..16_u64).map(|caller| {
        let pool = pool.clone();
        tokio::spawn(async move {
            for n in 0..50 {
                assert_eq!(pool.run(add, (caller, n)).await.unwrap(), caller + n);
            }
        })
    });
    for caller in within(join_all(callers)).await {
        caller.unwrap();
    }
    assert_eq!(pool.metrics().completed(), 800);
}

#[procession::test]
async fn a_run_does_nothing_until_it_is_polled() {
    let board = Board::new();
    let pool = ready(1).await;
    let run = pool.run(|desk: Desk| desk.write("ran", 1), board.desk());
    within(pool.run(|| (), ())).await.unwrap();
    assert!(!board.has("ran"));
    drop(run);
    within(pool.run(|| (), ())).await.unwrap();
    assert!(!board.has("ran"));
    assert_eq!(pool.metrics().cancelled(), 0);
}

#[procession::test]
async fn a_handle_says_when_it_is_finished_and_detaches_when_dropped() {
    let board = Board::new();
    let pool = ready(1).await;
    let handle = pool.spawn(held, (board.desk(), "here".to_owned()));
    board.lines("here", 1).await;
    assert!(!handle.is_finished());
    board.write("go", 1);
    until(|| handle.is_finished()).await;
    within(handle).await.unwrap();
    drop(pool.spawn(|desk: Desk| desk.write("detached", 1), board.desk()));
    board.lines("detached", 1).await;
}

#[procession::test]
async fn a_handle_in_select_loses_nothing() {
    let board = Board::new();
    let pool = ready(1).await;
    let mut handle = pool.spawn(held, (board.desk(), "here".to_owned()));
    let mut run = pool.run(add, (1, 1));
    for _ in 0..3 {
        tokio::select! {
            biased;
            _ = &mut handle => panic!("nobody let it go"),
            _ = &mut run => panic!("there is no worker for it"),
            () = tokio::task::yield_now() => {}
        }
    }
    board.write("go", 1);
    within(&mut handle).await.unwrap();
    assert_eq!(within(&mut run).await.unwrap(), 2);
}

// ---- options -----------------------------------------------------------------------------------

#[procession::test]
async fn what_waits_goes_by_priority_and_then_in_order() {
    let board = Board::new();
    let pool = ready(1).await;
    let first = pool.spawn(held, (board.desk(), "here".to_owned()));
    board.lines("here", 1).await;
    // The worker may have been given the next one already; what waits behind goes by priority.
    let note = |desk: Desk, name: String| desk.write("order", name);
    let next = pool.spawn(note, (board.desk(), "next".to_owned()));
    let priorities = [Priority::Low, Priority::Normal, Priority::High];
    let handles: Vec<_> = (0..2)
        .flat_map(|round| priorities.map(|priority| (priority, round)))
        .map(|(priority, round)| {
            let name = format!("{priority:?} {round}");
            let run = pool.run(note, (board.desk(), name));
            run.priority(priority).spawn()
        })
        .collect();
    board.write("go", 1);
    within(join_all(handles)).await;
    within(next).await.unwrap();
    within(first).await.unwrap();
    let mut order = board.read("order");
    order.retain(|name| name != "next");
    let expected = ["High 0", "High 1", "Normal 0", "Normal 1", "Low 0", "Low 1"];
    assert_eq!(order, expected);
}

#[procession::test]
async fn a_timeout_stops_what_spins_in_a_pool_that_was_idle() {
    let pool = ready(1).await;
    let before = pool.workers()[0].pid().unwrap();
    let error = within(pool.run(spin, ()).timeout(SHORT)).await.unwrap_err();
    assert!(error.is_timed_out() && error.started(), "{error:?}");
    assert_eq!(error.pid(), Some(before));
    assert_ne!(within(pool.run(pid, ())).await.unwrap(), before);
    // And again, in a pool whose alarm has gone off before.
    tokio::time::sleep(2 * SHORT).await;
    let error = within(pool.run(spin, ()).timeout(SHORT)).await.unwrap_err();
    assert!(error.is_timed_out());
    assert_eq!(pool.metrics().timed_out(), 2);
}

#[procession::test]
async fn the_pool_s_timeout_is_for_every_task_that_has_none_of_its_own() {
    let board = Board::new();
    let pool = Pool::builder()
        .workers(1)
        .task_timeout(SHORT)
        .build()
        .unwrap();
    let error = within(pool.run(spin, ())).await.unwrap_err();
    assert!(error.is_timed_out(), "{error:?}");
    let handle = pool
        .run(held, (board.desk(), "here".to_owned()))
        .timeout(LONG);
    let handle = handle.spawn();
    board.lines("here", 1).await;
    tokio::time::sleep(2 * SHORT).await;
    board.write("go", 1);
    within(handle).await.unwrap();
}

#[procession::test]
async fn a_timeout_counts_from_the_start_and_not_while_a_task_waits() {
    let board = Board::new();
    let pool = ready(1).await;
    let first = pool.spawn(held, (board.desk(), "here".to_owned()));
    board.lines("here", 1).await;
    let waiting: Vec<_> = (0..4)
        .map(|n| pool.run(add, (n, 1)).timeout(SHORT).spawn())
        .collect();
    tokio::time::sleep(3 * SHORT).await;
    board.write("go", 1);
    within(first).await.unwrap();
    for outcome in within(join_all(waiting)).await {
        outcome.unwrap();
    }
}

#[procession::test]
async fn a_timeout_of_nothing_is_a_timeout() {
    let pool = ready(1).await;
    let outcome = within(pool.run(spin, ()).timeout(Duration::ZERO)).await;
    assert!(outcome.unwrap_err().is_timed_out());
    within(pool.run(add, (1, 1)).timeout(Duration::MAX))
        .await
        .unwrap();
}

#[procession::test]
async fn a_crash_is_retried_as_often_as_was_said() {
    let board = Board::new();
    let pool = Pool::builder().workers(2).retries(1).build().unwrap();
    let crash_until = |desk: Desk, name: String, times: usize| -> usize {
        desk.write(&name, pid());
        let tries = desk.read(&name).len();
        if tries <= times {
            std::process::abort();
        }
        tries
    };
    let desk = || board.desk();
    let run = pool.run(crash_until, (desk(), "once".to_owned(), 1));
    assert_eq!(within(run).await.unwrap(), 2);
    let run = pool.run(crash_until, (desk(), "twice".to_owned(), 2));
    assert!(within(run).await.unwrap_err().is_crashed());
    assert_eq!(board.read("twice").len(), 2);
    let run = pool.run(crash_until, (desk(), "thrice".to_owned(), 3));
    assert_eq!(within(run.retries(3)).await.unwrap(), 4);
    // What panicked or was too slow is not run again.
    assert!(
        within(pool.run(spin, ()).timeout(SHORT))
            .await
            .unwrap_err()
            .is_timed_out()
    );
    assert_eq!(pool.metrics().retried(), 5);
}

// ---- who runs it -------------------------------------------------------------------------------

#[derive(Debug, Serialize, Deserialize)]
struct Seen {
    is_child: bool,
    name: Option<String>,
    pool: Option<String>,
    number: Option<usize>,
    parent: Option<u32>,
    task: Option<String>,
}

fn look() -> Seen {
    let me = current();
    Seen {
        is_child: me.is_child(),
        name: me.name().map(str::to_owned),
        pool: me.pool_name().map(str::to_owned),
        number: me.worker_number(),
        parent: me.parent_pid(),
        task: me.task_id().map(|id| id.to_string()),
    }
}

#[procession::test]
async fn a_task_knows_where_it_runs() {
    let pool = Pool::builder().workers(3).name("thumbs").build().unwrap();
    all_idle(&pool, 3).await;
    let mut numbers = HashSet::new();
    for _ in 0..50 {
        let handle = pool.spawn(look, ());
        let id = handle.id();
        let seen = within(handle).await.unwrap();
        let number = seen.number.unwrap();
        assert!(seen.is_child && number < 3, "{seen:?}");
        assert_eq!(seen.name, Some(format!("thumbs/{number}")));
        assert_eq!(seen.pool.as_deref(), Some("thumbs"));
        assert_eq!(seen.parent, Some(pid()));
        assert_eq!(seen.task, Some(id.to_string()));
        numbers.insert(number);
    }
    let here = look();
    assert!(!here.is_child && here.name.is_none() && here.task.is_none());
    let names: HashSet<_> = procession::active_children()
        .iter()
        .filter_map(|child| child.name().map(str::to_owned))
        .filter(|name| name.starts_with("thumbs/"))
        .collect();
    assert_eq!(names, (0..3).map(|n| format!("thumbs/{n}")).collect());
}

/// The nice value of every thread of this process (`proc_pid_stat(5)`, field 19).
fn nices() -> Vec<i32> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let nice = |thread: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap();
        let (_, tail) = stat.rsplit_once(')').unwrap();
        tail.split_whitespace().nth(16).unwrap().parse().unwrap()
    };
    threads.map(|thread| nice(thread.unwrap())).collect()
}

#[procession::test]
async fn workers_step_back_by_five_or_as_was_said() {
    let own = nices()[0];
    let all = |nice: i32| vec![(own + nice).min(19); 2];
    let pool = Pool::with_workers(1).unwrap();
    assert_eq!(within(pool.run(nices, ())).await.unwrap(), all(5));
    for nice in [0, 11] {
        let pool = Pool::builder().workers(1).nice(nice).build().unwrap();
        assert_eq!(within(pool.run(nices, ())).await.unwrap(), all(nice));
    }
}

#[procession::test]
async fn the_default_size_is_what_this_process_may_use() {
    let sized = async |processors: Option<usize>| -> usize {
        if let Some(processor) = processors {
            let mut set = rustix::thread::CpuSet::new();
            set.set(processor);
            rustix::thread::sched_setaffinity(None, &set).unwrap();
        }
        let pool = Pool::new().unwrap();
        pool.workers().len()
    };
    let available = std::thread::available_parallelism().unwrap().get();
    let usable = rustix::thread::sched_getaffinity(None).unwrap();
    let one = (0..1024).find(|&processor| usable.is_set(processor));
    let all = within(procession::spawn(sized, None)).await.unwrap();
    let few = within(procession::spawn(sized, one)).await.unwrap();
    assert_eq!((all, few), (available, 1));
}

#[procession::test]
async fn a_pool_of_none_has_one_worker_and_the_last_word_counts() {
    let pool = Pool::builder().workers(7).workers(0).build().unwrap();
    all_idle(&pool, 1).await;
    assert_eq!(within(pool.run(add, (1, 1))).await.unwrap(), 2);
}

#[procession::test]
async fn workers_say_what_they_are_doing() {
    let board = Board::new();
    let pool = Pool::with_workers(2).unwrap();
    let starting = pool.workers();
    assert_eq!(starting.len(), 2);
    assert!(
        starting
            .iter()
            .all(|it| it.state() == WorkerState::Starting)
    );
    all_idle(&pool, 2).await;
    let handle = pool.spawn(held, (board.desk(), "here".to_owned()));
    let runner: u32 = board.lines("here", 1).await[0].parse().unwrap();
    let infos = pool.workers();
    let (busy, idle): (Vec<_>, Vec<_>) = infos.iter().partition(|it| it.pid() == Some(runner));
    assert_eq!((busy.len(), idle.len()), (1, 1));
    assert_eq!(busy[0].state(), WorkerState::Busy);
    assert_eq!(busy[0].current_task(), Some(handle.id()));
    assert_eq!(idle[0].state(), WorkerState::Idle);
    assert_eq!(idle[0].current_task(), None);
    assert_eq!((busy[0].tasks_done(), idle[0].tasks_done()), (0, 0));
    assert!(
        infos
            .iter()
            .all(|it| it.memory() > 0 && !it.age().is_zero())
    );
    board.write("go", 1);
    within(handle).await.unwrap();
    let done: u64 = pool
        .workers()
        .iter()
        .map(procession::WorkerInfo::tasks_done)
        .sum();
    assert_eq!(done, 1);
}

// ---- counts ------------------------------------------------------------------------------------

#[procession::test]
async fn everything_is_counted_once() {
    let pool = Pool::with_workers(2).unwrap();
    within(pool.run(add, (1, 2))).await.unwrap();
    within(pool.map(|n: u64| n, 0..1000)).await.unwrap();
    within(pool.run(|| assert_eq!(1, 2), ())).await.unwrap_err();
    within(pool.run(|| std::process::abort(), ()))
        .await
        .unwrap_err();
    within(pool.run(|| std::process::exit(3), ()))
        .await
        .unwrap_err();
    within(pool.run(spin, ()).timeout(SHORT)).await.unwrap_err();
    let board = Board::new();
    let handle = pool.spawn(busy, board.desk());
    board.lines("busy", 1).await;
    handle.abort();
    assert!(within(handle).await.unwrap_err().is_cancelled());
    let metrics = pool.metrics();
    assert_eq!(metrics.completed(), 1001);
    // The panic, the two crashes and the timeout.
    assert_eq!(metrics.failed(), 4);
    assert_eq!(metrics.crashed(), 2);
    assert_eq!(metrics.timed_out(), 1);
    assert_eq!(metrics.cancelled(), 1);
    assert_eq!((metrics.retried(), metrics.recycled()), (0, 0));
    assert_eq!(
        (metrics.queued(), metrics.running(), metrics.busy()),
        (0, 0, 0)
    );
    assert!(metrics.run_time().count() > 2 && metrics.wait_time().count() > 2);
}

#[procession::test]
async fn what_waits_and_what_runs_is_counted() {
    let board = Board::new();
    let pool = ready(2).await;
    let handles: Vec<_> = (0..20)
        .map(|_| pool.spawn(held, (board.desk(), "here".to_owned())))
        .collect();
    board.lines("here", 2).await;
    let metrics = pool.metrics();
    assert_eq!((metrics.workers(), metrics.busy()), (2, 2));
    assert_eq!(metrics.queued() + metrics.running(), 20);
    assert!(
        metrics.running() >= 2 && metrics.queued() >= 10,
        "{metrics:?}"
    );
    board.write("go", 1);
    within(join_all(handles)).await;
    let metrics = pool.metrics();
    assert_eq!(
        (metrics.completed(), metrics.queued(), metrics.running()),
        (20, 0, 0)
    );
    assert!(metrics.run_time().percentile(100.0) <= metrics.wait_time().percentile(100.0) + LONG);
}

// ---- preparation -------------------------------------------------------------------------------

static PREPARED: OnceLock<String> = OnceLock::new();
static CALLS: AtomicU64 = AtomicU64::new(0);

fn prepare(text: String, desk: Desk) -> Result<(), String> {
    desk.write("prepared", pid());
    CALLS.fetch_add(1, Ordering::Relaxed);
    PREPARED.set(text)
}

fn what_was_prepared() -> (usize, u64) {
    let text = PREPARED.get().map_or(0, String::len);
    (text, CALLS.load(Ordering::Relaxed))
}

#[procession::test]
async fn every_worker_is_prepared_once_before_its_first_task() {
    // The second does not fit a worker's ring.
    for len in [10, 1 << 20] {
        let board = Board::new();
        let pool = Pool::builder()
            .workers(2)
            .initializer(prepare, ("x".repeat(len), board.desk()))
            .build()
            .unwrap();
        let runs = (0..50).map(|_| pool.run(what_was_prepared, ()));
        for seen in within(join_all(runs)).await {
            assert_eq!(seen.unwrap(), (len, 1));
        }
        within(pool.run(|| std::process::abort(), ()))
            .await
            .unwrap_err();
        let runs = (0..50).map(|_| pool.run(what_was_prepared, ()));
        for seen in within(join_all(runs)).await {
            assert_eq!(seen.unwrap(), (len, 1));
        }
        all_idle(&pool, 2).await;
        assert_eq!(board.read("prepared").len(), 3);
    }
}

#[procession::test]
async fn an_initializer_may_be_async_and_return_nothing() {
    let pool = Pool::builder()
        .workers(1)
        .initializer(
            async |text: String| {
                tokio::task::yield_now().await;
                PREPARED.set(text).unwrap();
            },
            "abc".to_owned(),
        )
        .build()
        .unwrap();
    assert_eq!(within(pool.run(what_was_prepared, ())).await.unwrap().0, 3);
}

/// How many workers a pool may start before it gives up on an initializer that never works: a few,
/// and one try for every task that comes.
const TRIES: usize = 10;

fn refuse(desk: Desk) -> Result<(), String> {
    desk.write("tried", pid());
    Err("no database".to_owned())
}

fn panics(desk: Desk) {
    desk.write("tried", pid());
    panic!("no licence")
}

fn aborts(desk: Desk) {
    desk.write("tried", pid());
    std::process::abort();
}

fn exits(desk: Desk) {
    desk.write("tried", pid());
    std::process::exit(9);
}

async fn fails_to_start(board: &Board, pool: Pool) -> Vec<JoinError> {
    let runs = join_all((0..100).map(|n| pool.run(add, (n, n))));
    let errors: Vec<_> = within(runs)
        .await
        .into_iter()
        .map(Result::unwrap_err)
        .collect();
    for error in &errors {
        assert!(error.is_spawn() && !error.started(), "{error:?}");
        assert!(error.task().contains("add"), "{error:?}");
    }
    let tried = board.read("tried").len();
    assert!((5..=TRIES).contains(&tried), "{tried} workers were started");
    // It does not go on by itself either.
    tokio::time::sleep(4 * SHORT).await;
    assert_eq!(board.read("tried").len(), tried);
    within(pool.shutdown()).await;
    assert_eq!(pool.workers().len(), 0);
    errors
}

#[procession::test]
async fn an_initializer_that_fails_fails_the_tasks_with_its_cause() {
    alone(
        "an_initializer_that_fails_fails_the_tasks_with_its_cause",
        async {
            for workers in [1, 4] {
                let builder = || Pool::builder().workers(workers);
                let board = Board::new();
                let pool = builder().initializer(refuse, board.desk()).build().unwrap();
                let errors = fails_to_start(&board, pool).await;
                assert!(
                    errors[0].to_string().contains("no database"),
                    "{}",
                    errors[0]
                );

                let board = Board::new();
                let pool = builder().initializer(panics, board.desk()).build().unwrap();
                let errors = fails_to_start(&board, pool).await;
                let report = errors[99].panic().unwrap();
                assert_eq!(report.message(), "no licence");
                assert!(report.location().contains("tests/pool.rs"));

                let board = Board::new();
                let pool = builder().initializer(aborts, board.desk()).build().unwrap();
                let errors = fails_to_start(&board, pool).await;
                assert!(errors[0].signal().is_some(), "{:?}", errors[0]);

                let board = Board::new();
                let pool = builder().initializer(exits, board.desk()).build().unwrap();
                let errors = fails_to_start(&board, pool).await;
                assert_eq!(errors[0].exit_code(), Some(9), "{:?}", errors[0]);
            }
        },
    )
    .await;
}

#[procession::test]
async fn a_pool_recovers_when_its_initializer_works_again() {
    let board = Board::new();
    let works_later = |desk: Desk| match desk.has("fixed") {
        true => Ok(()),
        false => refuse(desk),
    };
    let pool = Pool::builder()
        .workers(2)
        .initializer(works_later, board.desk())
        .build()
        .unwrap();
    assert!(within(pool.run(add, (1, 1))).await.unwrap_err().is_spawn());
    board.write("fixed", 1);
    let fixed = async {
        while pool.run(add, (1, 1)).await.is_err() {
            tokio::time::sleep(SHORT).await;
        }
    };
    within(fixed).await;
    for outcome in within(join_all((0..100).map(|n| pool.run(add, (n, n))))).await {
        outcome.unwrap();
    }
    all_idle(&pool, 2).await;
}

#[procession::test]
async fn a_large_task_does_not_wait_for_ever_while_nobody_tries_any_more() {
    let board = Board::new();
    let pool = Pool::builder()
        .workers(1)
        .initializer(refuse, board.desk())
        .build()
        .unwrap();
    for _ in 0..3 {
        let runs = [
            pool.run(|text: String| text.len(), "x".repeat(8 << 20)),
            pool.run(|text: String| text.len(), "x".to_owned()),
        ];
        for outcome in within(join_all(runs)).await {
            assert!(outcome.unwrap_err().is_spawn());
        }
    }
}

#[procession::test]
async fn an_initializer_whose_arguments_cannot_be_encoded_is_a_failure() {
    #[derive(Deserialize)]
    struct Refuses;
    impl Serialize for Refuses {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("refused"))
        }
    }
    let pool = Pool::builder()
        .workers(1)
        .initializer(|_: Refuses| (), Refuses)
        .build()
        .unwrap();
    let error = within(pool.run(add, (1, 1))).await.unwrap_err();
    assert!(
        error.is_spawn() && error.to_string().contains("initializer"),
        "{error}"
    );
}

// ---- nested pools ------------------------------------------------------------------------------

async fn nested(desk: Desk) -> Vec<u64> {
    let pool = Pool::with_workers(2).unwrap();
    let pids = pool.map(|n: u64| (n * n, pid()), 0..20_u64).await.unwrap();
    let workers: HashSet<_> = pids.iter().map(|(_, pid)| *pid).collect();
    assert!(!workers.contains(&pid()));
    desk.write("nested", workers.len());
    pids.into_iter().map(|(square, _)| square).collect()
}

async fn nested_and_held(desk: Desk) {
    let pool = Pool::with_workers(2).unwrap();
    let inner = pool.spawn(busy, desk.clone());
    let other = pool.spawn(busy, desk);
    let _ = inner.await;
    let _ = other.await;
}

#[procession::test]
async fn pools_nest_and_the_inner_ones_end_with_the_outer() {
    alone("pools_nest_and_the_inner_ones_end_with_the_outer", async {
        let board = Board::new();
        let pool = Pool::with_workers(2).unwrap();
        let squares: Vec<u64> = (0..20).map(|n| n * n).collect();
        for _ in 0..2 {
            assert_eq!(
                within(pool.run(nested, board.desk())).await.unwrap(),
                squares
            );
        }
        let handle = pool.spawn(nested_and_held, board.desk());
        board.lines("busy", 2).await;
        assert!(descendants().len() >= 4);
        handle.abort();
        assert!(within(handle).await.unwrap_err().is_cancelled());
        all_idle(&pool, 2).await;
        until(|| descendants().len() == 2).await;
    })
    .await;
}

// ---- its end -----------------------------------------------------------------------------------

#[procession::test]
async fn shutdown_finishes_everything_and_takes_nothing_more() {
    alone(
        "shutdown_finishes_everything_and_takes_nothing_more",
        async {
            let board = Board::new();
            let pool = Pool::with_workers(2).unwrap();
            let note = |desk: Desk, n: u64| {
                desk.write("done", n);
                n
            };
            let handles: Vec<_> = (0..50)
                .map(|n| pool.spawn(note, (board.desk(), n)))
                .collect();
            for n in 50..60 {
                drop(pool.spawn(note, (board.desk(), n)));
            }
            let shutdown = pool.shutdown();
            let late = within(pool.run(add, (1, 1))).await.unwrap_err();
            assert!(late.is_closed() && !late.started(), "{late:?}");
            assert!(
                within(pool.spawn(add, (1, 1)))
                    .await
                    .unwrap_err()
                    .is_closed()
            );
            let mapped = within(pool.map(|n: u64| n, 0..100)).await;
            assert!(mapped.unwrap_err().is_closed());
            within(shutdown).await;
            assert_eq!(board.read("done").len(), 60);
            for (n, outcome) in within(join_all(handles)).await.into_iter().enumerate() {
                assert_eq!(outcome.unwrap(), n as u64);
            }
            assert_eq!(pool.workers().len(), 0);
            within(pool.shutdown()).await;
            within(pool.terminate()).await;
            within(pool.shutdown_timeout(SHORT)).await;
        },
    )
    .await;
}

#[procession::test]
async fn a_dropped_shutdown_goes_on() {
    let board = Board::new();
    let pool = ready(1).await;
    let handle = pool.spawn(held, (board.desk(), "here".to_owned()));
    drop(pool.shutdown());
    assert!(within(pool.run(add, (1, 1))).await.unwrap_err().is_closed());
    board.write("go", 1);
    within(handle).await.unwrap();
    until(|| pool.workers().is_empty()).await;
}

#[procession::test]
async fn shutdown_outlives_a_worker_that_dies() {
    let board = Board::new();
    let pool = ready(1).await;
    let dies = pool.spawn(|| std::process::abort(), ());
    let runs: Vec<_> = (0..5)
        .map(|n| {
            pool.spawn(
                |desk: Desk, n: u64| desk.write("done", n),
                (board.desk(), n),
            )
        })
        .collect();
    within(pool.shutdown()).await;
    assert!(within(dies).await.unwrap_err().is_crashed());
    for outcome in within(join_all(runs)).await {
        outcome.unwrap();
    }
    assert_eq!(board.read("done").len(), 5);
}

#[procession::test]
async fn shutdown_of_a_pool_that_is_starting_or_was_never_used() {
    alone(
        "shutdown_of_a_pool_that_is_starting_or_was_never_used",
        async {
            within(Pool::with_workers(3).unwrap().shutdown()).await;
            within(Pool::with_workers(3).unwrap().terminate()).await;
            let pool = Pool::with_workers(3).unwrap();
            let handle = pool.spawn(add, (1, 2));
            within(pool.shutdown()).await;
            assert_eq!(within(handle).await.unwrap(), 3);
            drop(Pool::with_workers(3).unwrap());
            within(ready(3).await.shutdown()).await;
        },
    )
    .await;
}

#[procession::test]
async fn shutdown_with_a_limit_kills_what_is_left() {
    alone("shutdown_with_a_limit_kills_what_is_left", async {
        let board = Board::new();
        let pool = Pool::with_workers(2).unwrap();
        let handles: Vec<_> = (0..10).map(|_| pool.spawn(busy, board.desk())).collect();
        board.lines("busy", 2).await;
        within(pool.shutdown_timeout(SHORT)).await;
        assert_eq!(pool.workers().len(), 0);
        let outcomes = within(join_all(handles)).await;
        assert_eq!(kinds(&outcomes), [Some(ErrorKind::Cancelled); 10]);
        let started = outcomes.iter().filter_map(|it| it.as_ref().err());
        assert_eq!(started.filter(|error| error.started()).count(), 2);
        assert_eq!(pool.metrics().cancelled(), 10);

        let pool = Pool::with_workers(2).unwrap();
        let handles: Vec<_> = (0..10).map(|n| pool.spawn(add, (n, n))).collect();
        within(pool.shutdown_timeout(LONG)).await;
        assert_eq!(kinds(&within(join_all(handles)).await), [None; 10]);
    })
    .await;
}

#[procession::test]
async fn ten_thousand_queued_tasks_are_cancelled_by_terminate() {
    alone(
        "ten_thousand_queued_tasks_are_cancelled_by_terminate",
        async {
            let board = Board::new();
            let pool = Pool::with_workers(2).unwrap();
            let handles: Vec<_> = (0..10_000)
                .map(|_| pool.spawn(busy, board.desk()))
                .collect();
            board.lines("busy", 2).await;
            within(pool.terminate()).await;
            let outcomes = within(join_all(handles)).await;
            assert!(
                kinds(&outcomes)
                    .iter()
                    .all(|it| *it == Some(ErrorKind::Cancelled))
            );
            let errors = outcomes.iter().map(|it| it.as_ref().unwrap_err());
            let started: Vec<_> = errors.filter(|error| error.started()).collect();
            assert_eq!(started.len(), 2, "{started:?}");
            assert_eq!(board.read("busy").len(), 2);
            let metrics = pool.metrics();
            assert_eq!((metrics.cancelled(), metrics.queued()), (10_000, 0));
            assert!(within(pool.run(add, (1, 1))).await.unwrap_err().is_closed());
        },
    )
    .await;
}

#[procession::test]
async fn terminate_while_large_arguments_are_encoded() {
    alone("terminate_while_large_arguments_are_encoded", async {
        for _ in 0..3 {
            let pool = ready(1).await;
            let handles: Vec<_> = (0..3)
                .map(|_| pool.spawn(|text: String| text.len(), "x".repeat(8 << 20)))
                .collect();
            within(pool.terminate()).await;
            for outcome in within(join_all(handles)).await {
                // The first may have been quick enough.
                let kind = outcome.as_ref().err().map(JoinError::kind);
                assert!(
                    matches!(kind, None | Some(ErrorKind::Cancelled)),
                    "{kind:?}"
                );
            }
            assert_eq!(pool.metrics().queued(), 0);
        }
    })
    .await;
}

#[procession::test]
async fn dropping_a_pool_inside_a_runtime_ends_it() {
    alone("dropping_a_pool_inside_a_runtime_ends_it", async {
        let board = Board::new();
        let pool = ready(2).await;
        drop(pool.spawn(busy, board.desk()));
        board.lines("busy", 1).await;
        let clone = pool.clone();
        drop(pool);
        assert_eq!(within(clone.run(add, (1, 1))).await.unwrap(), 2);
        drop(clone);
        until(|| descendants().is_empty()).await;
    })
    .await;
}

#[procession::test]
async fn a_handle_keeps_the_pool_and_a_detached_task_does_not() {
    alone(
        "a_handle_keeps_the_pool_and_a_detached_task_does_not",
        async {
            let board = Board::new();
            let pool = ready(2).await;
            let kept = pool.spawn(held, (board.desk(), "kept".to_owned()));
            drop(pool.spawn(held, (board.desk(), "detached".to_owned())));
            board.lines("kept", 1).await;
            board.lines("detached", 1).await;
            drop(pool);
            let workers = descendants();
            assert_eq!(workers.iter().filter(|it| !it.is_spare()).count(), 2);
            board.write("go", 1);
            within(kept).await.unwrap();
            until(|| descendants().is_empty()).await;

            let board = Board::new();
            let pool = ready(1).await;
            let mut run = pool.run(held, (board.desk(), "run".to_owned()));
            assert!(futures::poll!(&mut run).is_pending());
            drop(pool.spawn(busy, board.desk()));
            drop(pool);
            board.lines("run", 1).await;
            board.write("go", 1);
            within(run).await.unwrap();
            until(|| descendants().is_empty()).await;

            let mut map = ready(2).await.map(|n: u64| n, 0..);
            assert_eq!(within(map.next()).await.unwrap().unwrap(), 0);
            assert_eq!(within(map.next()).await.unwrap().unwrap(), 1);
            drop(map);
            until(|| descendants().is_empty()).await;
        },
    )
    .await;
}

#[procession::test]
async fn dropping_a_pool_outside_a_runtime_ends_it() {
    alone("dropping_a_pool_outside_a_runtime_ends_it", async {
        let board = Board::new();
        let desk = board.desk();
        let outside = std::thread::spawn(move || {
            // One that goes on running, and one that does not.
            for threads in [1, 0] {
                let runtime = match threads {
                    0 => Builder::new_current_thread().enable_all().build().unwrap(),
                    _ => Builder::new_multi_thread().enable_all().build().unwrap(),
                };
                let pool = runtime.block_on(async {
                    let pool = ready(2).await;
                    drop(pool.spawn(busy, desk.clone()));
                    pool
                });
                drop(pool);
                drop(runtime);
            }
        });
        until(|| outside.is_finished()).await;
        outside.join().unwrap();
    })
    .await;
}

/// A runtime with a pool in it, in a thread that ends the runtime when it is told to.
fn elsewhere(
    blocking_threads: usize,
) -> (
    Pool,
    std::sync::mpsc::Sender<()>,
    std::thread::JoinHandle<()>,
) {
    let (give, take) = std::sync::mpsc::channel();
    let (end, ended) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(blocking_threads)
            .enable_all()
            .build()
            .unwrap();
        give.send(runtime.block_on(ready(2))).unwrap();
        let _ = ended.recv();
        runtime.shutdown_background();
    });
    (take.recv().unwrap(), end, thread)
}

#[procession::test]
async fn when_its_runtime_ends_what_is_awaited_elsewhere_is_closed() {
    alone(
        "when_its_runtime_ends_what_is_awaited_elsewhere_is_closed",
        async {
            let board = Board::new();
            let (pool, end, thread) = elsewhere(4);
            assert_eq!(within(pool.run(add, (1, 1))).await.unwrap(), 2);
            let handles: Vec<_> = (0..20).map(|_| pool.spawn(busy, board.desk())).collect();
            let large = pool.spawn(|text: String| text.len(), "x".repeat(1 << 20));
            let mapped = tokio::spawn({
                let (pool, desk) = (pool.clone(), board.desk());
                async move { pool.map(busy, std::iter::repeat(desk)).await }
            });
            let shutdown = pool.shutdown_timeout(LONG);
            board.lines("busy", 2).await;
            end.send(()).unwrap();
            let outcomes = within(join_all(handles)).await;
            assert_eq!(kinds(&outcomes), [Some(ErrorKind::Closed); 20]);
            assert!(within(large).await.unwrap_err().is_closed());
            assert!(within(mapped).await.unwrap().unwrap_err().is_closed());
            within(shutdown).await;
            assert!(within(pool.run(add, (1, 1))).await.unwrap_err().is_closed());
            assert!(pool.workers().is_empty());
            thread.join().unwrap();
        },
    )
    .await;
}

/// Takes its time to be decoded by who awaits it.
#[derive(Debug, Serialize)]
struct Slow(String);

static DECODING: AtomicU64 = AtomicU64::new(0);
static DECODED: AtomicU64 = AtomicU64::new(0);

impl<'de> Deserialize<'de> for Slow {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DECODING.fetch_add(1, Ordering::SeqCst);
        while DECODED.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Self(String::deserialize(deserializer)?))
    }
}

#[procession::test]
async fn a_large_result_that_nobody_decodes_any_more_is_an_error() {
    alone(
        "a_large_result_that_nobody_decodes_any_more_is_an_error",
        async {
            let (pool, end, thread) = elsewhere(1);
            let handles: Vec<_> = (0..4)
                .map(|_| pool.spawn(|| Slow("x".repeat(1 << 20)), ()))
                .collect();
            // One is being decoded on the only thread for that; the others, done too, wait for it.
            until(|| DECODING.load(Ordering::SeqCst) == 1 && pool.metrics().running() == 0).await;
            end.send(()).unwrap();
            until(|| thread.is_finished()).await;
            DECODED.store(1, Ordering::SeqCst);
            for outcome in within(join_all(handles)).await {
                let kind = outcome.as_ref().err().map(JoinError::kind);
                assert!(matches!(kind, None | Some(ErrorKind::Closed)), "{kind:?}");
            }
            thread.join().unwrap();
        },
    )
    .await;
}

// ---- abort -------------------------------------------------------------------------------------

#[procession::test]
async fn an_abort_handle_ends_its_task_and_no_other() {
    let board = Board::new();
    let pool = ready(1).await;
    let running = pool.spawn(busy, board.desk());
    board.lines("busy", 1).await;
    let waiting: Vec<_> = (0..5).map(|n| pool.spawn(add, (n, n))).collect();
    let third = waiting[2].abort_handle();
    assert!(!third.is_finished());
    third.abort();
    third.clone().abort();
    assert!(third.is_finished());
    let first = running.abort_handle();
    std::thread::spawn(move || first.abort()).join().unwrap();
    let error = within(running).await.unwrap_err();
    assert!(error.is_cancelled() && error.started(), "{error:?}");
    let outcomes = within(join_all(waiting)).await;
    let expected = [None, None, Some(ErrorKind::Cancelled), None, None];
    assert_eq!(kinds(&outcomes), expected);
    assert!(!outcomes[2].as_ref().unwrap_err().started());
    third.abort();
    assert_eq!(within(pool.run(add, (1, 1))).await.unwrap(), 2);
    let handle = pool.spawn(add, (1, 1));
    let late = handle.abort_handle();
    within(handle).await.unwrap();
    late.abort();
    drop(pool);
    late.abort();
    assert!(late.is_finished());
}
