//! A shortage of descriptors is an error that leaves nothing, and passes with the shortage.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use bytes::Bytes;
use futures::future::join_all;
use procession::{ErrorKind, JoinError, Process, ProcessHandle, spawn};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt as _;

use crate::deadline::within;
use crate::descriptors;
use crate::leftovers::{Census, alone};

/// Lowers the limit and takes descriptors until a given number is left. Dropping the value undoes it.
pub(crate) struct Shortage {
    before: Rlimit,
    _taken: Vec<OwnedFd>,
}

impl Shortage {
    pub(crate) fn with_free(free: usize) -> Self {
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
async fn shortage_leaves_exactly_the_given_number() {
    let test = "shortage::shortage_leaves_exactly_the_given_number";
    alone(test, async {
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

/// Starts processes with one more free descriptor each time until one succeeds. At no step does a start hang or leave
/// anything, and after each failure a start without the shortage works. Returns how many descriptors were enough.
async fn start_until_enough<T>(
    start: impl Fn(usize) -> ProcessHandle<T>,
    check: impl Fn(&JoinError, usize),
) -> (T, usize) {
    let before = Census::now();
    for free in 0..100 {
        let shortage = Shortage::with_free(free);
        let outcome = within(start(free)).await;
        drop(shortage);
        before.assert_none().await;
        match outcome {
            Ok(value) => return (value, free),
            Err(error) => check(&error, free),
        }
        assert_eq!(within(spawn(|| 6, ())).await.unwrap(), 6);
    }
    panic!("a start takes more than 100 descriptors");
}

#[procession::test]
async fn process_start_fails_at_each_step_that_needs_a_descriptor() {
    let test = "shortage::process_start_fails_at_each_step_that_needs_a_descriptor";
    alone(test, async {
        let start = |_| spawn(|| 5, ());
        let (value, enough) = start_until_enough(start, assert_could_not_start).await;
        assert_eq!(value, 5);
        assert!(enough > 0);
    })
    .await;
}

/// The helper process that resolves an opaque stdin needs descriptors as well.
#[procession::test]
async fn process_start_with_streams_fails_at_each_step_that_needs_a_descriptor() {
    let test = "shortage::process_start_with_streams_fails_at_each_step_that_needs_a_descriptor";
    alone(test, async {
        for streams in 1..=3 {
            let start = |_| {
                let mut builder = Process::builder().stdin(Stdio::piped());
                if streams > 1 {
                    builder = builder.stdout(Stdio::piped());
                }
                if streams > 2 {
                    builder = builder.stderr(Stdio::piped());
                }
                builder.spawn(|| 5, ())
            };
            let (value, _) = start_until_enough(start, assert_could_not_start).await;
            assert_eq!(value, 5);
        }
    })
    .await;
}

/// Each of the starts succeeds or is an error.
#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_starts_compete_for_the_last_descriptors() {
    let test = "shortage::process_starts_compete_for_the_last_descriptors";
    alone(test, async {
        let before = Census::now();
        let mut all = false;
        let mut free = 0;
        while !all {
            let shortage = Shortage::with_free(free);
            let starts = (0..4).map(|n| spawn(|n: u32| n, n));
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
    })
    .await;
}

/// Arguments and results in shared memory need descriptors when they are sent and when they arrive.
#[procession::test]
async fn large_values_fail_at_each_step_that_needs_a_descriptor() {
    let test = "shortage::large_values_fail_at_each_step_that_needs_a_descriptor";
    alone(test, async {
        let bytes = |free: usize| Bytes::from(vec![free as u8; 300_000]);
        let start = |free| spawn(|bytes: Bytes| bytes, bytes(free));
        // The process may have started before its value could not be sent.
        let check = |error: &JoinError, free: usize| {
            let kinds = [ErrorKind::Spawn, ErrorKind::Encode, ErrorKind::Decode];
            assert!(kinds.contains(&error.kind()), "with {free} free: {error}");
        };
        let (received, enough) = start_until_enough(start, check).await;
        assert!(received == bytes(enough));
    })
    .await;
}

/// The descriptors run out between the start of the process and its result.
#[procession::test]
async fn large_result_without_a_descriptor_is_an_error() {
    let test = "shortage::large_result_without_a_descriptor_is_an_error";
    alone(test, async {
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
        // Closing `stdin` freed one descriptor.
        let last = File::open("/dev/null");
        let outcome = within(handle).await;
        drop(shortage);
        if let Err(error) = &outcome {
            assert!(error.started(), "{error}");
            assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
        }
        drop((outcome, last));
        before.assert_none().await;
    })
    .await;
}
