//! Limits: memory, descriptors, processor time, file size.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procession::{ErrorKind, StartMethod};
use rustix::process::{Resource, getrlimit};

use crate::deadline::within;
use crate::leftovers::alone;
use crate::{METHODS, MIB, by};

/// A file of this test alone.
pub(crate) fn scratch(name: &str, method: StartMethod) -> PathBuf {
    let name = format!("{name}-{method:?}-{}", std::process::id());
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn take(mebibytes: usize) -> usize {
    let taken = vec![1_u8; mebibytes << 20];
    std::hint::black_box(&taken).len()
}

#[procession::test]
async fn a_process_has_the_memory_it_may_have_and_no_more() {
    alone(
        "limits::a_process_has_the_memory_it_may_have_and_no_more",
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
                // One by one too.
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

/// Whoever is careful is told, and goes on.
#[procession::test]
async fn an_allocation_that_may_fail_is_an_error_there() {
    for method in METHODS {
        let careful = || Vec::<u8>::new().try_reserve(1 << 30).is_err();
        let handle = by(method).memory_limit(64 * MIB).spawn(careful, ());
        assert!(within(handle).await.unwrap());
    }
}

/// Only what ends for want of memory has exceeded it.
#[procession::test]
async fn an_abort_within_the_limit_is_a_crash() {
    for method in METHODS {
        let aborts = || -> () { std::process::abort() };
        let handle = by(method).memory_limit(64 * MIB).spawn(aborts, ());
        assert!(within(handle).await.unwrap_err().is_crashed());
        let panics = || -> () { panic!("plainly") };
        let handle = by(method).memory_limit(64 * MIB).spawn(panics, ());
        assert!(within(handle).await.unwrap_err().is_panic());
    }
}

/// As much as a limited process takes by itself must fit beside what it was given.
#[procession::test]
async fn a_small_limit_is_enough_for_small_things() {
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
async fn a_task_that_takes_too_much_fails_alone() {
    alone("limits::a_task_that_takes_too_much_fails_alone", async {
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
                    Err(error) => assert!(n == 50 && error.is_memory_exceeded(), "{n}: {error}"),
                }
            }
            within(pool.shutdown()).await;
        }
    })
    .await;
}

#[procession::test]
async fn limits_are_those_that_were_given() {
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
        assert_eq!(fsize, (Some(4096), Some(4096)));
        let own = getrlimit(Resource::Nofile).current;
        let free = || getrlimit(Resource::Nofile).current;
        assert_eq!(within(by(method).spawn(free, ())).await.unwrap(), own);
    }
}

#[procession::test]
async fn a_process_that_goes_beyond_a_limit_is_ended() {
    alone(
        "limits::a_process_that_goes_beyond_a_limit_is_ended",
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
                let error = within(handle).await.unwrap_err();
                let signal = error.signal().unwrap();
                assert!(
                    signal == libc::SIGXCPU || signal == libc::SIGKILL,
                    "{error}"
                );
                let path = scratch("large", method);
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
