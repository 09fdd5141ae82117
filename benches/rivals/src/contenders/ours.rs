//! procession itself, through its public face only, as its documentation tells a user to.

use std::collections::HashSet;
use std::iter;

use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use procession::Pool;

use crate::work::{self, BACKLOG, BUSY_TASK, CROWD, ITEMS, LONG_TASK, SUBMITTERS, WORKERS};
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

pub(crate) fn map_single() -> Vec<f64> {
    runtime::on_this_thread(async {
        let pool = &pool(WORKERS);
        stopwatch::rates_awaited(|items| async move {
            let map = pool.map(work::increment, 0..items).chunk_size(1);
            let results = map.await.expect("no item fails");
            assert_eq!(results.last(), Some(&items));
        })
        .await
    })
}

pub(crate) fn map_default() -> Vec<f64> {
    let durations = runtime::on_this_thread(async {
        let pool = pool(WORKERS);
        stopwatch::durations_awaited(|| async {
            let results = pool
                .map(work::increment, 0..ITEMS)
                .await
                .expect("no item fails");
            assert_eq!(results.last(), Some(&ITEMS));
        })
        .await
    });
    stopwatch::items_per_second(durations)
}

pub(crate) fn pool_life() -> Vec<f64> {
    runtime::on_this_thread(stopwatch::durations_awaited(|| async {
        let pool = pool(CROWD);
        use_all(&pool, CROWD).await;
        pool.shutdown().await;
    }))
}

pub(crate) fn big_argument() -> Vec<f64> {
    runtime::on_this_thread(async {
        let pool = pool(WORKERS);
        let bytes = Bytes::from(work::big());
        stopwatch::durations_awaited(|| async {
            // A clone of `Bytes` is a reference: this is a caller that keeps its buffer.
            let task = pool.run(|bytes: Bytes| work::length(&bytes), bytes.clone());
            assert_eq!(task.await.expect("it does not fail"), work::BIG as u64);
        })
        .await
    })
}

pub(crate) fn speedup() -> Vec<f64> {
    runtime::on_this_thread(async {
        let (one, two) = (pool(1), pool(2));
        stopwatch::speedups_awaited(|tasks| burn_all(&one, tasks), |tasks| burn_all(&two, tasks))
            .await
    })
}

pub(crate) fn timer() -> Vec<f64> {
    runtime::on_many(async {
        let pool = pool(WORKERS);
        let busy: Vec<_> = (0..BACKLOG)
            .map(|_| tokio::spawn(keep_busy(pool.clone())))
            .collect();
        let samples = stopwatch::lateness().await;
        busy.iter().for_each(tokio::task::JoinHandle::abort);
        samples
    })
}

pub(crate) fn memory() -> Vec<f64> {
    runtime::on_this_thread(async {
        let pool = pool(CROWD);
        use_all(&pool, CROWD).await;
        tokio::time::sleep(tree::REST).await;
        pool.workers()
            .iter()
            .map(|worker| {
                worker
                    .pid()
                    .expect("a worker that has run a task has a process")
            })
            .map(tree::pss)
            .collect()
    })
}

pub(crate) fn wake_ups() -> Vec<f64> {
    runtime::on_this_thread(async {
        let pool = pool(WORKERS);
        use_all(&pool, WORKERS).await;
        tree::switches_while_idle().await
    })
}

async fn one_task_awaited() -> Vec<f64> {
    let pool = pool(WORKERS);
    stopwatch::durations_awaited(|| async {
        assert_eq!(
            pool.run(work::increment, 1)
                .await
                .expect("it does not fail"),
            2
        );
    })
    .await
}

async fn submitters_awaited() -> Vec<f64> {
    let pool = &pool(WORKERS);
    stopwatch::rates_awaited(|tasks| async move {
        let each = tasks / SUBMITTERS;
        let submitters = (0..SUBMITTERS).map(|_| tokio::spawn(submit(pool.clone(), each)));
        join_all(submitters)
            .await
            .into_iter()
            .collect::<Result<(), _>>()
            .expect("none panics");
    })
    .await
}

async fn submit(pool: Pool, tasks: u64) {
    for x in 0..tasks {
        pool.run(work::increment, x)
            .await
            .expect("it does not fail");
    }
}

async fn burn_all(pool: &Pool, tasks: usize) {
    let map = pool.map(work::burn, iter::repeat_n(LONG_TASK, tasks));
    map.await.expect("no item fails");
}

async fn keep_busy(pool: Pool) {
    while pool.run(work::spin, BUSY_TASK).await.is_ok() {}
}

fn pool(workers: usize) -> Pool {
    Pool::with_workers(workers).expect("processes can be started")
}

/// Runs tasks until each worker has run one.
async fn use_all(pool: &Pool, workers: usize) {
    let mut seen = HashSet::new();
    while seen.len() < workers {
        let tasks = (0..workers).map(|_| pool.run(work::whoami, ()));
        seen.extend(try_join_all(tasks).await.expect("none fails"));
    }
}
