//! A process whose task gives no outcome though the process lives: it replaced its program, or its thread ended below
//! Rust. It is killed, and the error says why.

#![allow(unsafe_code, reason = "no safe function ends a thread below Rust")]

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use procession::{JoinError, Process, StartMethod};
use rustix::process::{Pid, test_kill_process};

use crate::deadline::{until, within};
use crate::family::{Activity, Family, child, parent};
use crate::leftovers::alone;
use crate::{METHODS, by};

fn become_sleep() -> u32 {
    let error = Command::new("sleep").arg("1000").exec();
    panic!("{error}");
}

/// Ends the calling thread by the bare system call, while another thread lives.
fn end_thread() -> u32 {
    std::thread::spawn(|| {
        loop {
            std::thread::park();
        }
    });
    // SAFETY: nothing of this thread is used by others.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!()
}

async fn assert_killed(error: JoinError, why: &str, method: StartMethod) {
    assert!(
        error.is_crashed() && error.started(),
        "{method:?}: {error:?}"
    );
    assert!(error.to_string().contains(why), "{method:?}: {error}");
    let pid = Pid::from_raw(error.pid().unwrap().try_into().unwrap()).unwrap();
    until(|| test_kill_process(pid).is_err()).await;
}

#[procession::test]
async fn program_in_the_place_of_a_process_is_killed() {
    for method in METHODS {
        let error = within(by(method).spawn(become_sleep, ())).await;
        assert_killed(error.unwrap_err(), "(`exec`)", method).await;
    }
}

#[procession::test]
async fn process_whose_task_thread_has_ended_is_killed() {
    for method in METHODS {
        let error = within(by(method).spawn(end_thread, ())).await;
        assert_killed(error.unwrap_err(), "thread that ran it ended", method).await;
    }
}

#[procession::test]
async fn program_in_the_place_of_a_short_process_ends_it() {
    let exits = || -> u32 {
        let error = Command::new("sh").args(["-c", "exit 3"]).exec();
        panic!("{error}");
    };
    for method in METHODS {
        let error = within(by(method).spawn(exits, ())).await.unwrap_err();
        assert_eq!(error.exit_code(), Some(3), "{method:?}: {error}");
    }
}

/// It is what a detached process is for.
#[procession::test]
async fn program_in_the_place_of_a_detached_process_runs_on() {
    let exits = || -> u32 {
        let script = ["-c", "sleep 2; exit 3"];
        let error = Command::new("sh").args(script).exec();
        panic!("{error}");
    };
    let error = within(Process::builder().detach(true).spawn(exits, ()))
        .await
        .unwrap_err();
    assert_eq!(error.exit_code(), Some(3), "{error}");
}

async fn parent_of_worker(activity: Activity) {
    let pool = procession::Pool::with_workers(1).unwrap();
    pool.run(child, activity).await.unwrap();
}

#[procession::test]
async fn program_in_the_place_of_a_child_ends_with_its_parent() {
    alone(
        "replaced::program_in_the_place_of_a_child_ends_with_its_parent",
        async {
            let mut family = Family::start(parent, Activity::Replaced);
            family.wait_for_words(1).await;
            assert!(!family.children().is_empty());
            family.assert_ends_after_kill().await;
            let mut family = Family::start(parent_of_worker, Activity::Replaced);
            family.wait_for_words(1).await;
            assert!(!family.children().is_empty());
            family.assert_ends_after_kill().await;
        },
    )
    .await;
}
