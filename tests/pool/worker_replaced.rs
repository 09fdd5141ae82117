//! A worker that lives and runs no task any more: a task replaced its program, or ended its thread below Rust.

#![allow(unsafe_code, reason = "no safe function ends a thread below Rust")]

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use procession::{JoinError, Pool, StartMethod};
use rustix::process::{Pid, test_kill_process};

use crate::deadline::{until, within};

fn become_sleep() {
    let error = Command::new("sleep").arg("1000").exec();
    panic!("{error}");
}

fn end_thread() {
    // SAFETY: nothing of this thread is used by others.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

async fn assert_killed(error: JoinError, why: &str) {
    assert!(error.is_crashed() && error.started(), "{error:?}");
    assert!(error.to_string().contains(why), "{error}");
    let pid = Pid::from_raw(error.pid().unwrap().try_into().unwrap()).unwrap();
    until(|| test_kill_process(pid).is_err()).await;
}

#[procession::test]
async fn worker_that_replaced_its_program_or_lost_its_thread_is_replaced() {
    for method in [StartMethod::ForkServer, StartMethod::Exec] {
        let pool = Pool::builder().workers(1).start_method(method);
        let pool = pool.build().unwrap();
        let error = within(pool.run(become_sleep, ())).await.unwrap_err();
        assert_killed(error, "(`exec`)").await;
        assert_eq!(within(pool.run(|x: u32| x, 1)).await.unwrap(), 1);
        let error = within(pool.run(end_thread, ())).await.unwrap_err();
        assert_killed(error, "thread that ran it ended").await;
        assert_eq!(within(pool.run(|x: u32| x, 2)).await.unwrap(), 2);
    }
}

/// A long task is checked while it runs, and not ended.
#[procession::test]
async fn long_task_is_left_alone() {
    let pool = Pool::with_workers(1).unwrap();
    let long = |ms: u64| std::thread::sleep(std::time::Duration::from_millis(ms));
    within(pool.run(long, 3500)).await.unwrap();
    within(procession::spawn(long, 3500)).await.unwrap();
}
