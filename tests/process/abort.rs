//! `abort`, and what happens to the programs that a process has started.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use procession::{ErrorKind, Process};

use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::leftovers::processes::{descendants, is_gone};
use crate::notes::scratch;
use crate::tasks::parked;
use crate::{has_spoken, parked_process, read_line, say};

#[procession::test]
async fn abort_kills_the_process() {
    alone("abort::abort_kills_the_process", async {
        let mut handle = parked_process().await;
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
async fn abort_before_the_start_prevents_it() {
    alone("abort::abort_before_the_start_prevents_it", async {
        let path = scratch("never");
        let handle = procession::spawn(
            |path: PathBuf| std::fs::write(path, "").unwrap(),
            path.clone(),
        );
        handle.abort(); // before the runtime has polled the start
        let error = within(handle).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.started()),
            (ErrorKind::Cancelled, false),
            "{error}"
        );
        assert!(!path.exists());
    })
    .await;
}

#[procession::test]
async fn abort_after_the_end_changes_nothing() {
    alone("abort::abort_after_the_end_changes_nothing", async {
        let handle = procession::spawn(|| 9, ());
        within(handle.exited()).await.unwrap();
        until(|| handle.is_finished()).await;
        handle.abort();
        assert_eq!(within(handle).await.unwrap(), 9);
    })
    .await;
}

#[procession::test]
async fn abort_kills_the_programs_of_the_process() {
    alone("abort::abort_kills_the_programs_of_the_process", async {
        let handle = Process::builder()
            .stdout(Stdio::piped())
            .spawn(start_a_program, ());
        let handle = has_spoken(handle).await;
        assert!(descendants().len() >= 2);
        handle.abort();
        within(handle).await.unwrap_err();
    })
    .await; // `alone` finds programs that are left
}

#[procession::test]
async fn abort_ends_the_children_of_the_process() {
    alone("abort::abort_ends_the_children_of_the_process", async {
        async fn with_a_child() {
            let child = Process::builder().stdin(Stdio::inherit());
            child.spawn(start_a_program, ()).await.unwrap();
        }
        let mut handle = Process::builder()
            .stdout(Stdio::piped())
            .spawn(with_a_child, ());
        read_line(&mut handle.take_stdout().unwrap()).await;
        assert!(descendants().len() >= 3);
        handle.abort();
        within(handle).await.unwrap_err();
    })
    .await; // `alone` finds children that are left
}

/// Starts a program that runs for a long time, and never returns.
fn start_a_program() {
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

/// The process is gone, so it cannot say which programs it started.
#[procession::test]
async fn crash_kills_the_programs_of_the_process() {
    alone("abort::crash_kills_the_programs_of_the_process", async {
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
    })
    .await; // `alone` finds programs that are left
}

#[procession::test]
async fn return_leaves_the_programs_of_the_process_running() {
    alone(
        "abort::return_leaves_the_programs_of_the_process_running",
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
async fn abort_handle_works_without_the_handle() {
    alone("abort::abort_handle_works_without_the_handle", async {
        let handle = parked_process().await;
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
    })
    .await;
}
