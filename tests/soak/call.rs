//! One call with its options, and the causes with which it may end.

use std::time::Duration;

use procession::{JoinError, Pool, Priority, Run};
use serde_bytes::ByteBuf;

use crate::Random;
use crate::causes::{Cause, Causes};
use crate::ledger::Ledger;
use crate::notes::Notes;
use crate::operations::{Operation, Work, work, work_async};
use crate::settings::{Rule, Settings};

/// What becomes of a call.
pub(crate) type Outcome = Result<(u64, ByteBuf), JoinError>;

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) number: u64,
    pub(crate) operation: Operation,
    bytes: usize,
    is_async: bool,
    pub(crate) timeout: Option<Duration>,
    progress_timeout: Option<Duration>,
    pub(crate) queue_timeout: Option<Duration>,
    pub(crate) retries: u32,
    priority: Priority,
    key: Option<u64>,
    /// Whether its result cannot be decoded.
    is_undecodable: bool,
    /// What else may become of it.
    pub(crate) more: Causes,
}

/// How a call is going to be ended by the test, if not by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    ByItself,
    ByTheTest,
}

impl Call {
    /// A call with a random operation and random options.
    pub(crate) fn random(
        number: u64,
        random: &mut Random,
        settings: &Settings,
        ends: Ends,
    ) -> Self {
        let mut it = Self::returning(number, settings);
        let short = |random: &mut Random| Duration::from_micros(500 + random.below(30_000));
        it.operation = operation(random, settings);
        it.bytes = bytes(random);
        it.is_async = random.one_in(3);
        it.timeout = random.maybe(4, short).or(it.timeout);
        it.progress_timeout = random.maybe(8, short);
        it.queue_timeout = random.maybe(8, short).or(it.queue_timeout);
        it.retries = random
            .maybe(4, |it| it.below(3) as u32)
            .unwrap_or(it.retries);
        it.priority = [Priority::Low, Priority::Normal, Priority::High][random.below(3) as usize];
        it.key = random.maybe(3, |it| it.below(6));
        let limits = [it.timeout, it.progress_timeout];
        if it.operation.is_endless() && limits == [None; 2] && ends == Ends::ByItself {
            it.timeout = Some(short(random));
        }
        it
    }

    /// A call that returns at once, with the options of its pool.
    pub(crate) fn returning(number: u64, settings: &Settings) -> Self {
        Self {
            number,
            operation: Operation::Return,
            bytes: 0,
            is_async: false,
            timeout: settings.task_timeout,
            progress_timeout: None,
            queue_timeout: settings.queue_timeout,
            retries: settings.retries,
            priority: Priority::Normal,
            key: None,
            is_undecodable: false,
            more: Causes::default(),
        }
    }

    /// The same call where options of a call cannot be given.
    pub(crate) fn without_options(mut self, settings: &Settings) -> Self {
        let plain = Self::returning(self.number, settings);
        if self.operation.is_endless() && plain.timeout.is_none() {
            self.operation = Operation::Sleep(300);
        }
        Self {
            operation: self.operation,
            bytes: self.bytes,
            is_async: self.is_async,
            ..plain
        }
    }

    /// The same call, which is not run again.
    pub(crate) fn pinned(self) -> Self {
        Self { retries: 0, ..self }
    }

    /// The same call, whose result cannot be decoded.
    pub(crate) fn undecodable(self) -> Self {
        Self {
            is_undecodable: true,
            ..self
        }
    }

    pub(crate) fn or(mut self, cause: Cause) -> Self {
        self.more = self.more.with(cause);
        self
    }

    pub(crate) fn work(&self, notes: &Notes) -> Work {
        let bytes = ByteBuf::from(vec![self.number as u8; self.bytes]);
        (notes.clone(), self.number, self.operation, bytes)
    }

    /// Enters the outcome, whose value must be right.
    pub(crate) fn ended(&self, ledger: &Ledger, outcome: Outcome) -> Cause {
        let is_right = outcome.as_ref().map_or(true, |value| self.is_right(value));
        assert!(is_right, "the result of {self:?} is wrong");
        ledger.ended(self, &outcome.map(|(number, _)| number))
    }

    pub(crate) fn with_bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    /// Whether this is what the function returns.
    fn is_right(&self, value: &(u64, ByteBuf)) -> bool {
        let (number, bytes) = value;
        *number == self.number
            && bytes.len() == self.bytes
            && bytes.iter().all(|it| *it == self.number as u8)
    }

    pub(crate) fn run(&self, pool: &Pool, notes: &Notes) -> Run<(u64, ByteBuf)> {
        let run = match self.is_async {
            true => pool.run(work_async, self.work(notes)),
            false => pool.run(work, self.work(notes)),
        };
        self.configure(run)
    }

    /// Gives a call the options.
    pub(crate) fn configure<R>(&self, mut run: Run<R>) -> Run<R> {
        run = run.retries(self.retries).priority(self.priority);
        if let Some(limit) = self.timeout {
            run = run.timeout(limit);
        }
        if let Some(limit) = self.progress_timeout {
            run = run.progress_timeout(limit);
        }
        if let Some(limit) = self.queue_timeout {
            run = run.queue_timeout(limit);
        }
        match self.key {
            Some(key) => run.key(key),
            None => run,
        }
    }

    /// The causes with which it may end: those of its operation, its limits, and what the test does to its worker.
    pub(crate) fn causes(&self, settings: &Settings) -> Causes {
        let limited = self.timeout.is_some() || self.progress_timeout.is_some();
        let may_use_its_time = settings.cpu_time_limit.is_some() && self.operation.computes();
        self.own_causes()
            .with_if(limited || may_use_its_time, Cause::Overran)
            .with_if(self.queue_timeout.is_some(), Cause::Overdue)
            .with_if(settings.kills, Cause::Killed)
            .union(self.more)
    }

    fn own_causes(&self) -> Causes {
        match self.operation {
            _ if self.is_undecodable => Cause::Undecodable.into(),
            Operation::Return
            | Operation::Spin(_)
            | Operation::Sleep(_)
            | Operation::SendAlive(_)
            | Operation::Grow
            | Operation::LeaveFile
            | Operation::LeaveChild => Cause::Done.into(),
            Operation::Panic => Cause::Panicked.into(),
            Operation::Abort | Operation::Kill | Operation::Segfault => Cause::Signalled.into(),
            Operation::Exit(_) => Cause::Exited.into(),
            Operation::AllocateTooMuch => Cause::OutOfMemory.into(),
            Operation::SpinForever
            | Operation::Hang
            | Operation::ReturnWhenCancelled
            | Operation::PanicWhenCancelled => Causes::default(),
        }
    }

    /// How often the function may run.
    pub(crate) fn most_runs(&self, settings: &Settings) -> usize {
        let causes = self.causes(settings);
        let again = match settings.rule {
            None => causes.has_any(&[Cause::Killed, Cause::Signalled, Cause::Exited]),
            Some(rule) => {
                causes.has_any(&[Cause::Killed, Cause::Signalled, Cause::Panicked])
                    || self.operation == Operation::PanicWhenCancelled
                    || rule == Rule::TimeoutsToo && causes.has(Cause::Overran)
            }
        };
        1 + if again { self.retries as usize } else { 0 }
    }

    /// How often the function has run if it ended so, where nothing but its operation decides.
    pub(crate) fn exact_runs(&self, settings: &Settings, cause: Cause) -> Option<usize> {
        let again = match (cause, settings.rule) {
            (Cause::Done, _) => false,
            (Cause::Signalled, _) | (Cause::Exited, None) | (Cause::Panicked, Some(_)) => true,
            (Cause::Exited, Some(_)) | (Cause::Panicked, None) => false,
            _ => return None,
        };
        let is_only = self.causes(settings) == cause.into();
        let runs = 1 + if again { self.retries as usize } else { 0 };
        is_only.then_some(runs)
    }
}

fn operation(random: &mut Random, settings: &Settings) -> Operation {
    match random.below(40) {
        0..=11 => Operation::Return,
        12..=16 => Operation::Spin(random.below(2_000)),
        17..=20 => Operation::Sleep(random.below(3_000)),
        21 => Operation::SendAlive(random.below(20_000)),
        22 | 23 => Operation::Grow,
        24 => Operation::LeaveFile,
        // Where the test kills a worker and then the application, nothing is left that could end what the worker has
        // left.
        25 if !settings.is_victim && random.one_in(3) => Operation::LeaveChild,
        26..=28 => Operation::Panic,
        29 => Operation::Abort,
        30 => Operation::Kill,
        31 => Operation::Segfault,
        32 => Operation::Exit(1 + random.below(200) as u8),
        33 if settings.memory_limit.is_some() => Operation::AllocateTooMuch,
        34 => Operation::SpinForever,
        35 => Operation::Hang,
        36 => Operation::ReturnWhenCancelled,
        37 => Operation::PanicWhenCancelled,
        _ => Operation::Return,
    }
}

fn bytes(random: &mut Random) -> usize {
    let limit = match random.below(20) {
        0 => 600_000,
        1..=3 => 20_000,
        _ => 600,
    };
    random.below(limit) as usize
}
