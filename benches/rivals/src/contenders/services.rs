//! What services ask of a pool: an end to loops, limits, streams, cached arguments, metrics.

use std::future::poll_fn;
use std::pin::Pin;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use procession::memory::Shared;
use procession::{Cached, Emit, Pool, PoolBuilder, Run, StartMethod, TaskHandle};
use tokio::task::JoinHandle;

use crate::work::{self, DEPTH, LOOP_LIMIT, Message, QUEUED, READ_INTERVAL, SUBMITTERS, WORKERS};
use crate::{runtime, stopwatch, tree};

pub(crate) fn dropped_loop() -> Vec<f64> {
    dropped(StartMethod::ForkServer)
}

pub(crate) fn dropped_loop_of_exec() -> Vec<f64> {
    dropped(StartMethod::Exec)
}

/// From the end of a loop's time to the next task's result.
pub(crate) fn timed_out_loop() -> Vec<f64> {
    runtime::on_this_thread(async {
        let pool = &one_worker(Pool::builder());
        stopwatch::durations_since(|| async move {
            let (run, running_for) = looping(pool, Some(LOOP_LIMIT)).await;
            let due = Instant::now() - running_for + LOOP_LIMIT;
            assert!(run.await.is_err_and(|error| error.is_timed_out()));
            next(pool).await;
            due
        })
        .await
    })
}

pub(crate) fn refused_tasks() -> Vec<f64> {
    refused(Pool::builder().queue_limit(1))
}

pub(crate) fn refused_bytes() -> Vec<f64> {
    refused(Pool::builder().queue_bytes(8))
}

pub(crate) fn queued_memory() -> Vec<f64> {
    runtime::on_this_thread(async {
        let (pool, _running) = busy(Pool::builder()).await;
        let mut handles = Vec::with_capacity(QUEUED);
        let before = tree::pss(process::id());
        submit(&pool, &mut handles, QUEUED);
        let after = tree::pss(process::id());
        // The list of handles is not touched before.
        let handle = size_of::<TaskHandle<u64>>() as f64;
        vec![(after - before) / QUEUED as f64 - handle]
    })
}

pub(crate) fn submission_growth() -> Vec<f64> {
    runtime::on_this_thread(async {
        let (pool, _running) = busy(Pool::builder()).await;
        let mut handles = Vec::with_capacity(QUEUED);
        let times: Vec<_> = (0..10)
            .map(|_| {
                let begun = work::cpu_time();
                submit(&pool, &mut handles, QUEUED / 10);
                (work::cpu_time() - begun).as_secs_f64()
            })
            .collect();
        vec![times[9] / times[0]]
    })
}

pub(crate) fn streamed_items() -> Vec<f64> {
    runtime::on_this_thread(async {
        let pool = &one_worker(Pool::builder());
        stopwatch::rates_awaited(|items| async move {
            let stream = pool.stream(emit_all, items).buffer(DEPTH);
            let received = stream.map(|item| item.expect("it does not fail"));
            assert_eq!(received.count().await as u64, items);
        })
        .await
    })
}

pub(crate) fn cached_argument() -> Vec<f64> {
    runtime::on_this_thread(async {
        let pool = &one_worker(Pool::builder());
        let big = Bytes::from(work::big());
        let cached = &pool.cache(&big).expect("there is memory");
        let with = || check_length(pool.run(|big: Cached<Bytes>| big.len() as u64, cached.clone()));
        let without = || check_length(pool.run(|| work::BIG as u64, ()));
        stopwatch::differences_awaited(with, without).await
    })
}

pub(crate) fn metrics() -> Vec<f64> {
    reads_under_load(|pool| drop(pool.metrics()))
}

pub(crate) fn workers() -> Vec<f64> {
    reads_under_load(|pool| drop(pool.workers()))
}

pub(crate) fn submitters_with_metrics() -> Vec<f64> {
    runtime::on_many(async {
        let pool = Pool::with_workers(WORKERS).expect("processes can be started");
        let observed = pool.clone();
        let reader = tokio::spawn(async move {
            let mut moments = tokio::time::interval(READ_INTERVAL);
            loop {
                moments.tick().await;
                drop(observed.metrics());
            }
        });
        let rates = rates_of_submitters(&pool).await;
        reader.abort();
        rates
    })
}

pub(crate) fn submitters_alone() -> Vec<f64> {
    runtime::on_many(async {
        let pool = Pool::with_workers(WORKERS).expect("processes can be started");
        rates_of_submitters(&pool).await
    })
}

async fn check_length(run: Run<u64>) {
    assert_eq!(run.await.expect("it does not fail"), work::BIG as u64);
}

fn dropped(method: StartMethod) -> Vec<f64> {
    runtime::on_this_thread(async {
        let pool = &one_worker(Pool::builder().start_method(method));
        stopwatch::durations_prepared(
            || looping(pool, None),
            |(run, _)| async move {
                drop(run);
                next(pool).await;
            },
        )
        .await
    })
}

fn refused(builder: PoolBuilder) -> Vec<f64> {
    runtime::on_this_thread(async {
        let (pool, _running) = busy(builder).await;
        let mut handles = Vec::new();
        while let Ok(handle) = pool.try_spawn(work::increment, 1) {
            handles.push(handle);
        }
        stopwatch::rates(|tasks| {
            for x in 0..tasks {
                assert!(pool.try_spawn(work::increment, x).is_err());
            }
        })
    })
}

/// How long `read` takes of a pool that submitters use.
fn reads_under_load(read: impl Fn(&Pool) + Send + Sync + 'static) -> Vec<f64> {
    runtime::on_many(async move {
        let pool = Pool::with_workers(WORKERS).expect("processes can be started");
        let submitters: Vec<JoinHandle<()>> = (0..SUBMITTERS)
            .map(|_| tokio::spawn(keep_submitting(pool.clone())))
            .collect();
        let samples = stopwatch::durations_prepared(
            || tokio::time::sleep(READ_INTERVAL),
            |()| {
                read(&pool);
                std::future::ready(())
            },
        );
        let samples = samples.await;
        submitters.iter().for_each(JoinHandle::abort);
        samples
    })
}

async fn rates_of_submitters(pool: &Pool) -> Vec<f64> {
    stopwatch::rates_awaited(|tasks| async move {
        let each = tasks / SUBMITTERS;
        let submitters = (0..SUBMITTERS).map(|_| tokio::spawn(run_all(pool.clone(), each)));
        for submitter in futures::future::join_all(submitters).await {
            submitter.expect("none panics");
        }
    })
    .await
}

async fn run_all(pool: Pool, tasks: u64) {
    for x in 0..tasks {
        next_of(&pool, x).await;
    }
}

async fn keep_submitting(pool: Pool) {
    loop {
        next(&pool).await;
    }
}

async fn next(pool: &Pool) {
    next_of(pool, 1).await;
}

async fn next_of(pool: &Pool, x: u64) {
    let next = pool.run(work::increment, x).await;
    assert_eq!(next.expect("it does not fail"), x + 1);
}

/// A pool of one worker, which is in a loop that ends with the call.
async fn busy(builder: PoolBuilder) -> (Pool, Run<()>) {
    let pool = one_worker(builder);
    let (run, _) = looping(&pool, None).await;
    (pool, run)
}

/// A call that is in its loop, and for how long it has been.
async fn looping(pool: &Pool, limit: Option<Duration>) -> (Run<()>, Duration) {
    let begun = Shared::new(AtomicU64::new(0)).expect("there is memory");
    let run = pool.run(work::spin_for_ever, begun.clone());
    let mut run = match limit {
        Some(limit) => run.timeout(limit),
        None => run,
    };
    loop {
        let polled = poll_fn(|context| Poll::Ready(Pin::new(&mut run).poll(context)));
        assert!(polled.await.is_pending());
        match begun.load(Ordering::Acquire) {
            0 => tokio::time::sleep(Duration::from_micros(100)).await,
            at => return (run, Duration::from_nanos(work::now() - at)),
        }
    }
}

fn one_worker(builder: PoolBuilder) -> Pool {
    let pool = builder.workers(1).build();
    pool.expect("processes can be started")
}

fn submit(pool: &Pool, handles: &mut Vec<TaskHandle<u64>>, count: usize) {
    handles.extend((0..count as u64).map(|x| pool.spawn(work::increment, x)));
}

async fn emit_all(emit: Emit<Message>, items: u64) {
    for _ in 0..items {
        emit.send(work::MESSAGE).await;
    }
}
