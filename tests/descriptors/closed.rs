//! A task that closes all descriptors of its process has an outcome, in every case, and what it writes into
//! files that it then opens stays as it is.

#![allow(unsafe_code, reason = "no safe function closes foreign descriptors")]

use std::io::Write as _;
use std::os::fd::IntoRawFd as _;
use std::path::PathBuf;
use std::time::Duration;

use procession::{JoinError, Pool, Process, Receiver, StartMethod};
use serde::{Deserialize, Serialize};

use crate::asleep::wait_for_thread;
use crate::deadline::within;

const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Exec];

/// Where a test runs.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Place {
    process: u32,
    thread: u32,
}

fn here() -> Place {
    let thread = rustix::thread::gettid().as_raw_nonzero().get();
    Place {
        process: std::process::id(),
        thread: thread.unsigned_abs(),
    }
}

/// `test` is where the application waits.
fn close_all(test: Place) -> u32 {
    // Until it sleeps, and must be woken.
    wait_for_thread(test.process, test.thread);
    // SAFETY: what this process does with its descriptors afterwards is what the tests are about.
    unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    5
}

async fn close_all_and_wait(test: Place) {
    close_all(test);
    tokio::time::sleep(Duration::from_millis(10)).await;
}

/// A future that has waited often is looked at less often.
async fn wait_often_and_close_all(pause: Duration) {
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    std::thread::sleep(pause);
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    std::future::pending::<()>().await;
}

fn close_all_and_receive(test: Place, receiver: Receiver<u32>) -> bool {
    close_all(test);
    receiver.blocking_recv().is_ok()
}

/// The files get the numbers of what was closed.
fn close_all_and_write(test: Place, directory: PathBuf) -> u32 {
    close_all(test);
    for number in 0..16 {
        let mut file = std::fs::File::create(directory.join(number.to_string())).unwrap();
        file.write_all(b"mine").unwrap();
        let _ = file.into_raw_fd();
    }
    5
}

fn pool_by(method: StartMethod) -> Pool {
    let pool = Pool::builder().workers(1).start_method(method);
    pool.build().unwrap()
}

fn assert_told<T: std::fmt::Debug>(outcome: Result<T, JoinError>) {
    let error = outcome.unwrap_err();
    assert!(error.is_crashed() && error.started(), "{error}");
    assert!(
        error.to_string().contains("descriptors were closed"),
        "{error}"
    );
}

#[procession::test]
async fn worker_whose_descriptors_were_closed_is_replaced() {
    for method in METHODS {
        let pool = pool_by(method);
        assert_eq!(within(pool.run(|x: u32| x, 1)).await.unwrap(), 1);
        assert_told(within(pool.run(close_all, here())).await);
        assert_eq!(within(pool.run(|x: u32| x, 2)).await.unwrap(), 2);
        assert_told(within(pool.run(close_all_and_wait, here())).await);
        assert_eq!(within(pool.run(|x: u32| x, 3)).await.unwrap(), 3);
        for pause in [Duration::ZERO, Duration::from_millis(50)] {
            assert_told(within(pool.run(wait_often_and_close_all, pause)).await);
        }
        let (_sender, receiver) = procession::queue::<u32>(1).unwrap();
        assert_told(within(pool.run(close_all_and_receive, (here(), receiver))).await);
        // A result that needs a descriptor of its own.
        let large = |test: Place| {
            close_all(test);
            vec![1_u64; 1 << 20]
        };
        assert_told(within(pool.run(large, here())).await);
        // Of several items in one request, the items that have returned have their values.
        let _ = within(pool.map(close_all, [here(); 3]).chunk_size(3)).await;
        assert_eq!(within(pool.run(|x: u32| x, 4)).await.unwrap(), 4);
    }
}

#[procession::test]
async fn files_opened_after_all_was_closed_keep_their_contents() {
    for method in METHODS {
        let directory = std::env::temp_dir().join(format!(
            "procession-closed-{}-{method:?}",
            std::process::id()
        ));
        std::fs::create_dir_all(&directory).unwrap();
        let pool = pool_by(method);
        assert_told(within(pool.run(close_all_and_write, (here(), directory.clone()))).await);
        for number in 0..16 {
            let content = std::fs::read(directory.join(number.to_string())).unwrap();
            assert_eq!(content, b"mine", "file {number}");
        }
        let process = Process::builder().start_method(method);
        let single = process.spawn(close_all_and_write, (here(), directory.clone()));
        assert_eq!(within(single).await.unwrap(), 5);
        std::fs::remove_dir_all(directory).unwrap();
    }
}

#[procession::test]
async fn process_whose_descriptors_were_closed_has_an_outcome() {
    for method in METHODS {
        let process = || Process::builder().start_method(method);
        // Its only outcome needs no descriptor.
        assert_eq!(within(process().spawn(close_all, here())).await.unwrap(), 5);
        assert_told(within(process().spawn(close_all_and_wait, here())).await);
        let (_sender, receiver) = procession::queue::<u32>(1).unwrap();
        assert_told(within(process().spawn(close_all_and_receive, (here(), receiver))).await);
    }
}
