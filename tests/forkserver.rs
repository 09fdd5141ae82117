//! Children that are forked: by a server that may die, that is prepared or not, and that shows its children
//! what the application is at that moment.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod deadline;
mod leftovers;
mod notes;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use deadline::{LIMIT, until, within, within_limit};
use futures::StreamExt as _;
use futures::future::{join_all, select_all};
use futures::stream::FuturesUnordered;
use leftovers::{Found, alone, everybody};
use notes::{Board, Desk};
use procession::{
    Descriptor, ErrorKind, Pool, PoolBuilder, Process, Receiver, Sender, StartMethod, queue,
};
use serde_bytes::ByteBuf;

fn parked() {
    loop {
        std::thread::park();
    }
}

fn forked() -> procession::ProcessBuilder {
    Process::builder().start_method(StartMethod::ForkServer)
}

/// The fork servers of this process.
fn servers() -> Vec<Found> {
    let mut servers = everybody();
    servers.retain(|found| found.parent == std::process::id() && found.is_fork_server());
    servers
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    // Does nothing if it is gone by itself.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

fn is_gone(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

#[procession::test]
async fn a_forked_child_is_the_applications_own() {
    let parent = || std::os::unix::process::parent_id();
    assert_eq!(
        within(forked().spawn(parent, ())).await.unwrap(),
        std::process::id()
    );
}

#[procession::test]
async fn a_killed_server_is_replaced() {
    alone("a_killed_server_is_replaced", async {
        for _ in 0..5 {
            assert_eq!(within(forked().spawn(|| 1, ())).await.unwrap(), 1);
            let [server] = &servers()[..] else {
                panic!("one server, not {:?}", servers());
            };
            kill(server.pid);
            assert_eq!(within(forked().spawn(|| 2, ())).await.unwrap(), 2);
            until(|| is_gone(server.pid)).await;
        }
    })
    .await;
}

#[procession::test]
async fn children_outlive_their_server() {
    alone("children_outlive_their_server", async {
        // A newborn looks like its server for a moment: so before there are any.
        let servers = servers();
        assert_eq!(servers.len(), 1);
        let handle = forked().spawn(parked, ());
        until(|| handle.pid().is_some()).await;
        for server in servers {
            kill(server.pid);
            until(|| is_gone(server.pid)).await;
        }
        let pid = handle.pid().unwrap();
        assert!(!is_gone(pid) && !handle.is_finished());
        handle.abort();
        assert!(within(handle).await.unwrap_err().is_cancelled());
        until(|| is_gone(pid)).await;
    })
    .await;
}

/// Killed at any moment, it costs nobody anything.
#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_while_it_forks() {
    alone("a_server_killed_while_it_forks", async {
        for round in 0..30 {
            // A newborn looks like its server for a moment: so while there are none.
            until(|| spares().is_empty() && servers().len() < 2).await;
            let servers = servers();
            let all = (0..10_u32).map(|n| forked().spawn(|n: u32| n, n));
            let all = tokio::spawn(join_all(all));
            tokio::time::sleep(Duration::from_micros(100 * round)).await;
            servers.iter().for_each(|server| kill(server.pid));
            for (n, outcome) in within(all).await.unwrap().into_iter().enumerate() {
                assert_eq!(outcome.unwrap() as usize, n);
            }
        }
    })
    .await;
}

/// A stopped server answers nobody; it is replaced, and whoever waited for it is served.
#[procession::test]
async fn a_stopped_server_is_replaced() {
    alone("a_stopped_server_is_replaced", async {
        assert_eq!(within(forked().spawn(|| 1, ())).await.unwrap(), 1);
        let before = servers();
        for server in &before {
            let pid = rustix::process::Pid::from_raw(server.pid.cast_signed()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        }
        let all = (0..20_u32).map(|n| forked().spawn(|n: u32| n, n));
        for (n, outcome) in within(join_all(all)).await.into_iter().enumerate() {
            assert_eq!(outcome.unwrap() as usize, n);
        }
        until(|| before.iter().all(|server| is_gone(server.pid))).await;
    })
    .await;
}

/// Two thousand, some at a time: nothing grows.
#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_leave_nothing() {
    alone("two_thousand_leave_nothing", async {
        let census = leftovers::Census::now();
        for round in 0..8_u64 {
            let numbers = round * 250..(round + 1) * 250;
            let all = numbers.clone().map(|n| forked().spawn(|n: u64| n * n, n));
            let mut all: FuturesUnordered<_> = all.collect();
            let mut sum = 0;
            while let Some(outcome) = within(all.next()).await {
                sum += outcome.unwrap();
            }
            assert_eq!(sum, numbers.map(|n| n * n).sum::<u64>());
            drop(all);
            census.assert_none().await;
        }
    })
    .await;
}

/// Lets this process have as many descriptors as it may.
fn raise_descriptor_limit() {
    let resource = rustix::process::Resource::Nofile;
    let mut limit = rustix::process::getrlimit(resource);
    limit.current = limit.maximum;
    rustix::process::setrlimit(resource, limit).unwrap();
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_at_once() {
    alone("a_thousand_at_once", async {
        raise_descriptor_limit();
        let handles: Vec<_> = (0..1000).map(|_| forked().spawn(parked, ())).collect();
        within_limit(
            3 * LIMIT,
            until(|| handles.iter().all(|it| it.pid().is_some())),
        )
        .await;
        assert!(procession::active_children().len() >= 1000);
        let mut all: FuturesUnordered<_> = handles.into_iter().collect();
        for handle in &all {
            handle.abort();
        }
        let mut ended = 0;
        while let Some(outcome) = within(all.next()).await {
            assert!(outcome.unwrap_err().is_cancelled());
            ended += 1;
        }
        assert_eq!(ended, 1000);
        assert!(procession::active_children().is_empty());
    })
    .await;
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_of_many_can_be_waited_for() {
    alone("any_of_many_can_be_waited_for", async {
        raise_descriptor_limit();
        let mut all: Vec<_> = (0..199).map(|_| forked().spawn(parked, ())).collect();
        all.insert(77, forked().spawn(|| (), ()));
        let (outcome, index, rest) = within(select_all(all)).await;
        outcome.unwrap();
        assert_eq!(index, 77);
        for handle in &rest {
            handle.abort();
        }
        for outcome in within(join_all(rest)).await {
            assert!(outcome.unwrap_err().is_cancelled());
        }
    })
    .await;
}

/// Nobody waits for them any more before it is even known whether they exist.
#[procession::test]
async fn dropped_while_they_are_forked_they_are_reaped() {
    alone("dropped_while_they_are_forked_they_are_reaped", async {
        for n in 0..20 {
            let end = std::thread::spawn(move || {
                let runtime = tokio::runtime::Runtime::new().unwrap();
                runtime.block_on(async {
                    let all: Vec<_> = (0..10).map(|_| forked().spawn(parked, ())).collect();
                    tokio::time::sleep(Duration::from_micros(100 * n)).await;
                    drop(all);
                });
            });
            within(tokio::task::spawn_blocking(|| end.join().unwrap()))
                .await
                .unwrap();
        }
    })
    .await;
}

#[procession::test]
async fn it_finds_what_the_application_is_at_that_moment() {
    alone("it_finds_what_the_application_is_at_that_moment", async {
        let look = || {
            (
                std::env::var("NEWS").ok(),
                std::env::current_dir().unwrap(),
                rustix::process::getrlimit(rustix::process::Resource::Core).current,
            )
        };
        for (news, directory) in [("one", "/"), ("two", "/proc"), ("three", "/")] {
            #[allow(unsafe_code, reason = "a program may change its environment")]
            // SAFETY: this process runs this test and nothing else that looks at its environment.
            unsafe {
                std::env::set_var("NEWS", news);
            }
            std::env::set_current_dir(directory).unwrap();
            let limit = rustix::process::Rlimit {
                current: Some(directory.len() as u64),
                ..rustix::process::getrlimit(rustix::process::Resource::Core)
            };
            let raised = rustix::process::setrlimit(rustix::process::Resource::Core, limit);
            let (seen, place, core) = within(forked().spawn(look, ())).await.unwrap();
            assert_eq!(seen.as_deref(), Some(news));
            assert_eq!(place, Path::new(directory));
            if raised.is_ok() {
                assert_eq!(core, limit.current);
            }
        }
    })
    .await;
}

/// More than one message holds.
#[procession::test]
async fn a_large_environment_arrives() {
    let value = "x".repeat(100_000);
    let handle = forked()
        .env("LARGE", &value)
        .env("MORE", &value)
        .spawn(|| std::env::var("LARGE").unwrap().len(), ());
    assert_eq!(within(handle).await.unwrap(), value.len());
}

#[procession::test]
async fn a_forked_child_forks() {
    alone("a_forked_child_forks", async {
        async fn grandparent(depth: u32) -> u32 {
            match depth {
                0 => 0,
                _ => {
                    let next = Process::builder().spawn(grandparent, depth - 1);
                    1 + Box::pin(next).await.unwrap()
                }
            }
        }
        assert_eq!(within(forked().spawn(grandparent, 3)).await.unwrap(), 3);
    })
    .await;
}

/// The application's own children are its own, and so is its handling of their ends.
#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_applications_own_children_are_left_alone() {
    use tokio::signal::unix::{SignalKind, signal};
    alone("the_applications_own_children_are_left_alone", async {
        let mut ended = signal(SignalKind::child()).unwrap();
        let mut plain = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let mut own = tokio::process::Command::new("sh")
            .args(["-c", "exit 3"])
            .spawn()
            .unwrap();
        let all = join_all((0..20).map(|n| forked().spawn(|n: i32| n, n)));
        assert!(within(all).await.into_iter().all(|it| it.is_ok()));
        assert_eq!(within(own.wait()).await.unwrap().code(), Some(3));
        within(ended.recv()).await.unwrap();
        assert!(plain.try_wait().unwrap().is_none());
        plain.kill().unwrap();
        assert!(!plain.wait().unwrap().success());
    })
    .await;
}

/// A program may have a handler of its own for the ends of children, or not want to hear of them.
#[procession::test]
async fn an_application_that_handles_or_ignores_sigchld() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static HEARD: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn count(_: libc::c_int) {
        HEARD.fetch_add(1, Ordering::Relaxed);
    }
    alone("an_application_that_handles_or_ignores_sigchld", async {
        for action in [count as *const () as usize, libc::SIG_IGN] {
            #[allow(unsafe_code, reason = "a program may have a handler of its own")]
            // SAFETY: the handler does nothing but count.
            let before = unsafe { libc::signal(libc::SIGCHLD, action) };
            let all = join_all((0..20).map(|n| forked().spawn(|n: i32| n, n)));
            for (n, outcome) in within(all).await.into_iter().enumerate() {
                assert_eq!(outcome.unwrap() as usize, n);
            }
            let aborts = || -> () { std::process::abort() };
            assert!(
                within(forked().spawn(aborts, ()))
                    .await
                    .unwrap_err()
                    .is_crashed()
            );
            #[allow(unsafe_code, reason = "a program may have a handler of its own")]
            // SAFETY: what was there before.
            unsafe {
                libc::signal(libc::SIGCHLD, before);
            }
        }
        assert!(HEARD.load(Ordering::Relaxed) > 0);
    })
    .await;
}

static LOADED: OnceLock<(u32, Vec<u64>)> = OnceLock::new();

fn load(len: u64) {
    LOADED.get_or_init(|| (std::process::id(), (0..len).collect()));
}

fn prepared() -> PoolBuilder {
    Pool::builder()
        .workers(3)
        .start_method(StartMethod::ForkServer)
}

#[procession::test]
async fn a_preload_runs_once_and_is_found_by_all() {
    alone("a_preload_runs_once_and_is_found_by_all", async {
        let pool = prepared().preload(load, 1_000_000).build().unwrap();
        let look = |_: u32| {
            let (pid, numbers) = LOADED.get().unwrap();
            (
                *pid,
                numbers.as_ptr().addr(),
                numbers[999_999],
                std::process::id(),
            )
        };
        let found = within(pool.map(look, 0..200)).await.unwrap();
        assert!(
            found
                .iter()
                .all(|it| it.0 == found[0].0 && it.1 == found[0].1)
        );
        assert!(found.iter().all(|it| it.2 == 999_999 && it.3 != it.0));
        // It is the pool's alone.
        let elsewhere = forked().spawn(|| LOADED.get().is_none(), ());
        assert!(within(elsewhere).await.unwrap() && LOADED.get().is_none());
        within(pool.shutdown()).await;
    })
    .await;
}

#[procession::test]
async fn a_preload_runs_in_every_executed_worker() {
    alone("a_preload_runs_in_every_executed_worker", async {
        let pool = prepared()
            .start_method(StartMethod::Exec)
            .preload(load, 10)
            .initializer(|| assert!(LOADED.get().is_some()), ())
            .build()
            .unwrap();
        let own = |_: u32| LOADED.get().unwrap().0 == std::process::id();
        assert!(
            within(pool.map(own, 0..50))
                .await
                .unwrap()
                .iter()
                .all(|own| *own)
        );
        within(pool.shutdown()).await;
    })
    .await;
}

async fn cause(pool: PoolBuilder) -> String {
    let pool = pool.build().unwrap();
    let error = within(pool.run(|| 1, ())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Spawn, "{error}");
    assert!(!error.started());
    within(pool.terminate()).await;
    error.to_string()
}

#[procession::test]
async fn a_preload_that_misbehaves_is_the_cause() {
    alone("a_preload_that_misbehaves_is_the_cause", async {
        for start in [StartMethod::ForkServer, StartMethod::Exec] {
            let panics = || -> () { panic!("no weights") };
            let why = cause(prepared().start_method(start).preload(panics, ())).await;
            assert!(
                why.contains("the preload") && why.contains("no weights"),
                "{why}"
            );
            let fails = || -> Result<(), String> { Err("no file".to_owned()) };
            let why = cause(prepared().start_method(start).preload(fails, ())).await;
            assert!(why.contains("the preload: no file"), "{why}");
        }
        let exits = || -> () { std::process::exit(7) };
        let why = cause(prepared().preload(exits, ())).await;
        assert!(why.contains('7'), "{why}");
        let aborts = || -> () { std::process::abort() };
        let why = cause(prepared().preload(aborts, ())).await;
        assert!(why.contains("the preload"), "{why}");
        let threads = || drop(std::thread::spawn(parked));
        let why = cause(prepared().preload(threads, ())).await;
        assert!(why.contains("threads"), "{why}");
    })
    .await;
}

/// Whoever ends the pool does not wait for it, and nothing is left of it.
#[procession::test]
async fn a_preload_that_hangs_ends_with_its_pool() {
    alone("a_preload_that_hangs_ends_with_its_pool", async {
        let before = everybody();
        let pool = prepared().preload(parked, ()).build().unwrap();
        let task = pool.spawn(|| 1, ());
        let is_new = |found: &Found| {
            found.parent == std::process::id() && before.iter().all(|it| it.pid != found.pid)
        };
        until(|| everybody().iter().any(is_new)).await;
        within(pool.terminate()).await;
        assert!(!within(task).await.unwrap_err().started());
        until(|| !everybody().iter().any(is_new)).await;
    })
    .await;
}

/// A thread that has ended is none.
#[procession::test]
async fn a_preload_may_use_threads() {
    let joins = || std::thread::spawn(|| ()).join().unwrap();
    let pool = prepared().preload(joins, ()).build().unwrap();
    assert_eq!(within(pool.run(|| 1, ())).await.unwrap(), 1);
}

#[procession::test]
async fn a_prepared_server_that_was_killed_is_prepared_again() {
    alone(
        "a_prepared_server_that_was_killed_is_prepared_again",
        async {
            let pool = prepared().workers(1).preload(load, 10).build().unwrap();
            let look = || LOADED.get().unwrap().0;
            let before = within(pool.run(look, ())).await.unwrap();
            kill(before);
            let aborts = || -> () { std::process::abort() };
            assert!(within(pool.run(aborts, ())).await.unwrap_err().is_crashed());
            let after = within(pool.run(look, ())).await.unwrap();
            assert_ne!(before, after);
            within(pool.shutdown()).await;
        },
    )
    .await;
}

/// Longer than that between two starts, and there are no spares.
const SOON: Duration = Duration::from_millis(20);

/// The children that wait to be told what they are to be.
fn spares() -> Vec<Found> {
    let mut spares = everybody();
    spares.retain(|found| found.parent == std::process::id() && found.is_spare());
    spares
}

/// Starts one process after the other until there are spares.
async fn some_spares() -> Vec<u32> {
    loop {
        within(forked().spawn(|| (), ())).await.unwrap();
        let spares = spares();
        if !spares.is_empty() {
            return spares.iter().map(|spare| spare.pid).collect();
        }
    }
}

#[procession::test]
async fn spares_are_used_while_they_are_wanted_and_then_gone() {
    alone(
        "spares_are_used_while_they_are_wanted_and_then_gone",
        async {
            until(|| spares().is_empty()).await; // the census has asked before,
            tokio::time::sleep(2 * SOON).await; // and that is long ago
            within(forked().spawn(|| (), ())).await.unwrap();
            assert!(spares().is_empty(), "nobody has asked often");
            // One that is not there yet is left alone, so not every one is used.
            let use_ten = async {
                let mut used = 0;
                while used < 10 {
                    let spares = some_spares().await;
                    let pid = forked().spawn(std::process::id, ()).await.unwrap();
                    used += u32::from(spares.contains(&pid));
                }
            };
            within(use_ten).await;
            until(|| spares().is_empty()).await;
        },
    )
    .await;
}

#[procession::test]
async fn a_spare_is_what_any_other_child_is() {
    alone("a_spare_is_what_any_other_child_is", async {
        let look = || {
            (
                std::process::id(),
                std::env::var("NEWS").ok(),
                rustix::process::getpriority_process(None).unwrap(),
                rustix::thread::sched_getaffinity(None).unwrap().count(),
                procession::current().name().map(str::to_owned),
            )
        };
        let own = rustix::process::getpriority_process(None).unwrap();
        let mut used = 0;
        let mut number = 0;
        while used < 10 {
            number += 1;
            let spares = within(some_spares()).await;
            let (name, news) = (format!("spare {number}"), format!("news {number}"));
            let process = forked().name(&*name).env("NEWS", &*news).nice(3);
            let process = process.cpu_affinity([0]).spawn(look, ());
            let (pid, seen, nice, processors, called) = within(process).await.unwrap();
            used += u32::from(spares.contains(&pid));
            assert_eq!(seen, Some(news));
            assert_eq!((nice, processors), ((own + 3).min(19), 1));
            assert_eq!(called, Some(name));
        }
        let place = || (std::process::id(), std::env::current_dir().unwrap());
        let in_spares = ["/proc", "/"].iter().cycle();
        for directory in in_spares {
            let spares = within(some_spares()).await;
            std::env::set_current_dir(directory).unwrap();
            let (pid, found) = within(forked().spawn(place, ())).await.unwrap();
            assert_eq!(found, Path::new(directory));
            used += u32::from(spares.contains(&pid));
            if used >= 12 {
                break;
            }
        }
    })
    .await;
}

/// Descriptors and long arguments are on their way before the spare knows what it is to be.
#[procession::test]
async fn a_spare_has_what_goes_with_its_request() {
    alone("a_spare_has_what_goes_with_its_request", async {
        let (tx, rx) = queue::<(u32, usize)>(1).unwrap();
        let work = |tx: Sender<(u32, usize)>, bytes: ByteBuf| {
            let own = std::process::id();
            tx.blocking_send((own, bytes.len())).unwrap();
            own
        };
        let mut used = BTreeMap::new();
        for len in [10, 1 << 20].into_iter().cycle() {
            let spares = within(some_spares()).await;
            let bytes = ByteBuf::from(vec![1; len]);
            let child = forked().spawn(work, (tx.clone(), bytes));
            let (pid, received) = within(rx.recv()).await.unwrap();
            assert_eq!((pid, received), (within(child).await.unwrap(), len));
            *used.entry(len).or_insert(0) += u32::from(spares.contains(&pid));
            if used.len() == 2 && used.values().all(|count| *count >= 5) {
                break;
            }
        }
    })
    .await;
}

static ENDS: Mutex<Option<(Sender<u8>, Receiver<u8>)>> = Mutex::new(None);

/// Every copy of the process that made a queue has its ends. One that drops them closes nothing for the others.
#[procession::test]
async fn ends_that_a_preload_made_are_every_workers() {
    let make = || *ENDS.lock().unwrap() = Some(queue(4).unwrap());
    let pool = PoolBuilder::default().workers(2).preload(make, ());
    let pool = pool.start_method(StartMethod::ForkServer).build().unwrap();
    let forget = || drop(ENDS.lock().unwrap().take());
    within(pool.run(forget, ())).await.unwrap();
    let work = |desk: Desk| {
        desk.meet("both", "go on");
        let ends = ENDS.lock().unwrap();
        let (tx, rx) = ends.as_ref()?;
        Some(tx.try_send(1).is_ok() && rx.try_recv() == Ok(1))
    };
    let board = Board::new();
    let both = [0, 1].map(|_| pool.spawn(work, board.desk()));
    board.lines("both", 2).await;
    board.write("go on", 1);
    let mut found = Vec::new();
    for task in both {
        found.push(within(task).await.unwrap());
    }
    found.sort();
    assert_eq!(found, [None, Some(true)]);
}

/// More than its server may have, which was started when the program could have few.
#[procession::test]
async fn a_spare_has_as_many_descriptors_as_the_program_may() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    alone(
        "a_spare_has_as_many_descriptors_as_the_program_may",
        async {
            let before = getrlimit(Resource::Nofile);
            let few = Rlimit {
                current: Some(64),
                ..before
            };
            until(|| spares().is_empty()).await;
            setrlimit(Resource::Nofile, few).unwrap();
            servers().iter().for_each(|server| kill(server.pid));
            within(procession::warm_up()).await.unwrap();
            within(forked().spawn(|| (), ())).await.unwrap();
            setrlimit(Resource::Nofile, before).unwrap();
            let many = || {
                let null = || Descriptor(File::open("/dev/null").unwrap());
                (0..100).map(|_| null()).collect()
            };
            let count = |files: Vec<Descriptor<File>>| (std::process::id(), files.len());
            let mut used = 0;
            while used < 5 {
                let spares = within(some_spares()).await;
                let (pid, received) = within(forked().spawn(count, many())).await.unwrap();
                assert_eq!(received, 100);
                used += u32::from(spares.contains(&pid));
            }
        },
    )
    .await;
}

/// What ties a process of one task to its parent ends with its server, at the earliest. A worker does not.
#[procession::test]
async fn a_worker_that_was_a_spare_outlives_its_server() {
    alone("a_worker_that_was_a_spare_outlives_its_server", async {
        let become_worker = async {
            loop {
                let spares = some_spares().await;
                let pool = Pool::builder()
                    .workers(1)
                    .start_method(StartMethod::ForkServer);
                let pool = pool.build().unwrap();
                let pid = pool.run(std::process::id, ()).await.unwrap();
                if spares.contains(&pid) {
                    return (pool, pid);
                }
            }
        };
        let (pool, pid) = within(become_worker).await;
        until(|| spares().is_empty()).await;
        servers().iter().for_each(|server| kill(server.pid));
        assert_eq!(within(forked().spawn(|| 1, ())).await.unwrap(), 1);
        let run = within(pool.run(std::process::id, ()));
        assert_eq!(run.await.unwrap(), pid);
        within(pool.shutdown()).await;
    })
    .await;
}

/// A spare that was taken and is wanted no more is gone, whether it was told of its task or not.
#[procession::test]
async fn a_spare_that_is_taken_and_aborted() {
    alone("a_spare_that_is_taken_and_aborted", async {
        let stay = || std::thread::sleep(Duration::from_secs(3600));
        for turns in (0..8).cycle().take(80) {
            within(some_spares()).await;
            let child = forked().spawn(stay, ());
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            child.abort();
            assert!(within(child).await.unwrap_err().is_cancelled());
        }
    })
    .await;
}

#[procession::test]
async fn a_killed_spare_is_not_missed() {
    alone("a_killed_spare_is_not_missed", async {
        for _ in 0..20 {
            let spares = within(some_spares()).await;
            spares.iter().copied().for_each(kill);
            until(|| {
                let mut all = everybody();
                all.retain(|found| spares.contains(&found.pid));
                all.iter().all(|found| found.state == 'Z')
            })
            .await;
            assert_eq!(within(forked().spawn(|| 1, ())).await.unwrap(), 1);
            until(|| spares.iter().copied().all(is_gone)).await;
        }
    })
    .await;
}

#[procession::test]
async fn whatever_waits_may_be_killed_just_before_a_start() {
    alone("whatever_waits_may_be_killed_just_before_a_start", async {
        for _ in 0..50 {
            within(some_spares()).await;
            let mut waiting = everybody();
            waiting.retain(|found| found.parent == std::process::id());
            waiting.iter().for_each(|found| kill(found.pid));
            assert_eq!(within(forked().spawn(|| 1, ())).await.unwrap(), 1);
        }
    })
    .await;
}

#[procession::test]
async fn spares_of_a_killed_server_and_of_a_runtime_that_ends() {
    alone(
        "spares_of_a_killed_server_and_of_a_runtime_that_ends",
        async {
            let spares = within(some_spares()).await;
            for server in servers() {
                kill(server.pid);
            }
            // A spare does not hear what its server is told: whoever asks that for another child learns that it is
            // gone, long before it would be given up.
            let another = forked().current_dir("/").spawn(|| 1, ());
            let soon = Duration::from_secs(4);
            assert_eq!(within_limit(soon, another).await.unwrap(), 1);
            assert_eq!(within(forked().spawn(|| 1, ())).await.unwrap(), 1);
            until(|| spares.iter().copied().all(is_gone)).await;
            let other = std::thread::spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                runtime
                    .unwrap()
                    .block_on(async { within(some_spares()).await })
            });
            let spares = other.join().unwrap();
            until(|| spares.iter().copied().all(is_gone)).await;
            assert_eq!(within(forked().spawn(|| 1, ())).await.unwrap(), 1);
        },
    )
    .await;
}
