//! What a call costs: `cargo bench`. For comparisons with others see `benches/rivals`.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark has no users")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use futures::future::join_all;
use procession::{Pool, Process, StartMethod};
use tokio::runtime::{Builder, Runtime};

const WORKERS: usize = 2;

fn increment(x: u64) -> u64 {
    x + 1
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn pool(runtime: &Runtime) -> Pool {
    let _inside = runtime.enter();
    Pool::with_workers(WORKERS).unwrap()
}

fn round_trip(c: &mut Criterion) {
    let runtime = runtime();
    let pool = pool(&runtime);
    c.bench_function("call, one at a time", |b| {
        b.to_async(&runtime)
            .iter(|| async { black_box(pool.run(increment, 1).await.unwrap()) });
    });
}

fn concurrent_callers(c: &mut Criterion) {
    let runtime = runtime();
    let pool = pool(&runtime);
    let mut group = c.benchmark_group("calls, concurrent");
    for callers in [4_u64, 64] {
        group.throughput(Throughput::Elements(callers));
        group.bench_with_input(BenchmarkId::from_parameter(callers), &callers, |b, &n| {
            b.to_async(&runtime)
                .iter(|| join_all((0..n).map(|x| pool.run(increment, x))));
        });
    }
}

/// What is shown of a pool, while calls are made.
fn metrics(c: &mut Criterion) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let pool = pool(&runtime);
    let load = runtime.spawn({
        let pool = pool.clone();
        async move { while pool.run(increment, 1).await.is_ok() {} }
    });
    c.bench_function("metrics, under load", |b| {
        b.iter(|| black_box(pool.metrics()));
    });
    load.abort();
}

fn maps(c: &mut Criterion) {
    const ITEMS: u64 = 100_000;
    let runtime = runtime();
    let pool = pool(&runtime);
    let mut group = c.benchmark_group("map of trivial items");
    group
        .sample_size(20)
        .throughput(Throughput::Elements(ITEMS));
    group.bench_function("one per message", |b| {
        b.to_async(&runtime)
            .iter(|| async { pool.map(increment, 0..ITEMS).chunk_size(1).await.unwrap() });
    });
    group.bench_function("by default", |b| {
        b.to_async(&runtime)
            .iter(|| async { pool.map(increment, 0..ITEMS).await.unwrap() });
    });
}

fn starts(c: &mut Criterion) {
    let runtime = runtime();
    c.bench_function("process: start by exec, run, join", |b| {
        b.to_async(&runtime).iter(|| async {
            let builder = Process::builder().start_method(StartMethod::Exec);
            builder.spawn(increment, 1).await.unwrap()
        });
    });
}

criterion_group!(calls, round_trip, concurrent_callers, metrics, maps, starts);

fn main() {
    procession::init();
    calls();
    Criterion::default().configure_from_args().final_summary();
}
