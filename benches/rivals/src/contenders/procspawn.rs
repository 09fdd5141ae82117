//! procspawn: the nearest rival. It blocks, so it is used without a runtime, which is its best.

use std::collections::{HashSet, VecDeque};
use std::iter;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use procspawn::{JoinHandle, Pool};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;

use crate::work::{self, APART, BACKLOG, BUSY_TASK, CROWD, LONG_TASK, SUBMITTERS, WORKERS};
use crate::{runtime, stopwatch, tree};

/// Tasks of a map that are under way. Each holds several descriptors in this process until it has
/// been joined, so that they cannot all be; more than this do not make it faster.
const IN_FLIGHT: usize = 64;

pub(crate) fn one_task() -> Vec<f64> {
    let pool = pool(WORKERS);
    stopwatch::durations(|| {
        assert_eq!(join(pool.spawn(1, work::increment)), 2);
    })
}

pub(crate) fn submitters() -> Vec<f64> {
    let pool = pool(WORKERS);
    stopwatch::rates(|tasks| {
        thread::scope(|scope| {
            for _ in 0..SUBMITTERS {
                scope.spawn(|| submit(&pool, tasks / SUBMITTERS));
            }
        });
    })
}

pub(crate) fn map_single() -> Vec<f64> {
    let pool = pool(WORKERS);
    stopwatch::rates(|items| {
        let results = map(&pool, 0..items, work::increment);
        assert_eq!(results.last(), Some(&items));
    })
}

pub(crate) fn start() -> Vec<f64> {
    stopwatch::durations(|| {
        assert_eq!(join(procspawn::spawn(1, work::increment)), 2);
    })
}

pub(crate) fn start_apart() -> Vec<f64> {
    stopwatch::durations_with(
        || std::thread::sleep(APART),
        |()| assert_eq!(join(procspawn::spawn(1, work::increment)), 2),
    )
}

pub(crate) fn start_from_large() -> Vec<f64> {
    let _ballast = work::ballast();
    start()
}

pub(crate) fn pool_life() -> Vec<f64> {
    stopwatch::durations(|| {
        let pool = pool(CROWD);
        use_all(&pool);
        pool.shutdown();
    })
}

pub(crate) fn big_argument() -> Vec<f64> {
    let pool = pool(WORKERS);
    let bytes = ByteBuf::from(work::big());
    // Copied beforehand: a caller that has no further use for its buffer copies nothing.
    stopwatch::durations_with(
        || bytes.clone(),
        |bytes| {
            let length = join(pool.spawn(bytes, |bytes: ByteBuf| work::length(&bytes)));
            assert_eq!(length, work::BIG as u64);
        },
    )
}

pub(crate) fn speedup() -> Vec<f64> {
    let through = |pool: Pool| {
        move |tasks: usize| {
            map(&pool, iter::repeat_n(LONG_TASK, tasks), work::burn);
        }
    };
    stopwatch::speedups(through(pool(1)), through(pool(2)))
}

pub(crate) fn timer() -> Vec<f64> {
    let pool = pool(WORKERS);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..BACKLOG {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    join(pool.spawn(BUSY_TASK, work::spin));
                }
            });
        }
        let samples = runtime::on_many(stopwatch::lateness());
        is_over.store(true, Ordering::Relaxed);
        samples
    })
}

pub(crate) fn memory() -> Vec<f64> {
    let pool = pool(CROWD);
    use_all(&pool);
    tree::pss_of_descendants()
}

pub(crate) fn wake_ups() -> Vec<f64> {
    let pool = pool(WORKERS);
    use_all(&pool);
    runtime::on_this_thread(tree::switches_while_idle())
}

fn pool(workers: usize) -> Pool {
    Pool::new(workers).expect("processes can be started")
}

fn join<R: Serialize + DeserializeOwned>(handle: JoinHandle<R>) -> R {
    handle.join().expect("nothing kills its workers")
}

/// Awaits `tasks` tasks, one after the other.
fn submit(pool: &Pool, tasks: u64) {
    for x in 0..tasks {
        join(pool.spawn(x, work::increment));
    }
}

/// The map that it does not have: a window of tasks over `items`, results in their order.
fn map<A, R>(pool: &Pool, items: impl Iterator<Item = A>, f: fn(A) -> R) -> Vec<R>
where
    A: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    let mut window = VecDeque::with_capacity(IN_FLIGHT);
    let mut results = Vec::new();
    for item in items {
        if window.len() == IN_FLIGHT {
            results.extend(window.pop_front().map(join));
        }
        window.push_back(pool.spawn(item, f));
    }
    results.extend(window.into_iter().map(join));
    results
}

/// Runs tasks until each worker has run one.
fn use_all(pool: &Pool) {
    let mut seen = HashSet::new();
    while seen.len() < pool.size() {
        seen.extend(map(pool, iter::repeat_n((), pool.size()), |()| {
            work::whoami()
        }));
    }
}
