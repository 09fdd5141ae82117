//! The yardsticks: threads of this very process, by `spawn_blocking` and rayon.

use futures::future::join_all;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::task::spawn_blocking;

use crate::work::{self, BACKLOG, BUSY_TASK, ITEMS, LONG_TASK, SUBMITTERS, WORKERS};
use crate::{runtime, stopwatch, tree};

pub(crate) fn one_task() -> Vec<f64> {
    runtime::on_this_thread(one_task_awaited())
}

pub(crate) fn one_task_on_many() -> Vec<f64> {
    runtime::on_many(one_task_awaited())
}

pub(crate) fn submitters() -> Vec<f64> {
    runtime::on_this_thread(submitters_awaited())
}

pub(crate) fn submitters_on_many() -> Vec<f64> {
    runtime::on_many(submitters_awaited())
}

pub(crate) fn submitters_on_many_with_few_blocking() -> Vec<f64> {
    runtime::on_many_with_few_blocking(submitters_awaited())
}

pub(crate) fn map_single() -> Vec<f64> {
    let pool = threads(WORKERS);
    stopwatch::rates(|items| {
        let numbers = numbers(items).with_max_len(1);
        let results: Vec<u64> = pool.install(|| numbers.map(work::increment).collect());
        assert_eq!(results.last(), Some(&items));
    })
}

pub(crate) fn map_default() -> Vec<f64> {
    let pool = threads(WORKERS);
    stopwatch::items_per_second(stopwatch::durations(|| {
        let results: Vec<u64> = pool.install(|| numbers(ITEMS).map(work::increment).collect());
        assert_eq!(results.last(), Some(&ITEMS));
    }))
}

pub(crate) fn speedup() -> Vec<f64> {
    let through = |pool: ThreadPool| {
        move |tasks: usize| {
            pool.install(|| {
                (0..tasks)
                    .into_par_iter()
                    .with_max_len(1)
                    .for_each(|_| work::burn(LONG_TASK));
            });
        }
    };
    stopwatch::speedups(through(threads(1)), through(threads(2)))
}

pub(crate) fn timer_idle() -> Vec<f64> {
    runtime::on_many(stopwatch::lateness())
}

pub(crate) fn timer_saturated() -> Vec<f64> {
    runtime::on_many_with_few_blocking(async {
        let busy: Vec<_> = (0..BACKLOG).map(|_| tokio::spawn(keep_busy())).collect();
        let samples = stopwatch::lateness().await;
        busy.iter().for_each(tokio::task::JoinHandle::abort);
        samples
    })
}

pub(crate) fn wake_ups() -> Vec<f64> {
    runtime::on_this_thread(tree::switches_while_idle())
}

async fn one_task_awaited() -> Vec<f64> {
    stopwatch::durations_awaited(|| async {
        let result = spawn_blocking(|| work::increment(1))
            .await
            .expect("it does not panic");
        assert_eq!(result, 2);
    })
    .await
}

async fn submitters_awaited() -> Vec<f64> {
    stopwatch::rates_awaited(|tasks| async move {
        let submitters = (0..SUBMITTERS).map(|_| tokio::spawn(submit(tasks / SUBMITTERS)));
        join_all(submitters)
            .await
            .into_iter()
            .collect::<Result<(), _>>()
            .expect("none panics");
    })
    .await
}

async fn submit(tasks: u64) {
    for x in 0..tasks {
        spawn_blocking(move || work::increment(x))
            .await
            .expect("it does not panic");
    }
}

async fn keep_busy() {
    while spawn_blocking(|| work::spin(BUSY_TASK)).await.is_ok() {}
}

fn threads(count: usize) -> ThreadPool {
    ThreadPoolBuilder::new()
        .num_threads(count)
        .build()
        .expect("threads can be started")
}

/// The numbers below `end`, as an iterator that knows its length: rayon's of `u64` does not.
fn numbers(end: u64) -> impl IndexedParallelIterator<Item = u64> {
    (0..end as usize).into_par_iter().map(|x| x as u64)
}
