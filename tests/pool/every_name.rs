//! All that a pool, its builder, its tasks and what they give back can be asked, by the names and types of the
//! contract.

use std::time::Duration;

use futures::StreamExt as _;
use procession::{
    Cached, Emit, Full, Histogram, JoinError, Map, Metrics, Output, Permit, Pool, PoolBuilder,
    PoolEvent, Priority, Run, ShutdownReport, StartMethod, TaskHandle, TaskId, TaskSet, TaskStream,
    WorkerInfo, WorkerState, task,
};

use crate::deadline::within;
use crate::{LONG, add};

fn load(text: String) -> Result<(), String> {
    match text.as_str() {
        "good" => Ok(()),
        other => Err(other.to_owned()),
    }
}

async fn connect(number: u32) {
    assert_eq!(number, 7);
}

/// A builder with every option that any pool can have.
fn with_all_options() -> PoolBuilder {
    Pool::builder()
        .workers(1)
        .min_workers(1)
        .max_workers(2)
        .idle_timeout(LONG)
        .name("thumbs")
        .start_method(StartMethod::ForkServer)
        .env("K", "V")
        .envs([("A", "B")])
        .current_dir("/")
        .env_per_worker(|number| [("NUMBER", number.to_string())])
        .cpu_affinity(0..1024)
        .descriptor_limit(512)
        .cpu_time_limit(LONG)
        .file_size_limit(1 << 30)
        .core_size_limit(0)
        .inner_threads(3)
        .output(Output::Inherit)
        .preload(load, "good".to_owned())
        .initializer(connect, 7)
        .task_timeout(LONG)
        .queue_timeout(LONG)
        .queue_limit(1024)
        .queue_bytes(256 << 20)
        .max_tasks_per_worker(1000)
        .max_worker_memory(1 << 40)
        .max_worker_age(LONG)
        .worker_exit(|| 5_u64, ())
        .tasks_per_worker(1)
        .memory_limit(1 << 40)
        .cancel_grace(Duration::from_millis(0))
        .retries(0)
        .retry_if(|error: &JoinError| error.is_crashed())
        .seed(1)
        .nice(5)
}

fn surroundings() -> [Option<String>; 4] {
    ["K", "A", "NUMBER", "OMP_NUM_THREADS"].map(|name| std::env::var(name).ok())
}

#[procession::test]
async fn every_option_of_a_builder_can_be_set_at_once() {
    let pool = with_all_options().build().unwrap();
    let found = within(pool.run(surroundings, ())).await.unwrap();
    let found = found.map(Option::unwrap);
    assert_eq!(found, ["V", "B", "0", "3"]);
    let cleared = with_all_options().env_clear().env("K", "W");
    let cleared = cleared.build().unwrap();
    let found = within(cleared.run(surroundings, ())).await.unwrap();
    assert_eq!((found[0].as_deref(), &found[1]), (Some("W"), &None));
    let report: ShutdownReport = within(pool.shutdown()).await;
    let results: Vec<u64> = report.results::<u64>();
    assert!(!results.is_empty() && results.iter().all(|it| *it == 5));
    within(cleared.shutdown_timeout(LONG)).await;
}

#[procession::test]
async fn every_form_of_a_call_gives_its_result() {
    let pool = Pool::builder().workers(2).queue_limit(64).build().unwrap();
    let run: Run<u64> = pool.run(add, (1, 2));
    let run = run.timeout(LONG).queue_timeout(LONG).retries(1);
    let run = run.priority(Priority::High).progress_timeout(LONG).key("k");
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let handle: TaskHandle<u64> = run.traceparent(parent).spawn();
    let _: TaskId = handle.id();
    let _ = (handle.is_finished(), handle.abort_handle());
    assert_eq!(within(handle).await.unwrap(), 3);
    let tried: Result<TaskHandle<u64>, Full<(u64, u64)>> = pool.try_spawn(add, (1, 2));
    assert_eq!(within(tried.unwrap()).await.unwrap(), 3);
    let permit: Permit = within(pool.reserve()).await.unwrap();
    assert_eq!(within(permit.run(add, (2, 2))).await.unwrap(), 4);
    let permit = within(pool.reserve()).await.unwrap();
    assert_eq!(within(permit.spawn(add, (2, 3))).await.unwrap(), 5);
    let cached: Cached<String> = pool.cache(&"text".to_owned()).unwrap();
    let len = pool.run(|text: Cached<String>| text.len(), cached.clone());
    assert_eq!((within(len).await.unwrap(), cached.len()), (4, 4));
    let lease = within(pool.worker()).await.unwrap();
    let pid: u32 = lease.pid();
    assert_eq!(within(lease.run(std::process::id, ())).await.unwrap(), pid);
    drop(lease);
    let all = within(pool.broadcast(std::process::id, ())).await.unwrap();
    assert!(all.len() == 2 && all.contains(&pid));
    let mut set = TaskSet::<u64>::new(&pool);
    set.spawn(add, (3, 3));
    assert_eq!(set.len(), 1);
    let next = within(set.join_next()).await;
    assert_eq!(next.unwrap().unwrap(), 6);
    set.abort_all();
    within(set.shutdown()).await;
}

async fn emit(emit: Emit<u64>, count: u64) {
    for n in 0..count {
        emit.send(n).await;
        task::alive();
    }
    assert!(!task::is_cancelled());
}

#[procession::test]
async fn every_option_of_a_stream_and_a_map_can_be_set_at_once() {
    let pool = Pool::with_workers(2).unwrap();
    let stream: TaskStream<u64> = pool.stream(emit, 5);
    let stream = stream.timeout(LONG).progress_timeout(LONG);
    let stream = stream.priority(Priority::Low).key(3).buffer(2);
    let items: Vec<Result<u64, JoinError>> = within(stream.collect::<Vec<_>>()).await;
    let items: Vec<_> = items.into_iter().map(Result::unwrap).collect();
    assert_eq!(items, [0, 1, 2, 3, 4]);
    let borrowed = [1_u64, 2, 3];
    let mut seen = 0;
    let map: Map<'_, u64> = pool.map(|x: u64| x * x, borrowed.iter().copied());
    let map = map.concurrency(2).chunk_size(1).timeout(LONG).retries(1);
    let map = map.backoff(Duration::from_millis(1), 2.0);
    let map = map.on_progress(|done: usize, total: Option<usize>| {
        seen = done;
        assert_eq!(total, Some(3));
    });
    assert_eq!(within(map).await.unwrap(), [1, 4, 9]);
    assert_eq!(seen, 3);
    let numbers = futures::stream::iter(0..4_u64);
    let map = pool.map_stream(|x: u64| x + 1, numbers).unordered();
    let mut all: Vec<u64> = within(map).await.unwrap();
    all.sort_unstable();
    assert_eq!(all, [1, 2, 3, 4]);
    let odd = |x: u64| assert_eq!(x % 2, 1);
    let all: Vec<Result<(), JoinError>> = within(pool.map(odd, 0..3).collect_all()).await;
    assert_eq!(
        all.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [false, true, false]
    );
}

#[procession::test]
async fn metrics_have_their_names_and_types() {
    let pool = Pool::with_workers(1).unwrap();
    within(pool.run(add, (1, 2))).await.unwrap();
    let metrics: Metrics = pool.metrics();
    let now: [usize; 4] = [
        metrics.workers(),
        metrics.busy(),
        metrics.queued(),
        metrics.running(),
    ];
    assert_eq!(now[0], 1);
    let so_far: [u64; 8] = [
        metrics.completed(),
        metrics.failed(),
        metrics.crashed(),
        metrics.timed_out(),
        metrics.cancelled(),
        metrics.retried(),
        metrics.recycled(),
        metrics.queued_bytes(),
    ];
    assert_eq!(so_far, [1, 0, 0, 0, 0, 0, 0, 0]);
    assert!((0.0..=1.0).contains(&metrics.utilisation()) && !metrics.breaker_open());
    for times in [metrics.wait_time(), metrics.run_time()] {
        let times: Histogram = times;
        let all: [Duration; 3] = [times.min(), times.mean(), times.percentile(99.0)];
        assert!(times.count() == 1 && all.iter().all(|it| *it <= times.max()));
    }
}

#[procession::test]
async fn worker_infos_have_their_names_and_types() {
    let pool = Pool::with_workers(1).unwrap();
    within(pool.run(add, (1, 2))).await.unwrap();
    let workers: Vec<WorkerInfo> = pool.workers();
    let worker = &workers[0];
    assert_eq!((worker.number(), worker.tasks_done()), (0, 1));
    let _: (Option<u32>, u64, Duration) = (worker.pid(), worker.memory(), worker.age());
    let _: (Option<TaskId>, Option<&str>) = (worker.current_task(), worker.current_function());
    let _: Option<Duration> = worker.running_for();
    assert!(matches!(
        worker.state(),
        WorkerState::Idle | WorkerState::Busy
    ));
}

#[procession::test]
async fn events_have_their_names_and_types() {
    let pool = Pool::with_workers(1).unwrap();
    let mut events = pool.events();
    within(pool.run(add, (1, 2))).await.unwrap();
    pool.resize(2);
    within(pool.restart_workers()).await;
    within(pool.terminate()).await;
    let mut exited = 0;
    while let Some(event) = within(events.next()).await {
        match event {
            PoolEvent::WorkerExited { cause } => exited += usize::from(cause.pid().is_some()),
            PoolEvent::BreakerOpened { cause } => panic!("{cause}"),
            PoolEvent::Missed(count) => panic!("{count} events were missed"),
            _ => {}
        }
    }
    assert!(exited >= 2);
}
