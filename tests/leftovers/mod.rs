//! What a test may not leave behind: descriptors, shared memory, runtime tasks, processes.
//!
//! Tests of one file are threads of one process, whose runtimes open descriptors of their own at any
//! moment. So a test that counts runs once more, in a process that runs nothing else ([`alone`]): what
//! is there afterwards and was not there before is its own. Its environment carries a mark that
//! everything it starts inherits, and by which orphans are found that are nobody's children any more.

#![allow(dead_code, reason = "no test file needs all of it")]

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::deadline;

/// How long what is on its way out may take to be gone.
const LIMIT: Duration = Duration::from_secs(20);

/// The variable whose value is the mark.
const MARK: &str = "PROCESSION_TEST_MARK";

/// Runs `body` in a process in which nothing else runs, and then counts what it left.
///
/// `test` is the name of the calling test, of which `body` is all.
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
    let mut said = String::new();
    let read = output
        .seek(SeekFrom::Start(0))
        .and_then(|_| output.read_to_string(&mut said));
    assert!(
        read.is_ok() && status.success() && said.contains("1 passed"),
        "`{test}`, alone, ended with {status}\n{said}"
    );
    // Its own end is an end of a parent like any other.
    deadline::until_limit(LIMIT, || marked(MARK, &mark).is_empty()).await;
}

/// A file without a name. No pipe: whatever is left behind would keep that open.
fn output_file(mark: &str) -> File {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("output-{mark}"));
    let mut options = File::options();
    let file = options.read(true).append(true).create(true).open(&path);
    let file = file.expect("a file can be made");
    let _ = std::fs::remove_file(path);
    file
}

/// The mark of the process that runs a test alone, which everything it starts has too.
pub(crate) fn own_mark() -> Option<String> {
    std::env::var(MARK).ok()
}

/// Kills what a failed test left: it is told of once, and is not to be in the way of others.
struct Sweeper<'a>(&'a str);

impl Drop for Sweeper<'_> {
    fn drop(&mut self) {
        kill_marked(MARK, self.0);
    }
}

/// Kills whoever [`marked`] finds.
pub(crate) fn kill_marked(key: &str, value: &str) {
    for found in marked(key, value) {
        let pid = rustix::process::Pid::from_raw(found.pid.cast_signed());
        let kill = rustix::process::Signal::KILL;
        let _ = pid.map(|pid| rustix::process::kill_process(pid, kill));
    }
}

/// What there was at one moment.
#[derive(Debug)]
pub(crate) struct Census {
    descriptors: BTreeMap<String, usize>,
    mappings: usize,
    tasks: usize,
}

impl Census {
    /// What there is once everything that is made on first use and kept has been made.
    pub(crate) async fn after_warm_up() -> Self {
        let process = procession::Process::builder()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn(|| (), ());
        deadline::within(process).await.expect("a child can start");
        // Whatever the default is: a test may ask for it, and what it leaves once is kept.
        let ready = deadline::within(procession::warm_up()).await;
        ready.expect("children can be forked");
        let forked =
            procession::Process::builder().start_method(procession::StartMethod::ForkServer);
        let forked = deadline::within(forked.spawn(|| (), ())).await;
        forked.expect("a child can be forked");
        deadline::until(|| descendants().is_empty() && runtime_tasks() == 0).await;
        Self::now()
    }

    /// What there is now.
    pub(crate) fn now() -> Self {
        Self {
            descriptors: descriptors(),
            mappings: mappings(),
            tasks: runtime_tasks(),
        }
    }

    /// Waits until nothing is left that was not there before; panics with a list of what is.
    pub(crate) async fn assert_none(&self) {
        let end = Instant::now() + LIMIT;
        loop {
            let left = self.left();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "left behind:\n{}", left.join("\n"));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// What there is now and was not there before.
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
        left.extend(descendants().iter().map(Found::to_string));
        if let Some(mark) = own_mark() {
            let orphans = marked(MARK, &mark);
            let own = orphans.iter().filter(|found| !found.is_fork_server());
            left.extend(own.map(Found::to_string));
        }
        left
    }
}

/// A process that was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) state: char,
    pub(crate) command: String,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pid,
            parent,
            state,
            command,
        } = self;
        write!(
            f,
            "process {pid} ({command}, state {state}), child of {parent}"
        )
    }
}

impl Found {
    /// Whether it is kept for as long as its parent lives.
    pub(crate) fn is_fork_server(&self) -> bool {
        self.command == "procession-fork" && self.state != 'Z'
    }

    /// Whether it waits to be told what it is to be.
    pub(crate) fn is_spare(&self) -> bool {
        self.command.starts_with("procession-spar")
    }

    /// Reads `/proc/PID/stat` (`proc_pid_stat(5)`); `None` if the process is gone.
    fn read(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command may hold anything, parentheses too; what follows the last one may not.
        let (head, tail) = stat.rsplit_once(')')?;
        let (_, command) = head.split_once('(')?;
        let mut fields = tail.split_whitespace();
        Some(Self {
            pid,
            state: fields.next()?.chars().next()?,
            parent: fields.next()?.parse().ok()?,
            command: command.to_owned(),
        })
    }
}

/// Every process there is.
pub(crate) fn everybody() -> Vec<Found> {
    let entries = std::fs::read_dir("/proc").expect("/proc is mounted");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Found::read)
        .collect()
}

/// The children of this process, their children and so on; those too that nobody has reaped. Without
/// fork servers, which are kept.
pub(crate) fn descendants() -> Vec<Found> {
    let everybody = everybody();
    let mut family = vec![std::process::id()];
    let mut found = Vec::new();
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        for process in everybody.iter().filter(|process| process.parent == parent) {
            family.push(process.pid);
            found.push(process.clone());
        }
        next += 1;
    }
    found.retain(|process| !process.is_fork_server());
    found
}

/// The running processes that have the variable `key` with this value in their environment, without this
/// one. It is what they were started with: it survives their parent, but not their end.
pub(crate) fn marked(key: &str, value: &str) -> Vec<Found> {
    let variable = format!("{key}={value}");
    let has_mark = |pid: u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0);
        variables.any(|found| found == variable.as_bytes())
    };
    let mut found = everybody();
    found.retain(|process| process.pid != std::process::id() && has_mark(process.pid));
    found
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
            continue; // the one that looks
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

/// How many ranges of memory shared with other processes this one has mapped.
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
