//! procession's ways of starting processes, each by name: the default, which forks, and executing.

use std::sync::OnceLock;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use procession::{Pool, PoolBuilder, Process, StartMethod};
use rustix::process::{Pid, Signal, kill_process};

use crate::work::{self, APART, AT_ONCE, CROWD};
use crate::{runtime, stopwatch, tree};

pub(crate) fn fork() -> Vec<f64> {
    start(StartMethod::ForkServer)
}

/// No two in quick succession.
pub(crate) fn fork_apart() -> Vec<f64> {
    runtime::on_this_thread(stopwatch::durations_prepared(
        || tokio::time::sleep(APART),
        |()| one(StartMethod::ForkServer),
    ))
}

pub(crate) fn exec() -> Vec<f64> {
    start(StartMethod::Exec)
}

pub(crate) fn fork_from_large() -> Vec<f64> {
    let _ballast = work::ballast();
    fork()
}

pub(crate) fn exec_from_large() -> Vec<f64> {
    let _ballast = work::ballast();
    exec()
}

pub(crate) fn fork_many() -> Vec<f64> {
    many(StartMethod::ForkServer)
}

pub(crate) fn exec_many() -> Vec<f64> {
    many(StartMethod::Exec)
}

pub(crate) fn fork_replacement() -> Vec<f64> {
    replacement(StartMethod::ForkServer)
}

pub(crate) fn exec_replacement() -> Vec<f64> {
    replacement(StartMethod::Exec)
}

pub(crate) fn fork_holds() -> Vec<f64> {
    holds(StartMethod::ForkServer)
}

pub(crate) fn exec_holds() -> Vec<f64> {
    holds(StartMethod::Exec)
}

/// The memory of four workers and their server, with the loaded data: one sample.
pub(crate) fn loaded_memory() -> Vec<f64> {
    runtime::on_this_thread(async {
        let pool = loaded().build().expect("processes can be started");
        while pool
            .workers()
            .iter()
            .filter(|it| it.tasks_done() > 0)
            .count()
            < CROWD
        {
            let all = (0..CROWD).map(|_| pool.run(touch, ()));
            futures::future::try_join_all(all)
                .await
                .expect("none fails");
        }
        tokio::time::sleep(tree::REST).await;
        vec![tree::pss_of_descendants().iter().sum()]
    })
}

/// How long a worker takes to come that finds everything loaded.
pub(crate) fn loaded_replacement() -> Vec<f64> {
    runtime::on_this_thread(replaced(loaded().workers(1)))
}

fn loaded() -> PoolBuilder {
    let server = Pool::builder().start_method(StartMethod::ForkServer);
    server.workers(CROWD).preload(load, work::LOADED)
}

static LOADED: OnceLock<Vec<u8>> = OnceLock::new();

fn load(bytes: u64) {
    LOADED.get_or_init(|| vec![1; bytes as usize]);
}

fn touch() -> u64 {
    std::thread::sleep(Duration::from_millis(1));
    let loaded = LOADED.get().expect("it was loaded");
    loaded
        .iter()
        .step_by(4096)
        .map(|byte| u64::from(*byte))
        .sum()
}

fn start(method: StartMethod) -> Vec<f64> {
    runtime::on_this_thread(stopwatch::durations_awaited(|| one(method)))
}

async fn one(method: StartMethod) {
    let process = Process::builder()
        .start_method(method)
        .spawn(work::increment, 1);
    assert_eq!(process.await.expect("it does not fail"), 2);
}

fn many(method: StartMethod) -> Vec<f64> {
    runtime::on_this_thread(stopwatch::rates_awaited(|processes| {
        let all = stream::iter(0..processes).map(move |_| one(method));
        all.buffer_unordered(AT_ONCE).collect::<Vec<()>>()
    }))
}

fn replacement(method: StartMethod) -> Vec<f64> {
    runtime::on_this_thread(replaced(Pool::builder().workers(1).start_method(method)))
}

/// From the kill of a pool's only worker to the first result of its successor.
async fn replaced(pool: PoolBuilder) -> Vec<f64> {
    let pool = &pool.build().expect("processes can be started");
    stopwatch::durations_prepared(
        || async {
            let pid = pool.run(std::process::id, ()).await.expect("it is well");
            Pid::from_raw(pid as i32).expect("no process has the number 0")
        },
        |worker| async move {
            // Nothing runs there, so no task is lost by it.
            kill_process(worker, Signal::KILL).expect("it is a child of ours");
            while pool.run(work::increment, 1).await.is_err() {}
        },
    )
    .await
}

/// For how long the runtime's thread has computed whenever another task gets its turn, spawns going on.
fn holds(method: StartMethod) -> Vec<f64> {
    runtime::on_this_thread(async {
        let spawns = tokio::spawn(async move {
            loop {
                one(method).await;
            }
        });
        let samples = stopwatch::turns().await;
        spawns.abort();
        samples
    })
}
