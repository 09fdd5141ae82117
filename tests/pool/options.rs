//! Options of a pool and of a task: priority, retries, niceness, size.

use futures::future::join_all;
use procession::{Pool, Priority};

use crate::deadline::within;
use crate::notes::{Board, Desk};
use crate::pools::{all_idle, ready};
use crate::tasks::{held, pid, spin};
use crate::{SHORT, add};

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
