//! A circuit breaker that stops the start of workers after repeated failures.
//!
//! As in M. Nygard, "Release It!": closed, the breaker lets starts pass. After [`MAX_FAILURES`] in a row it opens and
//! lets none pass. After [`OPEN_FOR`], or when a task is submitted and there is no worker, it is half open: one start
//! at a time may try. The first that succeeds closes it. It opens as well when [`MAX_IDLE_DEATHS`] workers have died in
//! [`DEATHS_WINDOW`] while they had nothing to do: the next would too.
//!
//! A start that was killed counts less than a start that has failed ([`StartFailure`]): the next would live. But it
//! counts, because a task must not wait for ever where the kernel kills each start for want of memory.

use std::collections::VecDeque;
use std::time::Duration;

use crate::sys::clock::Moment;

/// Starts that fail in a row before the breaker opens.
const MAX_FAILURES: u32 = 5;

/// Starts that are killed in a row before the breaker opens, if they are killed before their initializers run. A person
/// or a test that kills workers at random does not come so far, and all of them take about a second.
const MAX_KILLED: u32 = 50;

/// For how many of them a start counts that was killed while an initializer ran. An initializer may take long, and may
/// itself take the memory for which the kernel kills.
const KILLED_IN_INITIALIZER: u32 = 5;

/// How long the breaker stays open, unless a task is submitted and there is no worker.
const OPEN_FOR: Duration = Duration::from_secs(1);

/// Workers that die idle in the window before the breaker opens.
const MAX_IDLE_DEATHS: usize = 100;
const DEATHS_WINDOW: Duration = Duration::from_secs(10);

/// How a start has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartFailure {
    /// By itself, so the next is expected to fail too.
    ByItself,
    /// Its process was killed (`SIGKILL`) before it ran anything of the user.
    Killed,
    /// Its process was killed while it ran an initializer.
    KilledInInitializer,
}

/// Counts starts that failed in a row, and says whether to start another worker.
#[derive(Debug, Default)]
pub(crate) struct StartBreaker {
    failures: u32,
    /// What the starts count that were killed in a row.
    killed: u32,
    /// When the last of both was counted.
    last_failure: Option<Moment>,
    open_until: Option<Moment>,
    /// Whether it has opened and no worker has started since.
    tripped: bool,
    /// When workers have died idle, oldest first.
    idle_deaths: VecDeque<Moment>,
}

impl StartBreaker {
    /// A worker has started: closes the breaker. True if it was open, or half open.
    #[must_use]
    pub(crate) fn succeeded(&mut self) -> bool {
        self.failures = 0;
        self.killed = 0;
        self.last_failure = None;
        self.open_until = None;
        std::mem::take(&mut self.tripped)
    }

    /// A worker whose start `began` then failed to start. True if the breaker is open now.
    ///
    /// Starts that overlap and fail count once: they may have taken each other's room, where one alone has enough.
    #[must_use]
    pub(crate) fn failed(&mut self, how: StartFailure, began: Moment, now: Moment) -> bool {
        if self.last_failure.is_some_and(|last| began < last) {
            return self.is_open();
        }
        self.last_failure = Some(now);
        let (count, by) = match how {
            StartFailure::ByItself => (&mut self.failures, 1),
            StartFailure::Killed => (&mut self.killed, 1),
            StartFailure::KilledInInitializer => (&mut self.killed, KILLED_IN_INITIALIZER),
        };
        *count = count.saturating_add(by);
        if self.failures >= MAX_FAILURES || self.killed >= MAX_KILLED {
            self.open(now);
        }
        self.is_open()
    }

    /// A worker that had started, and had nothing to do, has died.
    pub(crate) fn died_idle(&mut self, now: Moment) {
        self.idle_deaths.push_back(now);
        while self
            .idle_deaths
            .front()
            .is_some_and(|first| now.since(*first) > DEATHS_WINDOW)
        {
            self.idle_deaths.pop_front();
        }
        if self.idle_deaths.len() >= MAX_IDLE_DEATHS {
            // The others stay: until they are old, each death opens it again.
            self.idle_deaths.pop_front();
            self.open(now);
        }
    }

    fn open(&mut self, now: Moment) {
        self.open_until = Some(now.plus(OPEN_FOR));
        self.tripped = true;
    }

    /// One worker at a time may be started: an open breaker becomes half open.
    pub(crate) fn half_open(&mut self) {
        self.open_until = None;
    }

    /// Whether no worker may be started for a while.
    pub(crate) fn is_open(&self) -> bool {
        self.open_until.is_some()
    }

    /// Whether the breaker has opened and no worker has started since.
    pub(crate) fn is_tripped(&self) -> bool {
        self.tripped
    }

    /// Whether a worker may be started.
    pub(crate) fn allows(&self, now: Moment) -> bool {
        self.open_until.is_none_or(|until| now >= until)
    }

    /// Whether it is not known whether any worker will start: the last has failed by itself.
    pub(crate) fn is_cautious(&self) -> bool {
        self.failures > 0 || self.tripped
    }

    /// How many workers may be starting at a time: one, while it is not known whether any will start.
    pub(crate) fn max_starting(&self) -> usize {
        match self.is_cautious() {
            false => usize::MAX,
            true => 1,
        }
    }

    /// When an open breaker becomes half open. `None` if the breaker is not open.
    pub(crate) fn half_open_at(&self) -> Option<Moment> {
        self.open_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::default().plus(Duration::from_millis(millis))
    }

    #[test]
    fn breaker_is_tripped_until_a_worker_starts() {
        let mut breaker = StartBreaker::default();
        while !breaker.failed(StartFailure::ByItself, at(1), at(1)) {
            assert!(!breaker.is_tripped());
        }
        assert!(breaker.is_tripped());
        breaker.half_open();
        assert!(!breaker.is_open() && breaker.is_tripped());
        assert!(breaker.succeeded() && !breaker.succeeded());
    }

    /// How many starts that fail so open the breaker.
    fn most(how: StartFailure) -> usize {
        let mut breaker = StartBreaker::default();
        let mut fails = |n| breaker.failed(how, at(n), at(n));
        1 + (0..).take_while(|&n| !fails(n)).count()
    }

    #[test]
    fn starts_that_are_killed_open_the_breaker_later() {
        assert_eq!(most(StartFailure::ByItself), 5);
        assert_eq!(most(StartFailure::KilledInInitializer), 10);
        assert_eq!(most(StartFailure::Killed), 50);
    }

    #[test]
    fn killed_start_leaves_the_others_alone() {
        let mut breaker = StartBreaker::default();
        assert!(!breaker.failed(StartFailure::Killed, at(1), at(1)));
        assert!(!breaker.is_cautious() && breaker.allows(at(1)));
        for n in 2..6 {
            assert!(!breaker.failed(StartFailure::ByItself, at(n), at(n)));
        }
        assert!(breaker.is_cautious() && !breaker.succeeded());
        // Both counts begin anew.
        for n in 6..55 {
            assert!(!breaker.failed(StartFailure::Killed, at(n), at(n)));
        }
        assert!(breaker.failed(StartFailure::Killed, at(55), at(55)));
    }

    #[test]
    fn breaker_opens_when_many_workers_die_idle_in_a_short_time() {
        let mut breaker = StartBreaker::default();
        let few = MAX_IDLE_DEATHS as u64 - 1;
        let slowly = DEATHS_WINDOW.as_millis() as u64 / few;
        for n in 0..10 * few {
            breaker.died_idle(at(n * (slowly + 2)));
            assert!(!breaker.is_tripped());
        }
        let end = at(1_000_000);
        for _ in 0..=few {
            // A worker that starts says nothing about how long it lives.
            let _ = breaker.succeeded();
            breaker.died_idle(end);
        }
        assert!(breaker.is_tripped() && !breaker.allows(end));
    }
}
