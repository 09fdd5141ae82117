//! Options of pools and tasks: priority, retries, nice value, number of workers.

use futures::future::join_all;
use procession::{Pool, Priority};

use crate::deadline::within;
use crate::notes::{Board, Notes};
use crate::pools::{all_idle, ready};
use crate::tasks::{held, pid, spin};
use crate::{SHORT, add};

#[procession::test]
async fn priority_then_order_decides_which_waiting_task_is_next() {
    let board = Board::new();
    let pool = ready(1).await;
    let first = pool.spawn(held, (board.notes(), "here".to_owned()));
    board.lines("here", 1).await;
    // The worker may have prefetched one task. The tasks behind it are ordered by priority.
    let note = |notes: Notes, name: String| notes.write("order", name);
    let next = pool.spawn(note, (board.notes(), "next".to_owned()));
    let priorities = [Priority::Low, Priority::Normal, Priority::High];
    let handles: Vec<_> = (0..2)
        .flat_map(|round| priorities.map(|priority| (priority, round)))
        .map(|(priority, round)| {
            let name = format!("{priority:?} {round}");
            let run = pool.run(note, (board.notes(), name));
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
async fn retries_repeat_a_crashed_task_up_to_the_limit() {
    let board = Board::new();
    let pool = Pool::builder().workers(2).retries(1).build().unwrap();
    let crash_until = |notes: Notes, name: String, times: usize| -> usize {
        notes.write(&name, pid());
        let tries = notes.read(&name).len();
        if tries <= times {
            std::process::abort();
        }
        tries
    };
    let notes = || board.notes();
    let run = pool.run(crash_until, (notes(), "once".to_owned(), 1));
    assert_eq!(within(run).await.unwrap(), 2);
    let run = pool.run(crash_until, (notes(), "twice".to_owned(), 2));
    assert!(within(run).await.unwrap_err().is_crashed());
    assert_eq!(board.read("twice").len(), 2);
    let run = pool.run(crash_until, (notes(), "thrice".to_owned(), 3));
    assert_eq!(within(run.retries(3)).await.unwrap(), 4);
    // A task that timed out is not repeated.
    assert!(
        within(pool.run(spin, ()).timeout(SHORT))
            .await
            .unwrap_err()
            .is_timed_out()
    );
    assert_eq!(pool.metrics().retried(), 5);
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
async fn nice_is_five_by_default_and_as_given() {
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
async fn workers_default_to_available_parallelism() {
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
async fn workers_zero_means_one_and_later_calls_override_earlier_ones() {
    let pool = Pool::builder().workers(7).workers(0).build().unwrap();
    all_idle(&pool, 1).await;
    assert_eq!(within(pool.run(add, (1, 1))).await.unwrap(), 2);
}
