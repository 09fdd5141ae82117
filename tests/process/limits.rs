//! Limits of a process: memory, descriptors, processor time, file size. The same with every start method.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use procession::{ErrorKind, Sender};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::deadline::{LIMIT, within, within_limit};
use crate::leftovers::alone;
use crate::notes::scratch;
use crate::{METHODS, MIB, by};

fn take(mebibytes: usize) -> usize {
    let taken = vec![1_u8; mebibytes << 20];
    std::hint::black_box(&taken).len()
}

#[procession::test]
async fn memory_limit_ends_a_process_that_exceeds_it() {
    alone(
        "limits::memory_limit_ends_a_process_that_exceeds_it",
        async {
            for method in METHODS {
                let limited = || by(method).memory_limit(64 * MIB);
                assert_eq!(within(limited().spawn(take, 40)).await.unwrap(), 40 << 20);
                for much in [80, 100_000] {
                    let error = within(limited().spawn(take, much)).await.unwrap_err();
                    assert_eq!(
                        error.kind(),
                        ErrorKind::MemoryExceeded,
                        "{method:?}: {error}"
                    );
                    assert!(error.started() && error.is_memory_exceeded());
                }
                // The same by many small allocations.
                let piles = || -> usize {
                    let mut pile = Vec::new();
                    loop {
                        pile.push(vec![1_u8; 1000]);
                        std::hint::black_box(&pile);
                    }
                };
                let error = within(limited().spawn(piles, ())).await.unwrap_err();
                assert!(error.is_memory_exceeded(), "{method:?}: {error}");
                assert_eq!(error.signal(), Some(libc::SIGABRT));
            }
        },
    )
    .await;
}

/// A task that handles a failed allocation continues.
#[procession::test]
async fn memory_limit_lets_try_reserve_fail() {
    for method in METHODS {
        let careful = || Vec::<u8>::new().try_reserve(1 << 30).is_err();
        let handle = by(method).memory_limit(64 * MIB).spawn(careful, ());
        assert!(within(handle).await.unwrap());
    }
}

/// Only a failed allocation is reported as exceeded memory.
#[procession::test]
async fn memory_limit_does_not_change_other_failures() {
    for method in METHODS {
        let aborts = || -> () { std::process::abort() };
        let handle = by(method).memory_limit(64 * MIB).spawn(aborts, ());
        assert!(within(handle).await.unwrap_err().is_crashed());
        let panics = || -> () { panic!("plainly") };
        let handle = by(method).memory_limit(64 * MIB).spawn(panics, ());
        assert!(within(handle).await.unwrap_err().is_panic());
    }
}

/// The limit excludes the memory that the process itself needs.
#[procession::test]
async fn memory_limit_of_eight_mebibytes_is_enough_for_a_small_task() {
    for method in METHODS {
        async fn sleeps() -> u32 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            7
        }
        let handle = by(method).memory_limit(8 * MIB).spawn(sleeps, ());
        assert_eq!(within(handle).await.unwrap(), 7);
    }
}

#[procession::test]
async fn memory_limit_of_a_pool_fails_the_exceeding_task_only() {
    alone(
        "limits::memory_limit_of_a_pool_fails_the_exceeding_task_only",
        async {
            for method in METHODS {
                let pool = procession::Pool::builder()
                    .workers(2)
                    .start_method(method)
                    .memory_limit(64 * MIB)
                    .build()
                    .unwrap();
                let much = |n: usize| take(if n == 50 { 1000 } else { n % 8 });
                let map = pool.map(much, 0..100);
                let outcomes: Vec<_> = within(futures::StreamExt::collect(map)).await;
                for (n, outcome) in outcomes.into_iter().enumerate() {
                    match outcome {
                        Ok(taken) => assert_eq!(taken, (n % 8) << 20),
                        Err(error) => {
                            assert!(n == 50 && error.is_memory_exceeded(), "{n}: {error}");
                        }
                    }
                }
                within(pool.shutdown()).await;
            }
        },
    )
    .await;
}

/// What a task has handled says nothing about the crash of a later task.
#[procession::test]
async fn memory_limit_forgets_what_an_earlier_task_has_handled() {
    for method in METHODS {
        let pool = procession::Pool::builder()
            .workers(1)
            .start_method(method)
            .memory_limit(64 * MIB)
            .build()
            .unwrap();
        let careful = || Vec::<u8>::new().try_reserve(1 << 30).is_err();
        assert!(within(pool.run(careful, ())).await.unwrap());
        let aborts = || -> () { std::process::abort() };
        let error = within(pool.run(aborts, ())).await.unwrap_err();
        assert!(error.is_crashed(), "{method:?}: {error}");
    }
}

#[procession::test]
async fn limits_are_what_the_builder_was_given() {
    for method in METHODS {
        let look = || {
            let of = |resource| {
                let limit = getrlimit(resource);
                (limit.current, limit.maximum)
            };
            (
                of(Resource::Nofile),
                of(Resource::Core),
                of(Resource::Cpu),
                of(Resource::Fsize),
            )
        };
        let limited = by(method)
            .descriptor_limit(10)
            .descriptor_limit(100)
            .core_size_limit(0)
            .cpu_time_limit(Duration::from_millis(1500))
            .file_size_limit(4096);
        let (nofile, core, cpu, fsize) = within(limited.spawn(look, ())).await.unwrap();
        assert_eq!(nofile, (Some(100), Some(100)));
        assert_eq!(core, (Some(0), Some(0)));
        assert_eq!(cpu, (Some(2), Some(2)));
        // The hard limit stays, so that large results have their memory.
        assert_eq!(fsize, (Some(4096), getrlimit(Resource::Fsize).maximum));
        let own = getrlimit(Resource::Nofile).current;
        let free = || getrlimit(Resource::Nofile).current;
        assert_eq!(within(by(method).spawn(free, ())).await.unwrap(), own);
    }
}

#[procession::test]
async fn limits_of_time_and_file_size_end_a_process() {
    alone(
        "limits::limits_of_time_and_file_size_end_a_process",
        async {
            for method in METHODS {
                let spins = || -> () {
                    loop {
                        std::hint::spin_loop();
                    }
                };
                let handle = by(method)
                    .core_size_limit(0)
                    .cpu_time_limit(Duration::from_secs(1))
                    .spawn(spins, ());
                // A second of a processor, of which a machine under load gives it a small share.
                let error = within_limit(4 * LIMIT, handle).await.unwrap_err();
                let signal = error.signal().unwrap();
                assert!(
                    signal == libc::SIGXCPU || signal == libc::SIGKILL,
                    "{error}"
                );
                let path = scratch(&format!("large-{method:?}"));
                let writes = |path: PathBuf| {
                    let mut file = std::fs::File::create(path).unwrap();
                    file.write_all(&[0; 100_000]).unwrap();
                };
                let handle = by(method)
                    .core_size_limit(0)
                    .file_size_limit(10_000)
                    .spawn(writes, path.clone());
                let error = within(handle).await.unwrap_err();
                assert_eq!(error.signal(), Some(libc::SIGXFSZ), "{error}");
                std::fs::remove_file(path).unwrap();
            }
        },
    )
    .await;
}

fn large() -> Bytes {
    Bytes::from(vec![7; 4 << 20])
}

/// The limit is one on files. The signal of a file that is too large would end the process.
#[procession::test]
async fn file_size_limit_does_not_count_results_and_channels() {
    for method in METHODS {
        for limit in [0, 4096, MIB] {
            let limited = || by(method).file_size_limit(limit);
            let result = within(limited().spawn(large, ())).await.unwrap();
            assert_eq!(result.len(), 4 << 20);
            let has_queue = || procession::queue::<u32>(16).is_ok();
            assert!(within(limited().spawn(has_queue, ())).await.unwrap());
            let send = |tx: Sender<Bytes>| tx.blocking_send(large()).is_ok();
            let (tx, rx) = procession::queue::<Bytes>(4).unwrap();
            let sending = limited().spawn(send, tx);
            assert_eq!(within(rx.recv()).await.unwrap().len(), 4 << 20);
            assert!(within(sending).await.unwrap());
        }
    }
}

/// An application of its own, whose limit is `bytes` of 1024 each, as by `ulimit -f`.
async fn application_with(bytes: u64, hard: bool) -> Vec<String> {
    let limit = Rlimit {
        current: Some(bytes << 10),
        maximum: hard.then_some(bytes << 10),
    };
    setrlimit(Resource::Fsize, limit).unwrap();
    let mut faults = Vec::new();
    let mut note = |what: &str, error: Option<String>| {
        faults.extend(error.map(|error| format!("{what}: {error}")));
    };
    match procession::queue::<Bytes>(4) {
        Ok((tx, rx)) => {
            let sent = within(tx.send(large())).await;
            if sent.is_ok() {
                assert_eq!(within(rx.recv()).await.unwrap().len(), 4 << 20);
            }
            note("a message", sent.err().map(|it| it.to_string()));
        }
        Err(error) => note("a queue", Some(error.to_string())),
    }
    let spawned = within(procession::spawn(large, ())).await;
    note("a process", spawned.err().map(|it| it.to_string()));
    match procession::Pool::with_workers(1) {
        Ok(pool) => {
            let result = within(pool.run(large, ())).await;
            note("a result", result.err().map(|it| it.to_string()));
            let len = |bytes: Bytes| bytes.len();
            let argument = within(pool.run(len, large())).await;
            note("an argument", argument.err().map(|it| it.to_string()));
        }
        Err(error) => note("a pool", Some(error.to_string())),
    }
    faults
}

#[procession::test]
async fn application_under_a_limit_of_file_sizes_works_or_says_what_is_missing() {
    for method in METHODS {
        let application = || by(method).core_size_limit(0);
        let soft = application().spawn(application_with, (500, false));
        assert_eq!(within(soft).await.unwrap(), Vec::<String>::new());
        for bytes in [0, 64, 500] {
            let hard = application().spawn(application_with, (bytes, true));
            // A privileged application lifts the hard limit, too.
            for fault in within(hard).await.unwrap() {
                assert!(fault.contains("the limit on the size of files"), "{fault}");
            }
        }
    }
}
