//! The executor is never blocked: whatever a pool is asked for, other tasks of the executor run meanwhile.
//!
//! The executor has one thread. A task of it counts how often it was run. Work that takes as long as this count stands
//! still never ends if it is done on that thread.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::{StreamExt as _, poll};
use procession::{Emit, Pool, StartMethod};
use rustix::process::Signal;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;

use crate::deadline::{LIMIT, until, within};
use crate::leftovers::alone;
use crate::leftovers::processes::{ProcessInfo, children, signal_if_running};
use crate::pools::{all_idle, idle, ready};
use crate::tasks::pid;
use crate::{echo, made};

/// How often the executor has run the counting task.
static BEATS: AtomicU64 = AtomicU64::new(0);

/// The thread of the executor. Not set in workers.
static EXECUTOR: OnceLock<ThreadId> = OnceLock::new();

/// How many large values were encoded on other threads of the application.
static ENCODED: AtomicU64 = AtomicU64::new(0);

/// After so many beats other tasks have run.
const ENOUGH: u64 = 20;

/// More than a pool encodes or decodes on the executor's thread.
const LARGE: usize = 4 << 20;

fn beats() -> u64 {
    BEATS.load(Ordering::Relaxed)
}

/// Runs `body` while a task of the same executor counts. Ends this process if that task is not run any more.
async fn counting(body: impl Future<Output = ()>) {
    EXECUTOR.set(thread::current().id()).unwrap();
    let beating = tokio::spawn(async {
        loop {
            BEATS.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let watching = thread::spawn(move || {
        let mut before = 0;
        while is_done.recv_timeout(LIMIT).is_err_and(is_timeout) {
            if beats() == before {
                eprintln!("the executor has run no other task for {LIMIT:?}");
                std::process::abort();
            }
            before = beats();
        }
    });
    body.await;
    drop(done);
    watching.join().unwrap();
    beating.abort();
    let _ = beating.await;
}

fn is_timeout(error: std::sync::mpsc::RecvTimeoutError) -> bool {
    error == std::sync::mpsc::RecvTimeoutError::Timeout
}

/// The executor runs other tasks now.
async fn others_run() {
    let before = beats();
    while beats() < before + ENOUGH {
        tokio::task::yield_now().await;
    }
}

/// Blocks this thread until the executor has run other tasks. In a worker it returns at once.
///
/// # Errors
///
/// This is the thread of the executor.
fn wait_for_others() -> Result<(), &'static str> {
    match EXECUTOR.get() {
        None => return Ok(()),
        Some(executor) if *executor == thread::current().id() => {
            return Err("it is done on the executor's thread");
        }
        Some(_) => {}
    }
    let (before, end) = (beats(), Instant::now() + LIMIT / 2);
    while beats() < before + ENOUGH {
        if Instant::now() > end {
            return Err("the executor runs no other task meanwhile");
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// A large value. In the application, its encoding and its decoding wait for other tasks.
#[derive(Debug)]
struct Gated(ByteBuf);

impl Gated {
    fn large() -> Self {
        Self(made(7, LARGE))
    }
}

/// Encoded behind the bytes of a [`Gated`].
#[derive(Debug)]
struct Gate;

impl Serialize for Gated {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.0, Gate).serialize(serializer)
    }
}

impl Serialize for Gate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // On the executor's thread a value is encoded up to its limit there, and its length is counted.
        if let Ok(()) = wait_for_others() {
            ENCODED.fetch_add(1, Ordering::Relaxed);
        }
        serializer.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for Gated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (bytes, Gate) = Deserialize::deserialize(deserializer)?;
        Ok(Self(bytes))
    }
}

impl<'de> Deserialize<'de> for Gate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u8::deserialize(deserializer)?;
        wait_for_others().map_err(D::Error::custom)?;
        Ok(Self)
    }
}

fn length(value: Gated) -> usize {
    value.0.len()
}

fn large() -> Gated {
    Gated::large()
}

fn take(_: Gated) {}

fn emit_large(emit: Emit<Gated>) {
    for _ in 0..3 {
        emit.blocking_send(large());
    }
}

#[procession::test]
async fn executor_runs_on_while_large_values_are_encoded_and_decoded() {
    let test = "executor_free::executor_runs_on_while_large_values_are_encoded_and_decoded";
    alone(test, counting(large_values())).await;
}

async fn large_values() {
    // The arguments of the initializer are encoded at every start, those of the exit function at every end.
    let pool = Pool::builder().workers(2).initializer(take, Gated::large());
    let pool = pool.worker_exit(length, Gated::large()).build().unwrap();
    all_idle(&pool, 2).await;
    assert_eq!(
        within(pool.run(length, Gated::large())).await.unwrap(),
        LARGE
    );
    assert_eq!(within(pool.run(large, ())).await.unwrap().0.len(), LARGE);
    let calls: Vec<_> = (0..4).map(|_| pool.spawn(length, Gated::large())).collect();
    assert!(within(join_all(calls)).await.iter().all(Result::is_ok));
    let items = (0..4).map(|_| Gated::large());
    assert_eq!(within(pool.map(length, items)).await.unwrap(), [LARGE; 4]);
    let lease = within(pool.worker()).await.unwrap();
    assert_eq!(
        within(lease.run(length, Gated::large())).await.unwrap(),
        LARGE
    );
    drop(lease);
    let lengths = within(pool.broadcast(length, Gated::large())).await;
    assert_eq!(lengths.unwrap(), [LARGE; 2]);
    let mut stream = pool.stream(emit_large, ());
    for _ in 0..3 {
        let item = within(stream.next()).await.unwrap().unwrap();
        assert_eq!(item.0.len(), LARGE);
    }
    assert!(within(stream.next()).await.is_none());
    drop(stream);
    within(pool.shutdown()).await;
    // For each worker its initializer, its exit function and the broadcast; ten other calls.
    let encoded = ENCODED.load(Ordering::Relaxed);
    assert!(encoded >= 2 * 3 + 10, "{encoded} were");
}

/// Stops all processes of this test, or lets them continue.
async fn stop_all(stops: bool) {
    let number = if stops { Signal::STOP } else { Signal::CONT };
    let send = |all: &[ProcessInfo]| all.iter().for_each(|it| signal_if_running(it.pid, number));
    let all = children();
    send(&all);
    if stops {
        let has_server = all.iter().any(ProcessInfo::is_fork_server);
        assert!(all.len() > 2 && has_server || executes(), "{all:?}");
        // The fork server may have made a spare before it was stopped.
        until(|| {
            let all = children();
            send(&all);
            all.iter().all(ProcessInfo::is_stopped)
        })
        .await;
    }
}

fn executes() -> bool {
    StartMethod::default() == StartMethod::Exec
}

fn emit_one(emit: Emit<u32>) {
    emit.blocking_send(1);
}

/// Asks for everything that a pool does, while nothing of it can be done. Returns what resolves when the processes
/// continue.
async fn ask_for_everything(pool: &Pool) -> impl Future<Output = ()> + use<> {
    let mut echoes = Vec::new();
    // The last ones do not fit a ring.
    for len in [0, 100, 50_000, 400_000, 3_000_000] {
        echoes.extend((0..20).map(|_| pool.spawn(echo, made(1, len))));
        others_run().await;
    }
    let mut dropped = Box::pin(pool.map(echo, (0..300).map(|_| made(2, 10_000))));
    assert!(poll!(dropped.next()).is_pending());
    let mut stream = Box::pin(pool.stream(emit_one, ()));
    assert!(poll!(stream.next()).is_pending());
    let mut lease = Box::pin(pool.worker());
    assert!(poll!(&mut lease).is_pending());
    let mut broadcast = Box::pin(pool.broadcast(pid, ()));
    assert!(poll!(&mut broadcast).is_pending());
    others_run().await;
    let mut restart = Box::pin(pool.restart_workers());
    // An executed worker starts and runs tasks: only a fork server can be stopped in the middle of a start.
    if !executes() {
        pool.resize(4);
        assert!(poll!(&mut restart).is_pending());
    }
    others_run().await;
    assert_eq!(pool.metrics().completed(), 0);
    assert!(pool.workers().len() >= 2);
    echoes.pop().unwrap().abort();
    echoes.swap_remove(0).abort();
    drop((dropped, stream, lease, broadcast));
    others_run().await;
    async move {
        let outcomes = join_all(echoes).await;
        assert!(outcomes.iter().all(Result::is_ok));
        restart.await;
    }
}

#[procession::test]
async fn executor_runs_on_while_all_processes_of_a_pool_are_stopped() {
    let test = "executor_free::executor_runs_on_while_all_processes_of_a_pool_are_stopped";
    alone(test, counting(stopped_processes())).await;
}

async fn stopped_processes() {
    let pool = ready(2).await;
    stop_all(true).await;
    let rest = ask_for_everything(&pool).await;
    stop_all(false).await;
    within(rest).await;
    within(pool.run(pid, ())).await.unwrap();
    idle(&pool).await;
    stop_all(true).await;
    let call = pool.spawn(pid, ());
    let mut shutdown = Box::pin(pool.shutdown());
    others_run().await;
    assert!(poll!(&mut shutdown).is_pending());
    within(pool.terminate()).await;
    within(shutdown).await;
    assert!(within(call).await.unwrap_err().is_cancelled());
    stop_all(false).await;
}

/// A dropped pool ends without being awaited.
#[procession::test]
async fn executor_runs_on_while_a_pool_of_stopped_processes_is_dropped() {
    let test = "executor_free::executor_runs_on_while_a_pool_of_stopped_processes_is_dropped";
    alone(test, counting(dropped_pool())).await;
}

async fn dropped_pool() {
    let pool = ready(2).await;
    let workers = crate::pools::pids(&pool);
    stop_all(true).await;
    drop(pool.spawn(echo, made(1, LARGE)));
    drop(pool);
    others_run().await;
    until(|| workers.iter().all(|&it| ProcessInfo::of(it).is_none())).await;
    stop_all(false).await;
}
