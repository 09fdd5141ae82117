//! The end of a process: what the task has left behind is done, and nothing delays it for ever.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(
    unsafe_code,
    reason = "a program may block signals, and have something done at its exit"
)]

mod deadline;
mod leftovers;
mod notes;

use std::cell::RefCell;
use std::sync::OnceLock;
use std::time::Duration;

use deadline::within;
use leftovers::alone;
use notes::{Board, Desk};
use procession::{Process, StartMethod};

fn parked() {
    loop {
        std::thread::park();
    }
}

/// A thread-local value whose end takes for ever is no reason to wait.
#[procession::test]
async fn a_thread_local_that_is_never_dropped_delays_nobody() {
    alone(
        "a_thread_local_that_is_never_dropped_delays_nobody",
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
    alone("what_a_program_arranges_for_its_end_is_done", async {
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
