//! The oracle: what each task may become, what it became, and whether the pool's own counts are the same.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use procession::{JoinError, Metrics};

use crate::call::Call;
use crate::causes::{Cause, Causes};
use crate::notes::Notes;
use crate::settings::Settings;

/// All tasks of one pool.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) settings: Settings,
    next: AtomicU64,
    entries: Mutex<Vec<Entry>>,
    /// The workers that the test has killed.
    killed: Mutex<HashSet<u32>>,
    /// How many calls without an entry the pool has counted at most.
    uncertain: AtomicU64,
    broadcasts: Mutex<Broadcasts>,
}

/// How many calls of all workers were begun, and how many of them ended how.
#[derive(Debug, Default)]
struct Broadcasts {
    begun: u64,
    returned: u64,
    failed: u64,
}

/// One task that is over for the test.
#[derive(Debug)]
struct Entry {
    number: u64,
    causes: Causes,
    most_runs: usize,
    exact_runs: Option<usize>,
    /// How many calls the pool has counted.
    calls: u64,
    /// `None` if the test has dropped what it would have been told by.
    seen: Option<Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    cause: Cause,
    started: bool,
    pid: Option<u32>,
}

/// More than a pool has workers: how often a task may run that each of them runs once.
pub(crate) const EVERY_WORKER: usize = 16;

impl Ledger {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            next: AtomicU64::new(0),
            entries: Mutex::default(),
            killed: Mutex::default(),
            uncertain: AtomicU64::new(0),
            broadcasts: Mutex::default(),
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The test is about to kill a worker.
    pub(crate) fn kills(&self, pid: u32) {
        self.killed.lock().unwrap().insert(pid);
    }

    /// The number of workers that were killed.
    pub(crate) fn killed(&self) -> usize {
        self.killed.lock().unwrap().len()
    }

    /// The pool may have counted so many calls that have no entry.
    pub(crate) fn may_have_counted(&self, calls: u64) {
        self.uncertain.fetch_add(calls, Ordering::Relaxed);
    }

    pub(crate) fn broadcast_begins(&self) {
        self.broadcasts.lock().unwrap().begun += 1;
    }

    pub(crate) fn broadcast_ended(&self, has_returned: bool) {
        let mut it = self.broadcasts.lock().unwrap();
        match has_returned {
            true => it.returned += 1,
            false => it.failed += 1,
        }
    }

    pub(crate) fn failed_broadcasts(&self) -> u64 {
        self.broadcasts.lock().unwrap().failed
    }

    /// Whether a broadcast may have ended workers since `failed` of them had failed: it has not returned, or has
    /// failed.
    pub(crate) fn broadcast_may_end_workers(&self, failed: u64) -> bool {
        let it = self.broadcasts.lock().unwrap();
        it.begun - it.returned > failed
    }

    /// A task has an outcome, whose value is right. Returns the cause.
    pub(crate) fn ended<T: Debug>(&self, call: &Call, outcome: &Result<T, JoinError>) -> Cause {
        let causes = call.causes(&self.settings);
        let cause = self.cause_of(call, outcome);
        assert!(
            causes.has(cause),
            "{cause:?} is not among {causes:?}: {outcome:?} of {call:?}"
        );
        let error = outcome.as_ref().err();
        let pid = error.and_then(JoinError::pid);
        if cause == Cause::Killed {
            let killed = self.killed.lock().unwrap();
            assert!(
                pid.is_some_and(|it| killed.contains(&it)),
                "{error:?} of {call:?}"
            );
        }
        let seen = Seen {
            cause,
            started: error.is_none_or(JoinError::started),
            pid,
        };
        self.enter(call, Some(seen));
        cause
    }

    /// A worker that the test has killed may have been about to kill itself.
    fn cause_of<T>(&self, call: &Call, outcome: &Result<T, JoinError>) -> Cause {
        let error = outcome.as_ref().err();
        let killed = self.killed.lock().unwrap();
        let was_killed = |it: &JoinError| it.pid().is_some_and(|pid| killed.contains(&pid));
        match error.is_some_and(was_killed) {
            true => Cause::of(outcome, call.operation.signal().filter(|it| *it != 9)),
            false => Cause::of(outcome, call.operation.signal()),
        }
    }

    /// The test does not learn what becomes of a task.
    pub(crate) fn dropped(&self, call: &Call) {
        self.enter(call, None);
    }

    /// So many workers have returned a value.
    pub(crate) fn broadcast(&self, call: &Call, workers: usize) {
        let entry = Entry {
            number: call.number,
            causes: call.causes(&self.settings),
            most_runs: EVERY_WORKER,
            exact_runs: Some(workers),
            calls: workers as u64,
            seen: Some(Seen {
                cause: Cause::Done,
                started: true,
                pid: None,
            }),
        };
        self.entries.lock().unwrap().push(entry);
    }

    fn enter(&self, call: &Call, seen: Option<Seen>) {
        let settings = &self.settings;
        let entry = Entry {
            number: call.number,
            causes: call.causes(settings),
            most_runs: call.most_runs(settings),
            exact_runs: seen.and_then(|it| call.exact_runs(settings, it.cause)),
            calls: 1,
            seen,
        };
        self.entries.lock().unwrap().push(entry);
    }

    /// Asserts what must be true when all tasks are over: how often each has run, and where.
    pub(crate) fn check_runs(&self, notes: &Notes) {
        let runs = runs(notes);
        let none = Vec::new();
        let mut numbers = HashSet::new();
        for entry in self.entries.lock().unwrap().iter() {
            assert!(numbers.insert(entry.number), "two outcomes: {entry:?}");
            entry.check(runs.get(&entry.number).unwrap_or(&none));
        }
        self.check_deaths();
    }

    /// The death of a worker costs one task.
    fn check_deaths(&self) {
        let mut cost = HashMap::<u32, u64>::new();
        for entry in self.entries.lock().unwrap().iter() {
            let Some(seen) = entry.seen else { continue };
            if let (Cause::Killed, Some(pid)) = (seen.cause, seen.pid) {
                let other = cost.insert(pid, entry.number);
                assert!(other.is_none(), "{other:?} and {entry:?}");
            }
        }
    }

    /// Whether the pool has counted all tasks. A result that is decoded on a thread is counted a moment later.
    pub(crate) fn is_counted(&self, metrics: &Metrics, notes: &Notes) -> bool {
        let all = metrics.completed() + metrics.failed() + metrics.cancelled();
        all >= self.counts(notes).tasks
    }

    /// Asserts that the pool's counts are those of the entries.
    pub(crate) fn check_metrics(&self, metrics: &Metrics, notes: &Notes) {
        let counts = self.counts(notes);
        let uncertain = self.uncertain.load(Ordering::Relaxed);
        let check = |what: &str, count: u64, of: &[Cause]| {
            let (seen, dropped) = counts.of(of);
            let range = seen..=seen + dropped + uncertain;
            assert!(
                range.contains(&count),
                "{count} {what}, not in {range:?}: {metrics:?}"
            );
        };
        println!("{} {metrics:?}", self.summary());
        use Cause::*;
        check("completed", metrics.completed(), &[Done]);
        check("cancelled", metrics.cancelled(), &[Cancelled]);
        check("timed out", metrics.timed_out(), &[Overran, Overdue]);
        check("crashed", metrics.crashed(), &[Killed, Signalled, Exited]);
        check("failed", metrics.failed(), &Cause::failures());
        let all = metrics.completed() + metrics.failed() + metrics.cancelled();
        let range = counts.tasks..=counts.tasks + uncertain;
        assert!(
            range.contains(&all),
            "{all} calls, not in {range:?}: {metrics:?}"
        );
        self.check_retried(metrics.retried(), &counts);
    }

    fn check_retried(&self, retried: u64, counts: &Counts) {
        let killed = self.killed() as u64;
        // A try that was killed before it wrote its note. Of a dropped task the same.
        let range = counts.reruns..=counts.reruns + killed + counts.dropped;
        assert!(
            range.contains(&retried),
            "{retried} retries, not in {range:?}"
        );
    }

    fn counts(&self, notes: &Notes) -> Counts {
        let mut counts = Counts::default();
        let runs = runs(notes);
        for entry in self.entries.lock().unwrap().iter() {
            counts.add(entry);
            let runs = runs.get(&entry.number).map_or(0, Vec::len);
            if entry.most_runs < EVERY_WORKER {
                counts.reruns += runs.saturating_sub(1) as u64;
            }
        }
        counts
    }

    /// How many tasks ended how, in words.
    pub(crate) fn summary(&self) -> String {
        let mut seen = BTreeMap::<String, u64>::new();
        for entry in self.entries.lock().unwrap().iter() {
            let how = match entry.seen {
                Some(seen) => format!("{:?}", seen.cause),
                None => format!("dropped {:?}", entry.causes),
            };
            *seen.entry(how).or_default() += entry.calls;
        }
        format!("{seen:?}")
    }
}

impl Entry {
    fn check(&self, pids: &[u32]) {
        let runs = pids.len();
        assert!(runs <= self.most_runs, "{runs} runs of {self:?}");
        if let Some(exact) = self.exact_runs {
            assert_eq!(runs, exact, "{self:?}");
        }
        let Some(seen) = self.seen else { return };
        assert!(seen.started || runs == 0, "{runs} runs of {self:?}");
        if seen.cause.proves_a_run() && self.most_runs < EVERY_WORKER {
            assert!(seen.started && runs > 0, "{runs} runs of {self:?}");
        }
        let ran_there = seen.pid.is_none_or(|it| pids.last() == Some(&it));
        if seen.cause.proves_a_run() && self.most_runs < EVERY_WORKER {
            assert!(ran_there, "ran in {pids:?}: {self:?}");
        }
    }
}

/// Sums over all entries.
#[derive(Debug, Default)]
struct Counts {
    seen: BTreeMap<Cause, u64>,
    sets: Vec<Causes>,
    tasks: u64,
    dropped: u64,
    reruns: u64,
}

impl Counts {
    fn add(&mut self, entry: &Entry) {
        match entry.seen {
            // The pool does not count what it has not taken.
            Some(seen) if seen.cause == Cause::Closed => return,
            Some(seen) => *self.seen.entry(seen.cause).or_default() += entry.calls,
            None => {
                self.sets.push(entry.causes);
                self.dropped += 1;
            }
        }
        self.tasks += entry.calls;
    }

    /// How many tasks were seen to end so, and how many of the dropped may have.
    fn of(&self, causes: &[Cause]) -> (u64, u64) {
        let seen = causes.iter().filter_map(|it| self.seen.get(it)).sum();
        let dropped = self.sets.iter().filter(|it| it.has_any(causes)).count();
        (seen, dropped as u64)
    }
}

/// In which processes each task has run, in order.
fn runs(notes: &Notes) -> HashMap<u64, Vec<u32>> {
    let mut runs = HashMap::<u64, Vec<u32>>::new();
    for line in notes.read("ran") {
        let (number, pid) = line.split_once(' ').unwrap();
        let pids = runs.entry(number.parse().unwrap()).or_default();
        pids.push(pid.parse().unwrap());
    }
    runs
}
