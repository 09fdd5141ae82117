//! `abort`, and the programs that a process starts.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use procession::{ErrorKind, Process};

use crate::deadline::{until, within};
use crate::leftovers::{self, alone};
use crate::notes::scratch;
use crate::processes::is_gone;
use crate::tasks::parked;
use crate::{busy, line, ready, say};

#[procession::test]
async fn an_aborted_process_is_killed() {
    alone("abort::an_aborted_process_is_killed", async {
        let mut handle = busy().await;
        assert!(!handle.is_finished());
        handle.abort();
        handle.abort();
        let error = within(&mut handle).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.started()),
            (ErrorKind::Cancelled, true)
        );
        assert_eq!(error.pid(), handle.pid());
        assert!(handle.is_finished() && is_gone(handle.pid().unwrap()));
        let status = within(handle.exited()).await.unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL));
    })
    .await;
}

#[procession::test]
async fn a_process_aborted_before_its_start_never_runs() {
    alone(
        "abort::a_process_aborted_before_its_start_never_runs",
        async {
            let path = scratch("never");
            let handle = procession::spawn(
                |path: PathBuf| std::fs::write(path, "").unwrap(),
                path.clone(),
            );
            handle.abort(); // nothing of it was polled yet
            let error = within(handle).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.started()),
                (ErrorKind::Cancelled, false),
                "{error}"
            );
            assert!(!path.exists());
        },
    )
    .await;
}

#[procession::test]
async fn an_abort_that_comes_too_late_changes_nothing() {
    alone(
        "abort::an_abort_that_comes_too_late_changes_nothing",
        async {
            let handle = procession::spawn(|| 9, ());
            within(handle.exited()).await.unwrap();
            until(|| handle.is_finished()).await;
            handle.abort();
            assert_eq!(within(handle).await.unwrap(), 9);
        },
    )
    .await;
}

#[procession::test]
async fn what_an_aborted_process_started_is_killed_too() {
    alone(
        "abort::what_an_aborted_process_started_is_killed_too",
        async {
            let handle = Process::builder()
                .stdout(Stdio::piped())
                .spawn(with_a_program, ());
            let handle = ready(with_a_program, handle).await;
            assert!(leftovers::descendants().len() >= 2);
            handle.abort();
            within(handle).await.unwrap_err();
        },
    )
    .await; // which finds a program that is left
}

#[procession::test]
async fn the_children_of_an_aborted_process_end_too() {
    alone("abort::the_children_of_an_aborted_process_end_too", async {
        async fn with_a_child() {
            let child = Process::builder().stdin(Stdio::inherit());
            child.spawn(with_a_program, ()).await.unwrap();
        }
        let mut handle = Process::builder()
            .stdout(Stdio::piped())
            .spawn(with_a_child, ());
        line(&mut handle.take_stdout().unwrap()).await;
        assert!(leftovers::descendants().len() >= 3);
        handle.abort();
        within(handle).await.unwrap_err();
    })
    .await; // which finds whoever is left
}

/// Starts a program that goes on for a long time, and goes on itself.
fn with_a_program() {
    start_sleeping();
    say("here");
    parked();
}

fn start_sleeping() -> u32 {
    let null = || Stdio::null();
    let mut command = std::process::Command::new("sleep");
    command
        .arg("1000")
        .stdin(null())
        .stdout(null())
        .stderr(null());
    command.spawn().unwrap().id()
}

/// There is nobody left who would know about them.
#[procession::test]
async fn what_a_crashed_process_started_is_killed_too() {
    alone(
        "abort::what_a_crashed_process_started_is_killed_too",
        async {
            fn crashes() {
                start_sleeping();
                std::process::abort();
            }
            assert!(
                within(procession::spawn(crashes, ()))
                    .await
                    .unwrap_err()
                    .is_crashed()
            );
        },
    )
    .await; // which finds a program that is left
}

#[procession::test]
async fn what_a_process_started_goes_on_when_it_has_returned() {
    alone(
        "abort::what_a_process_started_goes_on_when_it_has_returned",
        async {
            let program = within(procession::spawn(start_sleeping, ())).await.unwrap();
            assert!(!is_gone(program));
            let pid = rustix::process::Pid::from_raw(program as i32).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        },
    )
    .await;
}

#[procession::test]
async fn an_abort_handle_works_apart_from_the_handle() {
    alone(
        "abort::an_abort_handle_works_apart_from_the_handle",
        async {
            let handle = busy().await;
            let abort = handle.abort_handle();
            let exited = handle.exited();
            drop(handle);
            assert!(!abort.is_finished());
            let elsewhere = abort.clone();
            std::thread::spawn(move || elsewhere.abort())
                .join()
                .unwrap();
            within(exited).await.unwrap();
            until(|| abort.is_finished()).await;
            abort.abort();
        },
    )
    .await;
}
