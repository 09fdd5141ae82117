//! What a test must not leave behind: descriptors, shared memory, runtime tasks, processes.
//!
//! The tests of one binary are threads of one process, and their runtimes open descriptors at any moment.
//! So a test that counts runs a second time, in a process that runs no other test ([`alone`]): what exists
//! afterwards and did not exist before is from this test. The environment of that process has a mark,
//! which all processes that the test starts inherit. Orphans are found by the mark.

#![allow(dead_code, reason = "no test file needs all of it")]

pub(crate) mod processes;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::deadline;

use processes::{ProcessInfo, descendants, kill_marked, marked};

/// How long a process or descriptor that is being closed may take to be gone.
const LIMIT: Duration = deadline::LIMIT;

/// How long [`Census::assert_none`] sleeps between two counts.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The variable whose value is the mark.
const MARK: &str = "PROCESSION_TEST_MARK";

/// Runs `body` in a process that runs nothing else, and then asserts that `body` left nothing.
///
/// `test` is the path of the calling test in its binary (`module::name`). `body` must be all of the test.
pub(crate) async fn alone(test: &str, body: impl Future<Output = ()>) {
    if own_mark().is_none() {
        return run_again(test).await;
    }
    let before = Census::after_warm_up().await;
    body.await;
    before.assert_none().await;
}

async fn run_again(test: &str) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let mark = format!("{}-{number}", std::process::id());
    let _sweeper = Sweeper(&mark);
    let mut output = output_file(&mark);
    let stream = || Stdio::from(output.try_clone().expect("a descriptor is free"));
    let mut run = tokio::process::Command::new("/proc/self/exe");
    run.args(["--exact", test, "--include-ignored", "--nocapture"])
        .arg("--test-threads=1")
        .env(MARK, &mark)
        .stdin(Stdio::null())
        .stdout(stream())
        .stderr(stream())
        .kill_on_drop(true);
    let mut run = run.spawn().expect("the test can be run again");
    let status = deadline::within_limit(10 * deadline::LIMIT, run.wait()).await;
    let status = status.expect("a child can be waited for");
    let mut printed = String::new();
    let read = output
        .seek(SeekFrom::Start(0))
        .and_then(|_| output.read_to_string(&mut printed));
    // The count also fails where `test` is not the path of a test.
    assert!(
        read.is_ok() && status.success() && printed.contains("1 passed"),
        "`{test}`, alone, ended with {status}\n{printed}"
    );
    // The children of that process end with it, as the children of any application.
    deadline::until_limit(LIMIT, || marked(MARK, &mark).is_empty()).await;
}

/// A file without a name. A pipe would stay open for as long as a process that was left behind has it.
fn output_file(mark: &str) -> File {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("output-{mark}"));
    let mut options = File::options();
    let file = options.read(true).append(true).create(true).open(&path);
    let file = file.expect("a file can be made");
    let _ = std::fs::remove_file(path);
    file
}

/// The mark of this process, if it runs one test alone. Its children have the same mark.
pub(crate) fn own_mark() -> Option<String> {
    std::env::var(MARK).ok()
}

/// Kills the processes that a failed test left, so that they do not disturb the next tests.
struct Sweeper<'a>(&'a str);

impl Drop for Sweeper<'_> {
    fn drop(&mut self) {
        kill_marked(MARK, self.0);
    }
}

/// The descriptors, mappings and runtime tasks of this process at one moment.
#[derive(Debug)]
pub(crate) struct Census {
    descriptors: BTreeMap<String, usize>,
    mappings: usize,
    tasks: usize,
}

impl Census {
    /// Counts after the first use of everything that is made on first use and kept.
    pub(crate) async fn after_warm_up() -> Self {
        let process = procession::Process::builder()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn(|| (), ());
        deadline::within(process).await.expect("a child can start");
        // Also where children are executed by default: a test may ask for the fork server, and what the
        // fork server needs is kept.
        let ready = deadline::within(procession::warm_up()).await;
        ready.expect("children can be forked");
        let forked =
            procession::Process::builder().start_method(procession::StartMethod::ForkServer);
        let forked = deadline::within(forked.spawn(|| (), ())).await;
        forked.expect("a child can be forked");
        deadline::until(|| descendants().is_empty() && runtime_tasks() == 0).await;
        Self::now()
    }

    /// Counts now.
    pub(crate) fn now() -> Self {
        Self {
            descriptors: descriptors(),
            mappings: mappings(),
            tasks: runtime_tasks(),
        }
    }

    /// Waits until everything that did not exist before is gone; panics with a list of what is left.
    pub(crate) async fn assert_none(&self) {
        let end = Instant::now() + LIMIT;
        loop {
            let left = self.left();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "left behind:\n{}", left.join("\n"));
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// What exists now and did not exist before.
    pub(crate) fn left(&self) -> Vec<String> {
        let now = Self::now();
        let mut left: Vec<_> = now
            .descriptors
            .iter()
            .map(|(kind, count)| {
                (
                    kind,
                    *count,
                    self.descriptors.get(kind).copied().unwrap_or(0),
                )
            })
            .filter(|(_, count, before)| count > before)
            .map(|(kind, count, before)| format!("descriptors: {count} {kind}, {before} before"))
            .collect();
        if now.mappings > self.mappings {
            left.push(format!(
                "mappings: {} of shared memory, {} before",
                now.mappings, self.mappings
            ));
        }
        if now.tasks > self.tasks {
            left.push(format!("tasks: {}, {} before", now.tasks, self.tasks));
        }
        left.extend(descendants().iter().map(ProcessInfo::to_string));
        if let Some(mark) = own_mark() {
            let orphans = marked(MARK, &mark);
            let own = orphans.iter().filter(|found| !found.is_fork_server());
            left.extend(own.map(ProcessInfo::to_string));
        }
        left
    }
}

/// The descriptors of this process, by kind.
pub(crate) fn descriptors() -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    let entries = std::fs::read_dir("/proc/self/fd").expect("/proc is mounted");
    for entry in entries.filter_map(Result::ok) {
        let Ok(target) = std::fs::read_link(entry.path()) else {
            continue;
        };
        let target = target.to_string_lossy();
        if target == format!("/proc/{}/fd", std::process::id()) {
            continue; // the descriptor that reads this directory
        }
        let kind = match target.split_once(":[") {
            Some(("anon_inode", kind)) => kind.trim_end_matches(']'),
            Some((kind, _)) => kind,
            None => &target,
        };
        *kinds.entry(kind.to_owned()).or_default() += 1;
    }
    kinds
}

/// How many ranges of shared memory of this crate are mapped into this process.
pub(crate) fn mappings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    maps.lines()
        .filter(|line| line.contains("/memfd:procession"))
        .count()
}

fn runtime_tasks() -> usize {
    tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks()
}
