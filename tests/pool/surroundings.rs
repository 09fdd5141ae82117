//! What surrounds workers: environment, directory, processors, limits.

use std::time::{Duration, Instant};

use procession::{Pool, PoolBuilder, Process, StartMethod};

use crate::deadline::within;
use crate::notes::{Board, Notes};
use crate::tasks::{parked, pid, spin};

const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Exec];

fn variable(key: String) -> Option<String> {
    std::env::var(key).ok()
}

fn directory() -> String {
    std::env::current_dir().unwrap().display().to_string()
}

async fn has(pool: &Pool, key: &str) -> Option<String> {
    within(pool.run(variable, key.to_owned())).await.unwrap()
}

fn one(method: StartMethod) -> PoolBuilder {
    Pool::builder().workers(1).start_method(method)
}

#[procession::test]
async fn environment_and_directory_of_workers_are_the_pools() {
    for method in METHODS {
        let pool = one(method)
            .env("PROCESSION_A", "1")
            .envs([("PROCESSION_B", "2"), ("PROCESSION_A", "3")])
            .env_remove("PATH")
            .current_dir("/usr")
            .build()
            .unwrap();
        assert_eq!(has(&pool, "PROCESSION_A").await.as_deref(), Some("3"));
        assert_eq!(has(&pool, "PROCESSION_B").await.as_deref(), Some("2"));
        assert_eq!(has(&pool, "PATH").await, None);
        let found = within(pool.run(directory, ())).await;
        assert_eq!(found.unwrap(), "/usr");
    }
}

#[procession::test]
async fn environment_that_is_cleared_has_only_what_was_added() {
    let pool = Pool::builder()
        .workers(1)
        .env("PROCESSION_A", "1")
        .env_clear();
    let pool = pool.env("PROCESSION_B", "2").build().unwrap();
    assert_eq!(has(&pool, "PROCESSION_A").await, None);
    assert_eq!(has(&pool, "PROCESSION_B").await.as_deref(), Some("2"));
    assert_eq!(has(&pool, "PATH").await, None);
}

#[procession::test]
async fn directory_that_does_not_exist_is_named_to_every_task() {
    let pool = Pool::builder()
        .workers(2)
        .current_dir("/nowhere")
        .build()
        .unwrap();
    for _ in 0..3 {
        let error = within(pool.run(pid, ())).await.unwrap_err();
        assert!(error.is_spawn() && !error.started(), "{error}");
        assert!(error.to_string().contains("No such file"), "{error}");
    }
}

#[procession::test]
async fn limits_of_workers_are_the_pools_and_leave_no_core() {
    let limits = || -> (u64, Option<u64>, Option<u64>) {
        let soft = |limit| rustix::process::getrlimit(limit).current;
        use rustix::process::Resource;
        let descriptors = soft(Resource::Nofile).unwrap_or(u64::MAX);
        (descriptors, soft(Resource::Core), soft(Resource::Fsize))
    };
    for method in METHODS {
        let pool = one(method)
            .descriptor_limit(100)
            .file_size_limit(1 << 20)
            .build()
            .unwrap();
        let found = within(pool.run(limits, ())).await.unwrap();
        assert_eq!(found, (100, Some(0), Some(1 << 20)));
    }
    let own = rustix::process::getrlimit(rustix::process::Resource::Core).maximum;
    let pool = Pool::builder()
        .workers(1)
        .core_size_limit(4096)
        .build()
        .unwrap();
    let found = within(pool.run(limits, ())).await.unwrap();
    assert_eq!(found.1, Some(own.unwrap_or(u64::MAX).min(4096)));
}

#[procession::test]
async fn workers_run_on_the_processors_of_the_pool() {
    let usable = rustix::thread::sched_getaffinity(None).unwrap();
    let last = (0..1024)
        .rev()
        .find(|&processor| usable.is_set(processor))
        .unwrap();
    let pool = Pool::builder()
        .workers(1)
        .cpu_affinity([last])
        .build()
        .unwrap();
    let processors = || {
        let set = rustix::thread::sched_getaffinity(None).unwrap();
        (0..1024)
            .filter(|&it| set.is_set(it))
            .collect::<Vec<usize>>()
    };
    assert_eq!(within(pool.run(processors, ())).await.unwrap(), [last]);
}

#[procession::test]
async fn env_per_worker_follows_the_number_and_the_replacement_has_it_too() {
    let pool = Pool::builder()
        .workers(3)
        .env("PROCESSION_N", "overridden")
        .env_per_worker(|number| [("PROCESSION_N", (number * 10).to_string())])
        .build()
        .unwrap();
    let numbers = |notes: Notes| {
        let number = procession::current().worker_number().unwrap();
        notes.meet("here", "go");
        (number, std::env::var("PROCESSION_N").unwrap())
    };
    for round in 0..2 {
        let board = Board::new();
        let calls = [0; 3].map(|_| pool.spawn(numbers, board.notes()));
        board.lines("here", 3).await;
        board.write("go", 1);
        let mut found = Vec::new();
        for call in calls {
            found.push(within(call).await.unwrap());
        }
        found.sort();
        let expected = [0, 1, 2].map(|n| (n, (n * 10).to_string()));
        assert_eq!(found, expected, "round {round}");
        for worker in pool.workers() {
            let pid = rustix::process::Pid::from_raw(worker.pid().unwrap() as i32).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
    }
}

#[procession::test]
async fn env_per_worker_that_panics_is_named() {
    let fails = |_: usize| -> [(String, String); 0] { panic!("no device") };
    let pool = Pool::builder()
        .workers(1)
        .env_per_worker(fails)
        .build()
        .unwrap();
    let error = within(pool.run(pid, ())).await.unwrap_err();
    assert!(error.is_spawn(), "{error}");
    assert!(error.to_string().contains("env_per_worker"), "{error}");
}

#[procession::test]
async fn inner_threads_are_a_share_of_the_processors_unless_the_application_says() {
    let chosen = async |threads: Option<usize>| -> [Option<String>; 3] {
        let pool = Pool::builder().workers(2);
        let pool = match threads {
            Some(threads) => pool.inner_threads(threads),
            None => pool,
        };
        let pool = pool.env("RAYON_NUM_THREADS", "7").build().unwrap();
        [
            has(&pool, "OMP_NUM_THREADS").await,
            has(&pool, "RAYON_NUM_THREADS").await,
            has(&pool, "TOKIO_WORKER_THREADS").await,
        ]
    };
    let application = || {
        Process::builder()
            .env("TOKIO_WORKER_THREADS", "5")
            .env_remove("OMP_NUM_THREADS")
    };
    let text = |number: usize| Some(number.to_string());
    let share = (procession::cpu_count() / 2).max(1);
    for (given, expected) in [(None, share), (Some(3), 3), (Some(0), 1)] {
        let found = within(application().spawn(chosen, given)).await.unwrap();
        assert_eq!(found, [text(expected), text(7), text(5)]);
    }
}

#[procession::test]
async fn cpu_count_is_what_the_variable_says() {
    let counts = async || -> (usize, Result<usize, String>) {
        let pool = Pool::new().map(|pool| pool.workers().len());
        (
            procession::cpu_count(),
            pool.map_err(|error| error.to_string()),
        )
    };
    let with = |value: &str| {
        Process::builder()
            .env("PROCESSION_WORKERS", value)
            .spawn(counts, ())
    };
    assert_eq!(within(with("3")).await.unwrap(), (3, Ok(3)));
    let (count, pool) = within(with("many")).await.unwrap();
    assert_eq!(count, std::thread::available_parallelism().unwrap().get());
    let error = pool.unwrap_err();
    assert!(
        error.contains("PROCESSION_WORKERS") && error.contains("many"),
        "{error}"
    );
}

/// Uses processor time for `millis` milliseconds.
fn work(millis: u64) -> u32 {
    let used = || {
        let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
    };
    let end = used() + Duration::from_millis(millis);
    while used() < end {
        std::hint::spin_loop();
    }
    pid()
}

#[procession::test]
async fn cpu_time_limit_is_of_each_task_and_ends_it_as_timed_out() {
    for method in METHODS {
        let pool = one(method)
            .cpu_time_limit(Duration::from_millis(150))
            .build()
            .unwrap();
        let first = within(pool.run(work, 100)).await.unwrap();
        // Each item and each task counts for itself.
        let pids = within(pool.map(work, [100; 4]).chunk_size(4))
            .await
            .unwrap();
        assert_eq!(pids, [first; 4]);
        assert_eq!(within(pool.run(work, 100)).await.unwrap(), first);
        let begun = Instant::now();
        let error = within(pool.run(spin, ()).retries(3)).await.unwrap_err();
        assert!(error.is_timed_out() && error.started(), "{error}");
        assert!(error.to_string().contains("processor time"), "{error}");
        assert!(begun.elapsed() >= Duration::from_millis(125));
        let metrics = pool.metrics();
        assert_eq!(
            (metrics.timed_out(), metrics.retried(), metrics.crashed()),
            (1, 0, 0)
        );
        assert_ne!(within(pool.run(pid, ())).await.unwrap(), first);
    }
}

#[procession::test]
async fn cpu_time_limit_does_not_count_time_that_a_task_waits() {
    let pool = Pool::builder()
        .workers(1)
        .cpu_time_limit(Duration::from_millis(50))
        .build()
        .unwrap();
    let error = within(pool.run(parked, ()).timeout(Duration::from_millis(300)))
        .await
        .unwrap_err();
    assert!(error.is_timed_out(), "{error}");
    assert!(!error.to_string().contains("processor time"), "{error}");
}
