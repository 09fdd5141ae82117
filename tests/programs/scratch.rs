//! The directories of workers are removed, however the application ends.

#[path = "../deadline/mod.rs"]
mod deadline;
mod harness;
#[path = "../leftovers/mod.rs"]
mod leftovers;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use procession::{Pool, StartMethod, task};
use rustix::process::{Signal, getpid, kill_process};

/// How long a directory may be there after the last process of the application.
const LIMIT: Duration = deadline::LIMIT;

const ENDINGS: [&str; 8] = [
    "shuts down",
    "returns",
    "panics",
    "exits",
    "aborts",
    "is killed",
    "is killed, with a stopped worker",
    "is killed, with executed workers",
];

fn main() {
    procession::init();
    match harness::role() {
        Some(ending) => program(&ending),
        None => harness::test(|| {
            for ending in ENDINGS {
                let run = harness::run_in_role(ending);
                run.assert_main_ran_once();
                assert_removed(ending, &run.recorded[0]);
            }
        }),
    }
}

/// Executed workers have another program remove the directory, so it may take a moment longer.
fn assert_removed(ending: &str, pid: &str) {
    let began = Instant::now();
    loop {
        let left = directories_of(pid);
        if left.is_empty() {
            return;
        }
        assert!(began.elapsed() < LIMIT, "`{ending}` left {left:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The directories of workers of the application with this pid.
fn directories_of(pid: &str) -> Vec<PathBuf> {
    let prefix = format!("procession-scratch-{pid}-");
    let entries = std::fs::read_dir(std::env::temp_dir()).expect("there is such a directory");
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    let is_of = |path: &PathBuf| path.to_string_lossy().contains(&prefix);
    paths.filter(is_of).collect()
}

/// Fills the directory of the worker.
fn fill() -> u32 {
    let path = task::scratch_dir().expect("a worker has a directory");
    std::fs::create_dir(path.join("inside")).expect("it is empty at first");
    std::fs::write(path.join("inside/file"), "text").expect("it can be written");
    std::process::id()
}

/// Never stops writing into it.
fn write() {
    let path = task::scratch_dir().expect("a worker has a directory");
    for n in 0.. {
        let _ = std::fs::write(path.join(format!("file-{}", n % 100)), "text");
    }
}

/// Whether all threads of a process are stopped: then the process counts as stopped.
fn is_stopped(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it is there");
    let stats = threads.map(|it| {
        let path = it.expect("it can be listed").path().join("stat");
        std::fs::read_to_string(path).expect("it is there")
    });
    let mut states = stats.map(|stat| stat.rsplit_once(") ").map(|(_, behind)| behind.to_owned()));
    states.all(|state| state.is_some_and(|state| state.starts_with('T')))
}

fn program(ending: &str) {
    harness::record();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be built");
    let method = match ending {
        "is killed, with executed workers" => StartMethod::Exec,
        // The application's fork server removes what is left. Where there is none, an application that returns and
        // kills its workers leaves their directories to the next one that makes some.
        _ => StartMethod::ForkServer,
    };
    let pool = runtime.block_on(async {
        let pool = Pool::builder().workers(3).start_method(method).build();
        let pool = pool.expect("a pool can be built");
        let pids = pool.broadcast(fill, ()).await.expect("all can write");
        assert_eq!(directories_of(&std::process::id().to_string()).len(), 3);
        if ending != "shuts down" {
            drop(pool.spawn(write, ()));
        }
        if ending == "is killed, with a stopped worker" {
            leftovers::processes::signal(pids[1], Signal::STOP);
            // The kernel continues what is stopped when the application ends, and not what is about to stop.
            deadline::until(|| is_stopped(pids[1])).await;
        }
        pool
    });
    match ending {
        "shuts down" => {
            runtime.block_on(pool.shutdown());
        }
        "returns" => {}
        "panics" => {
            std::panic::set_hook(Box::new(|_| ()));
            panic!("as it should");
        }
        "exits" => std::process::exit(4),
        "aborts" => std::process::abort(),
        _ => {
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }
}
