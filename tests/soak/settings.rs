//! The pool of one round, made at random.

use std::time::Duration;

use procession::{JoinError, Output, Pool, StartMethod};

use crate::Random;
use crate::notes::Notes;

/// What a pool is built with.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) seed: u64,
    executes: bool,
    min_workers: usize,
    pub(crate) max_workers: usize,
    idle_timeout: Duration,
    queue_limit: Option<usize>,
    queue_bytes: Option<u64>,
    pub(crate) retries: u32,
    /// Which failures are run again, if not crashes and exits.
    pub(crate) rule: Option<Rule>,
    pub(crate) task_timeout: Option<Duration>,
    pub(crate) queue_timeout: Option<Duration>,
    cancel_grace: Duration,
    max_tasks: Option<usize>,
    max_memory: Option<u64>,
    max_age: Option<Duration>,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) cpu_time_limit: Option<Duration>,
    /// Each so many-th initializer fails.
    failing_initializer: Option<usize>,
    pub(crate) exit_function: bool,
    preload: bool,
    /// Whether the test kills workers.
    pub(crate) kills: bool,
    /// Whether it changes the number of workers, and restarts them.
    pub(crate) changes: bool,
    /// Whether the application is killed. One of its workers is always busy.
    pub(crate) is_victim: bool,
}

/// Which failures are run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    PanicsAndCrashes,
    TimeoutsToo,
}

impl Rule {
    fn allows(self, error: &JoinError) -> bool {
        error.is_panic()
            || error.is_crashed()
            || self == Self::TimeoutsToo && error.is_timed_out() && error.started()
    }
}

impl Settings {
    pub(crate) fn random(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let max_workers = 1 + random.below(4) as usize;
        let is_elastic = random.one_in(3);
        let millis = |random: &mut Random, limit| Duration::from_millis(1 + random.below(limit));
        Self {
            seed,
            executes: random.one_in(8),
            min_workers: match is_elastic {
                true => random.below(max_workers as u64 + 1) as usize,
                false => max_workers,
            },
            max_workers,
            idle_timeout: millis(&mut random, 50),
            queue_limit: random.maybe(2, |it| it.below(12) as usize),
            queue_bytes: random.maybe(4, |it| it.below(4_000)),
            retries: random.maybe(3, |it| it.below(3) as u32).unwrap_or(0),
            rule: random.maybe(4, |it| match it.below(2) {
                0 => Rule::PanicsAndCrashes,
                _ => Rule::TimeoutsToo,
            }),
            task_timeout: random.maybe(4, |it| millis(it, 60)),
            queue_timeout: random.maybe(5, |it| millis(it, 60)),
            cancel_grace: random.maybe(2, |it| millis(it, 30)).unwrap_or_default(),
            max_tasks: random.maybe(3, |it| 1 + it.below(60) as usize),
            max_memory: random.maybe(4, |_| 8 << 20),
            max_age: random.maybe(4, |it| Duration::from_millis(5 + it.below(400))),
            memory_limit: random.maybe(3, |_| 1 << 30),
            cpu_time_limit: random.maybe(4, |it| Duration::from_millis(150 + it.below(100))),
            failing_initializer: random.maybe(4, |it| 2 + it.below(4) as usize),
            exit_function: random.one_in(3),
            preload: random.one_in(4),
            kills: !random.one_in(4),
            changes: random.one_in(2),
            is_victim: false,
        }
    }

    /// Whether workers may be killed while they start. Beside initializers that fail, too few starts would succeed.
    pub(crate) fn may_be_killed_early(&self) -> bool {
        self.failing_initializer.is_none()
    }

    /// A pool of a fixed number of workers, for an application that is killed.
    pub(crate) fn of_a_victim(workers: usize) -> Self {
        Self {
            is_victim: true,
            ..Self::plain(workers)
        }
    }

    /// A pool of a fixed number of workers, and nothing else.
    pub(crate) fn plain(workers: usize) -> Self {
        Self {
            executes: false,
            min_workers: workers,
            max_workers: workers,
            queue_limit: None,
            queue_bytes: None,
            retries: 0,
            rule: None,
            task_timeout: None,
            queue_timeout: None,
            cancel_grace: Duration::ZERO,
            max_tasks: None,
            max_memory: None,
            max_age: None,
            memory_limit: None,
            cpu_time_limit: None,
            failing_initializer: None,
            exit_function: false,
            preload: false,
            kills: true,
            changes: false,
            ..Self::random(0)
        }
    }

    pub(crate) fn build(&self, notes: &Notes) -> Pool {
        let mut it = Pool::builder()
            .min_workers(self.min_workers)
            .max_workers(self.max_workers)
            .idle_timeout(self.idle_timeout)
            .retries(self.retries)
            .output(Output::Null)
            // Otherwise a panic computes for long: it reads all debug information of the test.
            .env("RUST_BACKTRACE", "0")
            .cancel_grace(self.cancel_grace);
        macro_rules! set {
            ($($option:ident: $value:expr),* $(,)?) => {
                $(if let Some(value) = $value { it = it.$option(value); })*
            };
        }
        set!(
            queue_limit: self.queue_limit,
            queue_bytes: self.queue_bytes,
            task_timeout: self.task_timeout,
            queue_timeout: self.queue_timeout,
            max_tasks_per_worker: self.max_tasks,
            max_worker_memory: self.max_memory,
            max_worker_age: self.max_age,
            memory_limit: self.memory_limit,
            cpu_time_limit: self.cpu_time_limit,
            start_method: self.executes.then_some(StartMethod::Exec),
        );
        if let Some(rule) = self.rule {
            it = it.retry_if(move |error| rule.allows(error));
        }
        if let Some(each) = self.failing_initializer {
            it = it.initializer(fail_sometimes, (notes.clone(), each));
        }
        if self.exit_function {
            it = it.worker_exit(std::process::id, ());
        }
        if self.preload {
            it = it.preload(|| (), ());
        }
        it.build().unwrap()
    }
}

/// Fails in each so many-th worker.
fn fail_sometimes(notes: Notes, each: usize) -> Result<(), String> {
    notes.write("initialized", "");
    match notes.read("initialized").len() % each {
        0 => Err("it is one of those that fail".to_owned()),
        _ => Ok(()),
    }
}
