//! Signals that a handle sends to its process.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use futures::FutureExt as _;
use procession::{ErrorKind, Process, ProcessHandle};
use tokio::io::AsyncWriteExt as _;

use crate::asleep::process_stopped;
use crate::deadline::within;
use crate::leftovers::alone;
use crate::leftovers::processes::is_gone;
use crate::tasks::parked;
use crate::{parked_process, read_line, say};

#[procession::test]
async fn signal_ends_a_process_and_is_in_the_error() {
    alone(
        "signals::signal_ends_a_process_and_is_in_the_error",
        async {
            type Send = fn(&ProcessHandle<()>);
            let ways: [(Send, i32, &str); 6] = [
                (ProcessHandle::terminate, libc::SIGTERM, "SIGTERM"),
                (ProcessHandle::interrupt, libc::SIGINT, "SIGINT"),
                (
                    |handle| handle.signal(libc::SIGKILL),
                    libc::SIGKILL,
                    "SIGKILL",
                ),
                (
                    |handle| handle.signal(libc::SIGUSR1),
                    libc::SIGUSR1,
                    "SIGUSR1",
                ),
                (
                    |handle| handle.signal(libc::SIGVTALRM),
                    libc::SIGVTALRM,
                    "26",
                ),
                (
                    |handle| handle.signal(libc::SIGRTMIN() + 3),
                    libc::SIGRTMIN() + 3,
                    "37",
                ),
            ];
            for (send, signal, name) in ways {
                if is_ignored(signal) {
                    continue; // this process inherited that, and so does the child
                }
                let mut handle = parked_process().await;
                send(&handle);
                let error = within(&mut handle).await.unwrap_err();
                assert_eq!(
                    (error.kind(), error.signal()),
                    (ErrorKind::Crashed, Some(signal))
                );
                assert!(
                    error.started() && error.to_string().contains(name),
                    "{error}"
                );
                let status = within(handle.exited()).await.unwrap();
                assert_eq!(status.signal(), Some(signal));
            }
        },
    )
    .await;
}

/// Whether this process ignores `signal`. Background processes of a shell without job control ignore SIGINT.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = u64::from_str_radix(mask.unwrap().trim(), 16).unwrap();
    mask >> (signal - 1) & 1 == 1
}

#[procession::test]
async fn signal_can_be_handled_by_the_process() {
    alone("signals::signal_can_be_handled_by_the_process", async {
        async fn handled() -> String {
            use tokio::signal::unix::{SignalKind, signal};
            let mut terminate = signal(SignalKind::terminate()).unwrap();
            let mut interrupt = signal(SignalKind::interrupt()).unwrap();
            say("here");
            tokio::select! {
                _ = terminate.recv() => "terminated".to_owned(),
                _ = interrupt.recv() => "interrupted".to_owned(),
            }
        }
        type Send = fn(&ProcessHandle<String>);
        let ways: [(Send, &str); 2] = [
            (ProcessHandle::terminate, "terminated"),
            (ProcessHandle::interrupt, "interrupted"),
        ];
        for (send, expected) in ways {
            let mut handle = Process::builder().stdout(Stdio::piped()).spawn(handled, ());
            read_line(&mut handle.take_stdout().unwrap()).await;
            send(&handle);
            assert_eq!(within(handle).await.unwrap(), expected);
        }
    })
    .await;
}

#[procession::test]
async fn signal_sent_before_the_start_arrives() {
    alone("signals::signal_sent_before_the_start_arrives", async {
        let handle = procession::spawn(parked, ());
        assert_eq!(handle.pid(), None);
        handle.terminate();
        let error = within(handle).await.unwrap_err();
        assert_eq!(error.signal(), Some(libc::SIGTERM), "{error}");
    })
    .await;
}

#[procession::test]
async fn signal_that_is_invalid_or_too_late_is_ignored() {
    alone(
        "signals::signal_that_is_invalid_or_too_late_is_ignored",
        async {
            let mut handle = parked_process().await;
            for nothing in [0, -1, -libc::SIGKILL, 65, 9999, i32::MIN, i32::MAX] {
                handle.signal(nothing);
            }
            assert!(!is_gone(handle.pid().unwrap()));
            handle.signal(libc::SIGKILL);
            within(&mut handle).await.unwrap_err();
            handle.signal(libc::SIGKILL);
            handle.terminate();
            handle.interrupt();
            handle.abort();
        },
    )
    .await;
}

#[procession::test]
async fn signal_that_stops_a_process_does_not_end_it() {
    alone(
        "signals::signal_that_stops_a_process_does_not_end_it",
        async {
            let all = || {
                say("here");
                io::read_to_string(io::stdin()).unwrap()
            };
            let mut handle = Process::builder()
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn(all, ());
            let mut stdin = handle.take_stdin().unwrap();
            read_line(&mut handle.take_stdout().unwrap()).await;
            handle.signal(libc::SIGSTOP);
            let pid = handle.pid().unwrap();
            // Each thread stops for itself.
            process_stopped(pid).await;
            within(stdin.write_all(b"x")).await.unwrap();
            drop(stdin);
            assert!(handle.exited().now_or_never().is_none() && !handle.is_finished());
            handle.signal(libc::SIGCONT);
            assert_eq!(within(handle).await.unwrap(), "x");
            let stopped = parked_process().await;
            stopped.signal(libc::SIGSTOP);
            stopped.abort();
            assert!(within(stopped).await.unwrap_err().is_cancelled());
        },
    )
    .await;
}
