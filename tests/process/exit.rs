//! The end of a process: how it is awaited, and what does not delay it.

#![allow(
    unsafe_code,
    reason = "a program may block signals, and have something done at its exit"
)]

use std::cell::RefCell;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{join_all, select_all};
use procession::{Process, ProcessHandle, StartMethod};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::busy;
use crate::deadline::within;
use crate::leftovers::alone;
use crate::notes::{Board, Desk};
use crate::tasks::parked;

#[procession::test]
async fn its_end_can_be_awaited_apart_from_its_result() {
    alone(
        "exit::its_end_can_be_awaited_apart_from_its_result",
        async {
            let returned = procession::spawn(|| 1, ());
            let exits = procession::spawn(|| -> u32 { std::process::exit(7) }, ());
            let killed = procession::spawn(
                || -> u32 {
                    parked();
                    0
                },
                (),
            );
            killed.abort();
            let ends = [&returned, &exits, &killed].map(ProcessHandle::exited);
            let again = returned.exited();
            drop((returned, exits, killed));
            let [returned, exits, killed]: [_; 3] =
                within(join_all(ends)).await.try_into().unwrap();
            assert!(returned.unwrap().success());
            assert_eq!(exits.unwrap().code(), Some(7));
            // Aborted before it had started: there is no process whose end it could be.
            killed.unwrap_err();
            assert!(within(again).await.unwrap().success());
        },
    )
    .await;
}

#[procession::test]
async fn the_first_of_many_to_end() {
    alone("exit::the_first_of_many_to_end", async {
        let mut handles = Vec::new();
        for _ in 0..8 {
            handles.push(busy().await);
        }
        let mut running: Vec<_> = (0..handles.len()).collect();
        // In an order that is not the one of their start.
        for chosen in [5, 0, 7, 1, 2, 6, 4, 3] {
            let ends: Vec<_> = running.iter().map(|n| handles[*n].exited()).collect();
            handles[chosen].terminate();
            let (status, index, _) = within(select_all(ends)).await;
            assert_eq!(running.remove(index), chosen);
            assert_eq!(status.unwrap().signal(), Some(libc::SIGTERM));
            within(&mut handles[chosen]).await.unwrap_err();
        }
        assert!(handles.iter().all(ProcessHandle::is_finished));
    })
    .await;
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_awaited_is_finished_for_everybody() {
    for _ in 0..50 {
        let mut handle = procession::spawn(|| (), ());
        let (abort, mut exited) = (handle.abort_handle(), handle.exited());
        within(&mut handle).await.unwrap();
        assert!(handle.is_finished() && abort.is_finished());
        let status = (&mut exited).now_or_never();
        assert!(status.is_some_and(|status| status.unwrap().success()));
    }
}

/// A result is there although what the child started still holds the child's streams.
#[procession::test]
async fn a_program_left_behind_delays_nobody() {
    alone("exit::a_program_left_behind_delays_nobody", async {
        fn leaves_one() -> u32 {
            let mut command = std::process::Command::new("sleep");
            command.arg("1000").spawn().unwrap().id()
        }
        let mut handle = Process::builder()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn(leaves_one, ());
        let stdout = handle.take_stdout().unwrap();
        let program = within(handle).await.unwrap();
        let mut lines = BufReader::new(stdout).lines();
        assert!(
            lines.next_line().now_or_never().is_none(),
            "the program has it still"
        );
        let pid = rustix::process::Pid::from_raw(program as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        assert_eq!(within(lines.next_line()).await.unwrap(), None);
    })
    .await;
}

/// What still runs in the child when the function has returned goes with it: a thread, a blocking
/// call of its runtime, a task.
#[procession::test]
async fn what_is_unfinished_in_the_child_delays_nobody() {
    alone(
        "exit::what_is_unfinished_in_the_child_delays_nobody",
        async {
            async fn returns() -> u32 {
                std::thread::spawn(parked);
                tokio::spawn(std::future::pending::<()>());
                let (started, starts) = tokio::sync::oneshot::channel();
                tokio::task::spawn_blocking(|| {
                    let _ = started.send(());
                    parked();
                });
                starts.await.unwrap();
                5
            }
            assert_eq!(within(procession::spawn(returns, ())).await.unwrap(), 5);
        },
    )
    .await;
}

/// A thread-local value whose end takes for ever is no reason to wait.
#[procession::test]
async fn a_thread_local_that_is_never_dropped_delays_nobody() {
    alone(
        "exit::a_thread_local_that_is_never_dropped_delays_nobody",
        async {
            struct Endless;
            impl Drop for Endless {
                fn drop(&mut self) {
                    parked();
                }
            }
            fn returns(deaf: bool) -> u32 {
                if deaf {
                    be_deaf();
                }
                thread_local!(static ENDLESS: Endless = const { Endless });
                ENDLESS.with(|_| 5)
            }
            for deaf in [false, true] {
                let process = procession::spawn(returns, deaf);
                let end = process.exited();
                assert_eq!(within(process).await.unwrap(), 5);
                assert_eq!(end.await.unwrap().code(), Some(0));
            }
        },
    )
    .await;
}

/// Lets no signal come any more.
fn be_deaf() {
    // SAFETY: all-zero is a valid set of signals.
    let mut all = unsafe { std::mem::zeroed() };
    // SAFETY: a set of this function's own.
    unsafe { libc::sigfillset(&raw mut all) };
    // SAFETY: likewise.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut()) };
}

/// Whatever a process leaves to be done at its end is done, and nobody hurries it but its thread-locals.
#[procession::test]
async fn what_a_program_arranges_for_its_end_is_done() {
    alone("exit::what_a_program_arranges_for_its_end_is_done", async {
        #[derive(Debug)]
        struct Note(Desk);
        impl Drop for Note {
            fn drop(&mut self) {
                self.0.write("end", "thread-local");
            }
        }
        static DESK: OnceLock<Desk> = OnceLock::new();
        extern "C" fn slowly() {
            std::thread::sleep(Duration::from_millis(500));
            DESK.get().unwrap().write("end", "exit");
        }
        fn arranges(desk: Desk) -> u32 {
            thread_local!(static NOTE: RefCell<Option<Note>> = const { RefCell::new(None) });
            NOTE.set(Some(Note(desk.clone())));
            DESK.set(desk).unwrap();
            // SAFETY: the function lives as long as the process.
            unsafe {
                libc::atexit(slowly);
            }
            6
        }
        for method in [StartMethod::ForkServer, StartMethod::Exec] {
            let board = Board::new();
            let process = Process::builder()
                .start_method(method)
                .spawn(arranges, board.desk());
            let end = process.exited();
            assert_eq!(within(process).await.unwrap(), 6);
            assert_eq!(end.await.unwrap().code(), Some(0));
            assert_eq!(board.read("end"), ["thread-local", "exit"]);
        }
    })
    .await;
}
