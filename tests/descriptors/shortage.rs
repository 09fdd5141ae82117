//! A shortage of descriptors.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use bytes::Bytes;
use futures::future::join_all;
use procession::{ErrorKind, JoinError, Process};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt as _;

use crate::deadline::within;
use crate::descriptors;
use crate::leftovers::{Census, alone};

/// Takes all descriptors there are, so that exactly `free` more can be opened until it is dropped.
struct Shortage {
    before: Rlimit,
    _taken: Vec<OwnedFd>,
}

impl Shortage {
    fn with_free(free: usize) -> Self {
        let before = getrlimit(Resource::Nofile);
        let null = OwnedFd::from(File::open("/dev/null").unwrap());
        let highest = descriptors()
            .last()
            .map_or(0, |(number, _)| u64::from(*number));
        let limit = Rlimit {
            current: Some(highest + 1 + free as u64),
            ..before
        };
        setrlimit(Resource::Nofile, limit).unwrap();
        let mut taken = Vec::new();
        while let Ok(fd) = null.try_clone() {
            taken.push(fd);
        }
        taken.push(null);
        taken.truncate(taken.len() - free);
        Self {
            before,
            _taken: taken,
        }
    }
}

impl Drop for Shortage {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.before).unwrap();
    }
}

fn free_descriptors() -> usize {
    let null = OwnedFd::from(File::open("/dev/null").unwrap());
    let copies: Vec<_> = std::iter::from_fn(|| null.try_clone().ok()).collect();
    copies.len() + 1
}

#[procession::test]
async fn a_shortage_is_what_it_says() {
    alone("shortage::a_shortage_is_what_it_says", async {
        for free in 1..20 {
            let shortage = Shortage::with_free(free);
            assert_eq!(free_descriptors(), free);
            drop(shortage);
        }
        assert!(free_descriptors() > 20);
    })
    .await;
}

#[track_caller]
fn assert_could_not_start(error: &JoinError, free: usize) {
    assert_eq!(error.kind(), ErrorKind::Spawn, "with {free} free: {error}");
    assert!(!error.started() && error.pid().is_none(), "{error:?}");
}

/// With one descriptor after the other, until there are enough: at no step does it hang or leave
/// anything, and with enough it works.
#[procession::test]
async fn a_start_fails_at_every_step_at_which_descriptors_can_run_out() {
    alone(
        "shortage::a_start_fails_at_every_step_at_which_descriptors_can_run_out",
        async {
            let before = Census::now();
            let mut free = 0;
            loop {
                let shortage = Shortage::with_free(free);
                let outcome = within(procession::spawn(|| 5, ())).await;
                drop(shortage);
                before.assert_none().await;
                match outcome {
                    Ok(value) => break assert_eq!(value, 5),
                    Err(error) => assert_could_not_start(&error, free),
                }
                free += 1;
                assert!(free < 100, "a start takes more than {free} descriptors");
                assert_eq!(within(procession::spawn(|| 6, ())).await.unwrap(), 6);
            }
            assert!(free > 0);
        },
    )
    .await;
}

/// The same with pipes and with the process that finds out what an opaque stdin is.
#[procession::test]
async fn a_start_with_streams_fails_cleanly_too() {
    alone("shortage::a_start_with_streams_fails_cleanly_too", async {
        let before = Census::now();
        for streams in 1..=3 {
            let spawn = || {
                let mut builder = Process::builder().stdin(Stdio::piped());
                if streams > 1 {
                    builder = builder.stdout(Stdio::piped());
                }
                if streams > 2 {
                    builder = builder.stderr(Stdio::piped());
                }
                builder.spawn(|| 5, ())
            };
            let mut free = 0;
            loop {
                let shortage = Shortage::with_free(free);
                let outcome = within(spawn()).await;
                drop(shortage);
                before.assert_none().await;
                match outcome {
                    Ok(value) => break assert_eq!(value, 5),
                    Err(error) => assert_could_not_start(&error, free),
                }
                free += 1;
                assert!(free < 100, "a start takes more than {free} descriptors");
            }
        }
    })
    .await;
}

/// Several starts take each other's descriptors away. Each works or fails, and says so.
#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn starts_that_compete_for_the_last_descriptors() {
    alone(
        "shortage::starts_that_compete_for_the_last_descriptors",
        async {
            let before = Census::now();
            let mut all = false;
            let mut free = 0;
            while !all {
                let shortage = Shortage::with_free(free);
                let starts = (0..4).map(|n| procession::spawn(|n: u32| n, n));
                let outcomes = within(join_all(starts)).await;
                drop(shortage);
                all = outcomes.iter().all(Result::is_ok);
                for outcome in outcomes {
                    if let Err(error) = outcome {
                        assert_could_not_start(&error, free);
                    }
                }
                before.assert_none().await;
                free += 1;
                assert!(free < 200, "four starts take more than {free} descriptors");
            }
        },
    )
    .await;
}

/// A result in shared memory needs a descriptor when it arrives, when there may be none.
#[procession::test]
async fn large_values_while_descriptors_are_short() {
    alone(
        "shortage::large_values_while_descriptors_are_short",
        async {
            let before = Census::now();
            let mut free = 0;
            loop {
                let shortage = Shortage::with_free(free);
                let sent = Bytes::from(vec![free as u8; 300_000]);
                let outcome = within(procession::spawn(|bytes: Bytes| bytes, sent.clone())).await;
                drop(shortage);
                before.assert_none().await;
                match outcome {
                    Ok(bytes) => break assert!(bytes == sent),
                    // Its process may have started, and the value then not be carried.
                    Err(error) => assert!(
                        matches!(
                            error.kind(),
                            ErrorKind::Spawn | ErrorKind::Encode | ErrorKind::Decode
                        ),
                        "with {free} free: {error}"
                    ),
                }
                free += 1;
                assert!(free < 100, "a start takes more than {free} descriptors");
            }
        },
    )
    .await;
}

/// They run out after the start and before the result is there.
#[procession::test]
async fn a_large_result_that_cannot_be_taken_is_an_error() {
    alone(
        "shortage::a_large_result_that_cannot_be_taken_is_an_error",
        async {
            let before = Census::now();
            let large = || {
                io::read_to_string(io::stdin()).unwrap();
                Bytes::from(vec![1; 1 << 20])
            };
            let mut handle = Process::builder().stdin(Stdio::piped()).spawn(large, ());
            let mut stdin = handle.take_stdin().unwrap();
            within(stdin.write_all(b"x")).await.unwrap();
            let shortage = Shortage::with_free(0);
            within(stdin.shutdown()).await.unwrap();
            // Closing made room for one: take it as well.
            let last = File::open("/dev/null");
            let outcome = within(handle).await;
            drop(shortage);
            if let Err(error) = &outcome {
                assert!(error.started(), "{error}");
                assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
            }
            drop((outcome, last));
            before.assert_none().await;
        },
    )
    .await;
}
