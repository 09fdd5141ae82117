//! What a task has started ends with it, also what leads a group or a session of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "arguments of tasks are owned values"
)]

#[path = "../deadline/mod.rs"]
mod deadline;
#[path = "../leftovers/mod.rs"]
mod leftovers;
#[path = "../notes/mod.rs"]
mod notes;

mod cgroup;

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use deadline::{until, within};
use leftovers::processes::all_processes;
use procession::{Pool, Process, StartMethod};

const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Exec];

/// A time to sleep for that no other test has, in seconds.
fn unique_time() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("1000.{}00{number}", std::process::id())
}

/// How many programs sleep for this time.
fn sleeping(time: &str) -> usize {
    let mut found = all_processes();
    found.retain(|it| {
        let line = std::fs::read_to_string(format!("/proc/{}/cmdline", it.pid));
        it.command == "sleep" && line.is_ok_and(|line| line.contains(time))
    });
    found.len()
}

/// Starts three programs whose parents have ended: in the group of this process, in another group, and in a session.
fn start_daemons(time: String) {
    for script in [
        format!("(sleep {time} &)"),
        format!("set -m; (sleep {time} &)"),
        format!("(setsid sleep {time} &)"),
    ] {
        let mut shell = Command::new("sh");
        assert!(shell.args(["-c", &script]).status().unwrap().success());
    }
    while sleeping(&time) < 3 {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn start_daemons_and_spin(time: String) {
    start_daemons(time);
    loop {
        std::hint::spin_loop();
    }
}

/// The crash leaves no parent below which they could be found.
fn start_daemons_and_crash(time: String) {
    start_daemons(time);
    std::process::abort()
}

/// Starts five programs and does not wait for them, three of them outside the group of this process, one of these by a
/// shell.
#[expect(
    clippy::zombie_processes,
    reason = "the programs end with this process"
)]
fn start_programs(time: String) {
    let mut sleep = Command::new("sleep");
    sleep.arg(&time).spawn().unwrap();
    sleep.process_group(0).spawn().unwrap();
    let mut setsid = Command::new("setsid");
    setsid.args(["sleep", &time]).spawn().unwrap();
    let script = format!("setsid sleep {time} & sleep {time}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).spawn().unwrap();
    while sleeping(&time) < 5 {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn start_programs_and_spin(time: String) {
    start_programs(time);
    loop {
        std::hint::spin_loop();
    }
}

#[procession::test]
async fn aborted_process_takes_its_descendants_along() {
    for method in METHODS {
        let time = unique_time();
        let process = Process::builder().start_method(method);
        let process = process.spawn(start_programs_and_spin, time.clone());
        until(|| sleeping(&time) == 5).await;
        process.abort();
        assert!(within(process).await.unwrap_err().is_cancelled());
        until(|| sleeping(&time) == 0).await;
    }
}

#[procession::test]
async fn dropped_process_takes_its_descendants_along() {
    for method in METHODS {
        let time = unique_time();
        let process = Process::builder().start_method(method).kill_on_drop(true);
        let process = process.spawn(start_programs_and_spin, time.clone());
        until(|| sleeping(&time) == 5).await;
        drop(process);
        until(|| sleeping(&time) == 0).await;
    }
}

#[procession::test]
async fn task_that_times_out_takes_its_descendants_along() {
    for method in METHODS {
        let time = unique_time();
        let pool = Pool::builder().workers(1).start_method(method);
        let pool = pool.build().unwrap();
        // Long enough for all programs to start, which a machine under load may not manage at first.
        let mut limit = Duration::from_secs(2);
        loop {
            let task = pool.run(start_programs_and_spin, time.clone());
            let task = task.timeout(limit).spawn();
            until(|| sleeping(&time) == 5 || task.is_finished()).await;
            let all = sleeping(&time) == 5;
            assert!(within(task).await.unwrap_err().is_timed_out());
            if all {
                break;
            }
            until(|| sleeping(&time) == 0).await;
            limit *= 2;
        }
        until(|| sleeping(&time) == 0).await;
        assert_eq!(within(pool.run(|| 1, ())).await.unwrap(), 1);
    }
}

#[procession::test]
async fn daemons_of_a_killed_task_are_killed() {
    for method in METHODS {
        let time = unique_time();
        let process = Process::builder().start_method(method);
        let process = process.spawn(start_daemons_and_spin, time.clone());
        until(|| sleeping(&time) == 3).await;
        process.abort();
        assert!(within(process).await.unwrap_err().is_cancelled());
        until(|| sleeping(&time) == 0).await;

        let pool = Pool::builder().workers(1).start_method(method);
        let pool = pool.build().unwrap();
        let task = pool.run(start_daemons_and_spin, time.clone()).spawn();
        until(|| sleeping(&time) == 3).await;
        task.abort();
        assert!(within(task).await.unwrap_err().is_cancelled());
        until(|| sleeping(&time) == 0).await;
        // Of an earlier task, when the worker ends.
        within(pool.run(start_daemons, time.clone())).await.unwrap();
        within(pool.shutdown()).await;
        until(|| sleeping(&time) == 0).await;
    }
}

/// Ended daemons do not pile up in a worker.
#[procession::test]
async fn ended_daemons_of_a_worker_are_reaped() {
    /// Leaves an orphan that ends at once. Returns how many ended children the worker has.
    fn leave_orphan(_: u32) -> usize {
        let status = Command::new("sh").args(["-c", "(true &)"]).status();
        assert!(status.unwrap().success());
        let pid = std::process::id();
        let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        list.unwrap().split_whitespace().count()
    }
    let pool = Pool::with_workers(1).unwrap();
    let counts = within(pool.map(leave_orphan, 0..700).chunk_size(1))
        .await
        .unwrap();
    assert!(counts.iter().all(|count| *count < 400), "{counts:?}");
    within(pool.shutdown()).await;
}

#[procession::test]
async fn worker_that_ends_takes_its_descendants_along() {
    for method in METHODS {
        for kill in [false, true] {
            let time = unique_time();
            let pool = Pool::builder().workers(1).start_method(method);
            let pool = pool.build().unwrap();
            let started = pool.run(start_programs, time.clone());
            within(started).await.unwrap();
            assert_eq!(sleeping(&time), 5);
            match kill {
                true => drop(pool),
                false => drop(within(pool.shutdown()).await),
            }
            until(|| sleeping(&time) == 0).await;
        }
    }
}

fn sleep(time: String) {
    Command::new("sleep").arg(time).status().unwrap();
}

/// A process that is to outlive its parent outlives a parent that is killed, too.
#[procession::test]
async fn detached_process_of_a_killed_task_is_left_alone() {
    let start_detached = async |time: String| {
        let _detached = Process::builder().detach(true).spawn(sleep, time);
        std::future::pending::<()>().await;
    };
    let time = unique_time();
    let process = procession::spawn(start_detached, time.clone());
    until(|| sleeping(&time) == 1).await;
    process.abort();
    assert!(within(process).await.is_err());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(sleeping(&time), 1);
    kill_all(&time);
}

/// Kills all processes with this time in their command lines.
fn kill_all(time: &str) {
    let mut found = all_processes();
    found.retain(|it| {
        let line = std::fs::read_to_string(format!("/proc/{}/cmdline", it.pid));
        line.is_ok_and(|line| line.contains(time))
    });
    for found in found {
        let pid = rustix::process::Pid::from_raw(found.pid as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
}

fn start_and_crash(time: String) {
    Command::new("sleep").arg(time).spawn().unwrap();
    std::process::abort()
}

/// The ended children of this process that were not waited for.
fn zombies() -> Vec<u32> {
    let mut found = all_processes();
    found.retain(|it| it.parent == std::process::id() && it.state == 'Z');
    found.into_iter().map(|it| it.pid).collect()
}

/// A process that is a subreaper, as the first process of a container is.
#[procession::test]
async fn descendants_that_become_the_applications_are_reaped() {
    let application = async || {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
        let mut own = Command::new("true").spawn().unwrap();
        for method in METHODS {
            let time = unique_time();
            let pool = Pool::builder().workers(1).start_method(method);
            let pool = pool.build().unwrap();
            let task = pool.run(start_programs_and_spin, time.clone());
            let task = task.timeout(Duration::from_secs(2)).into_future();
            assert!(within(task).await.unwrap_err().is_timed_out());
            let crashed = within(pool.run(start_and_crash, time.clone())).await;
            assert!(crashed.unwrap_err().is_crashed());
            within(pool.run(start_programs, time.clone()))
                .await
                .unwrap();
            within(pool.shutdown()).await;
            until(|| sleeping(&time) == 0).await;
        }
        until(|| zombies() == [own.id()]).await;
        assert!(own.wait().unwrap().success());
    };
    within(procession::spawn(application, ())).await.unwrap();
}
