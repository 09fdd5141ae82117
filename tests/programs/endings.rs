//! The children of a program end with it, however it ends.

#[path = "../deadline/mod.rs"]
mod deadline;
mod harness;
#[path = "../leftovers/mod.rs"]
mod leftovers;

use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

const ENDINGS: [&str; 9] = [
    "returns",
    "returns from the runtime's task",
    "leaks the runtime",
    "shuts the runtime down in the background",
    "panics",
    "exits",
    "aborts",
    "is killed",
    "is killed by a signal it could handle",
];

fn main() {
    procession::init();
    match harness::role() {
        Some(ending) => program(&ending),
        None => harness::test(|| {
            for ending in ENDINGS {
                check(ending, &harness::run_in_role(ending));
            }
        }),
    }
}

#[track_caller]
fn check(ending: &str, run: &harness::Run) {
    run.assert_main_ran_once();
    match ending {
        "panics" => assert_eq!(run.status.code(), Some(101), "{run:?}"),
        "exits" => assert_eq!(run.status.code(), Some(4), "{run:?}"),
        "aborts" => run.assert_ended_by(libc::SIGABRT),
        "is killed" => run.assert_ended_by(libc::SIGKILL),
        "is killed by a signal it could handle" => run.assert_ended_by(libc::SIGTERM),
        _ => run.assert_success(),
    }
}

/// Starts a waiting and a computing child, each with a program of its own, and ends as `ending` says.
fn program(ending: &str) {
    harness::record();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be built");
    let children = runtime.block_on(async {
        let children = [
            procession::spawn(busy, false),
            procession::spawn(busy, true),
        ];
        deadline::until(|| sleeping() == 2).await;
        children
    });
    match ending {
        "returns" => {}
        "returns from the runtime's task" => runtime.block_on(async {
            drop(children);
            tokio::task::yield_now().await;
        }),
        "leaks the runtime" => {
            Box::leak(Box::new(runtime));
        }
        "shuts the runtime down in the background" => runtime.shutdown_background(),
        "panics" => {
            std::panic::set_hook(Box::new(|_| ()));
            panic!("as it should");
        }
        "exits" => std::process::exit(4),
        "aborts" => std::process::abort(),
        "is killed" => end_by(Signal::KILL),
        _ => end_by(Signal::TERM),
    }
}

fn sleeping() -> usize {
    let descendants = leftovers::processes::descendants();
    descendants
        .iter()
        .filter(|found| found.command == "sleep")
        .count()
}

fn end_by(signal: Signal) {
    let _ = kill_process(getpid(), signal);
    std::thread::sleep(Duration::MAX);
}

fn busy(computes: bool) {
    let sleep = std::process::Command::new("sleep").arg("1000").spawn();
    let mut sleep = sleep.expect("there is a program called sleep");
    let mut n = 0_u64;
    if computes {
        loop {
            n = std::hint::black_box(n.wrapping_mul(3).wrapping_add(1));
        }
    }
    let _ = sleep.wait();
}
