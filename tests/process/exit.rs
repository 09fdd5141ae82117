//! The end of a process: how it is awaited, what runs at exit, and what does not delay it.

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

use crate::deadline::within;
use crate::leftovers::alone;
use crate::notes::{Board, Notes};
use crate::parked_process;
use crate::tasks::parked;

#[procession::test]
async fn exited_resolves_without_the_handle() {
    alone("exit::exited_resolves_without_the_handle", async {
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
        let [returned, exits, killed]: [_; 3] = within(join_all(ends)).await.try_into().unwrap();
        assert!(returned.unwrap().success());
        assert_eq!(exits.unwrap().code(), Some(7));
        // The process was aborted before its start, so it has no exit status.
        killed.unwrap_err();
        assert!(within(again).await.unwrap().success());
    })
    .await;
}

#[procession::test]
async fn exited_tells_which_of_many_ended_first() {
    alone("exit::exited_tells_which_of_many_ended_first", async {
        let mut handles = Vec::new();
        for _ in 0..8 {
            handles.push(parked_process().await);
        }
        let mut running: Vec<_> = (0..handles.len()).collect();
        // In an order that differs from the order of the starts.
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
async fn is_finished_holds_once_the_handle_has_resolved() {
    for _ in 0..50 {
        let mut handle = procession::spawn(|| (), ());
        let (abort, mut exited) = (handle.abort_handle(), handle.exited());
        within(&mut handle).await.unwrap();
        assert!(handle.is_finished() && abort.is_finished());
        let status = (&mut exited).now_or_never();
        assert!(status.is_some_and(|status| status.unwrap().success()));
    }
}

/// The result does not wait for a program that still has the streams of the child open.
#[procession::test]
async fn handle_does_not_wait_for_programs_left_behind() {
    alone(
        "exit::handle_does_not_wait_for_programs_left_behind",
        async {
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
        },
    )
    .await;
}

/// Threads, blocking calls and tasks that still run when the function has returned end with the process.
#[procession::test]
async fn handle_does_not_wait_for_unfinished_threads_and_tasks() {
    alone(
        "exit::handle_does_not_wait_for_unfinished_threads_and_tasks",
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

/// The destructors of thread-local values have a time limit.
#[procession::test]
async fn exit_does_not_wait_for_an_endless_destructor() {
    alone(
        "exit::exit_does_not_wait_for_an_endless_destructor",
        async {
            struct Endless;
            impl Drop for Endless {
                fn drop(&mut self) {
                    parked();
                }
            }
            fn returns(blocks_signals: bool) -> u32 {
                if blocks_signals {
                    block_signals();
                }
                thread_local!(static ENDLESS: Endless = const { Endless });
                ENDLESS.with(|_| 5)
            }
            for blocks_signals in [false, true] {
                let process = procession::spawn(returns, blocks_signals);
                let end = process.exited();
                assert_eq!(within(process).await.unwrap(), 5);
                assert_eq!(end.await.unwrap().code(), Some(0));
            }
        },
    )
    .await;
}

/// Blocks all signals.
fn block_signals() {
    // SAFETY: all-zero is a valid set of signals.
    let mut all = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a local variable.
    unsafe { libc::sigfillset(&raw mut all) };
    // SAFETY: both pointers are valid: one to a local variable, one null, which is allowed.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut()) };
}

/// Destructors of thread-local values have a time limit; `atexit` handlers have none.
#[procession::test]
async fn exit_runs_destructors_and_atexit_handlers() {
    alone("exit::exit_runs_destructors_and_atexit_handlers", async {
        #[derive(Debug)]
        struct Note(Notes);
        impl Drop for Note {
            fn drop(&mut self) {
                self.0.write("end", "thread-local");
            }
        }
        static NOTES: OnceLock<Notes> = OnceLock::new();
        extern "C" fn slowly() {
            std::thread::sleep(Duration::from_millis(500));
            NOTES.get().unwrap().write("end", "exit");
        }
        fn arranges(notes: Notes) -> u32 {
            thread_local!(static NOTE: RefCell<Option<Note>> = const { RefCell::new(None) });
            NOTE.set(Some(Note(notes.clone())));
            NOTES.set(notes).unwrap();
            // SAFETY: the function lives as long as the process.
            unsafe {
                libc::atexit(slowly);
            }
            6
        }
        let ends = async |method| {
            let board = Board::new();
            let process = Process::builder()
                .start_method(method)
                .spawn(arranges, board.notes());
            let end = process.exited();
            assert_eq!(within(process).await.unwrap(), 6);
            assert_eq!(end.await.unwrap().code(), Some(0));
            board.read("end")
        };
        for method in [StartMethod::ForkServer, StartMethod::Exec] {
            let mut ended = ends(method).await;
            // A machine under load may not let the destructor run within its limit: not again and again.
            for _ in 0..4 {
                if ended.len() < 2 {
                    ended = ends(method).await;
                }
            }
            assert_eq!(ended, ["thread-local", "exit"]);
        }
    })
    .await;
}
