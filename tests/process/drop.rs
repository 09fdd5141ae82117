//! Handles that are dropped, with and without `kill_on_drop`, and handles in `select!`.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use procession::Process;
use tokio::io::AsyncWriteExt as _;

use crate::deadline::within;
use crate::leftovers::alone;
use crate::notes::scratch;
use crate::tasks::parked;
use crate::{read_line, say, say_and_park};

#[procession::test]
async fn handle_dropped_detaches() {
    alone("drop::handle_dropped_detaches", async {
        fn writes_when_told(path: PathBuf) {
            say("here");
            let told = io::read_to_string(io::stdin()).unwrap();
            std::fs::write(&path, told).unwrap();
        }
        let path = scratch("detached");
        let mut handle = Process::builder()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn(writes_when_told, path.clone());
        let mut stdin = handle.take_stdin().unwrap();
        let mut stdout = handle.take_stdout().unwrap();
        read_line(&mut stdout).await;
        let exited = handle.exited();
        drop(handle);
        within(stdin.write_all(b"still here")).await.unwrap();
        drop(stdin);
        assert!(within(exited).await.unwrap().success());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "still here");
        std::fs::remove_file(path).unwrap();
    })
    .await;
}

#[procession::test]
async fn kill_on_drop_kills() {
    alone("drop::kill_on_drop_kills", async {
        let mut handle = Process::builder()
            .kill_on_drop(false)
            .kill_on_drop(true)
            .stdout(Stdio::piped())
            .spawn(say_and_park, ());
        read_line(&mut handle.take_stdout().unwrap()).await;
        let exited = handle.exited();
        drop(handle);
        assert_eq!(within(exited).await.unwrap().signal(), Some(libc::SIGKILL));
    })
    .await;
}

#[procession::test]
async fn kill_on_drop_spares_a_process_that_returned() {
    alone("drop::kill_on_drop_spares_a_process_that_returned", async {
        let mut handle = Process::builder().kill_on_drop(true).spawn(|| 5, ());
        assert_eq!(within(&mut handle).await.unwrap(), 5);
        let exited = handle.exited();
        drop(handle);
        assert!(within(exited).await.unwrap().success());
    })
    .await;
}

/// Waits for a part of `limit` that depends on `n`.
async fn pause(n: u64, limit: Duration) {
    let thousandth = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 1000;
    let end = std::time::Instant::now() + limit * thousandth as u32 / 1000;
    // No timer: the resolution of a timer is as long as a start.
    while std::time::Instant::now() < end {
        tokio::task::yield_now().await;
    }
}

#[procession::test]
async fn kill_on_drop_at_any_moment_leaves_nothing() {
    alone("drop::kill_on_drop_at_any_moment_leaves_nothing", async {
        for n in 0..100 {
            let builder = Process::builder().kill_on_drop(true);
            let handle = match n % 3 {
                0 => builder.spawn(parked, ()),
                1 => builder
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn(parked, ()),
                _ => builder.spawn(|| (), ()),
            };
            pause(n, Duration::from_millis(8)).await;
            drop(handle);
        }
    })
    .await;
}

#[procession::test]
async fn handle_dropped_at_any_moment_leaves_nothing() {
    alone("drop::handle_dropped_at_any_moment_leaves_nothing", async {
        for n in 0..100 {
            let handle = match n % 2 {
                0 => procession::spawn(|| vec![1_u8; 100_000], ()),
                _ => Process::builder()
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn(Vec::new, ()),
            };
            pause(n, Duration::from_millis(8)).await;
            drop(handle);
        }
    })
    .await;
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn abort_at_any_moment_leaves_nothing() {
    alone("drop::abort_at_any_moment_leaves_nothing", async {
        for n in 0..100 {
            let mut handle = procession::spawn(|| 1, ());
            pause(n, Duration::from_millis(8)).await;
            handle.abort();
            match within(&mut handle).await {
                Ok(value) => assert_eq!(value, 1),
                Err(error) => assert!(error.is_cancelled(), "{error}"),
            }
        }
    })
    .await;
}

#[procession::test]
async fn handle_in_select_loses_nothing() {
    alone("drop::handle_in_select_loses_nothing", async {
        let all = || io::read_to_string(io::stdin()).unwrap();
        let mut handle = Process::builder().stdin(Stdio::piped()).spawn(all, ());
        let mut stdin = handle.take_stdin().unwrap();
        for _ in 0..20 {
            tokio::select! {
                biased;
                outcome = &mut handle => panic!("{outcome:?}"),
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
        }
        within(stdin.write_all(b"done")).await.unwrap();
        drop(stdin);
        assert_eq!(within(&mut handle).await.unwrap(), "done");
    })
    .await;
}
