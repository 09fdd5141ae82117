//! What must come out: ratios within one run, and a few figures that stand for themselves.

use crate::cases::{OURS, Pin};
use crate::figure::{Unit, ratio};
use crate::round::CaseResult;
use crate::work;

use Against::{Absolute, Rival};
use Bound::{AtLeast, AtMost};

/// Every target, in the order of the cases.
pub(crate) static TARGETS: &[Target] = &[
    pinned(
        "one-task",
        "one tiny task, one CPU, p50",
        Rival("spawn_blocking"),
        AtMost(1.5),
    ),
    pinned(
        "one-task",
        "one tiny task, one CPU, p50",
        Rival("procspawn"),
        AtMost(0.25),
    ),
    free(
        "submitters",
        "64 submitters, tasks/s",
        Rival("spawn_blocking"),
        AtLeast(1.0),
    ),
    free(
        "submitters",
        "64 submitters, tasks/s",
        Rival("procspawn"),
        AtLeast(10.0),
    ),
    free(
        "map-single",
        "map, one item per message",
        Absolute(Unit::PerSecond),
        AtLeast(1e6),
    ),
    free(
        "map-single",
        "map, one item per message",
        Rival("mp.Pool(chunksize=1)"),
        AtLeast(25.0),
    ),
    free(
        "map-default",
        "map 1 M integers, defaults",
        Absolute(Unit::PerSecond),
        AtLeast(30e6),
    ),
    free(
        "map-default",
        "map 1 M integers, defaults",
        Rival("mp.Pool"),
        AtLeast(5.0),
    ),
    free(
        "start",
        "start a process, run, join",
        Rival("procspawn"),
        AtMost(1.0 / 3.0),
    ),
    free(
        "start",
        "start a process, run, join",
        Absolute(Unit::Seconds),
        AtMost(0.5e-3),
    ),
    free(
        "start-large",
        "the same from a large parent",
        Absolute(Unit::Seconds),
        AtMost(0.5e-3),
    ),
    free(
        "start-rate",
        "processes a second",
        Absolute(Unit::PerSecond),
        AtLeast(2_500.0),
    ),
    free(
        "start-holds",
        "the runtime's thread, held, p99",
        Absolute(Unit::Seconds),
        AtMost(0.2e-3),
    ),
    free(
        "replace",
        "replacing a killed worker",
        Absolute(Unit::Seconds),
        AtMost(1e-3),
    ),
    free(
        "pool-life",
        "a pool of 4",
        Absolute(Unit::Seconds),
        AtMost(4e-3),
    ),
    free("pool-life", "a pool of 4", Rival("procspawn"), AtMost(0.5)),
    free(
        "big-argument",
        "64 MiB as argument",
        Rival("procspawn (serde_bytes)"),
        AtMost(0.2),
    ),
    free(
        "big-argument",
        "64 MiB as argument",
        Rival("loky"),
        AtMost(0.2),
    ),
    free(
        "speedup",
        "5 ms tasks, 2 workers against 1",
        Absolute(Unit::Times),
        AtLeast(1.95),
    ),
    free(
        "timer",
        "1 ms timer, pool saturated, p99",
        Rival("idle runtime"),
        AtMost(1.3),
    ),
    free(
        "memory",
        "idle worker, PSS",
        Absolute(Unit::Bytes),
        AtMost(524_288.0),
    ),
    free(
        "preload-memory",
        "1 GiB loaded once, 4 workers, PSS",
        Absolute(Unit::Bytes),
        AtMost(1.1 * (1_u64 << 30) as f64),
    ),
    free(
        "preload-start",
        "a worker with 1 GiB loaded",
        Absolute(Unit::Seconds),
        AtMost(3e-3),
    ),
    free(
        "wake-ups",
        "idle pool, switches in 2 s",
        Absolute(Unit::Count),
        AtMost(IDLE_SWITCHES),
    ),
    free(
        "queue-1-1",
        "queue, 64 B, 1 to 1",
        Rival("tokio mpsc"),
        AtLeast(1.0),
    ),
    free(
        "queue-1-1",
        "queue, 64 B, 1 to 1",
        Rival("ipc-channel"),
        AtLeast(12.0),
    ),
    free(
        "queue-2-2",
        "queue, 64 B, 2 to 2",
        Rival("flume"),
        AtLeast(0.8),
    ),
    free(
        "queue-2-2",
        "queue, 64 B, 2 to 2",
        Rival("mp.Queue"),
        AtLeast(20.0),
    ),
    free(
        "queue-large",
        "queue, 1 MiB",
        Absolute(Unit::PerSecond),
        AtLeast(LARGE_MESSAGES),
    ),
    free(
        "queue-large",
        "queue, 1 MiB",
        Rival("tokio-unix-ipc"),
        AtLeast(1.5),
    ),
    pinned(
        "pipe",
        "pipe there and back, one CPU, p50",
        Absolute(Unit::Seconds),
        AtMost(12e-6),
    ),
    pinned(
        "pipe",
        "pipe there and back, one CPU, p50",
        Rival("tokio-unix-ipc"),
        AtMost(0.5),
    ),
    pinned(
        "pipe-blocking",
        "blocking pipe there and back, one CPU, p50",
        Absolute(Unit::Seconds),
        AtMost(7e-6),
    ),
    free(
        "queue-idle",
        "idle queue, switches in 2 s",
        Absolute(Unit::Count),
        AtMost(IDLE_SWITCHES),
    ),
    pinned(
        "managed-call",
        "call of a managed state, one CPU, p50",
        Rival("eventfd there and back, blocking"),
        AtMost(2.0),
    ),
    pinned(
        "managed-call",
        "call of a managed state, one CPU, p50",
        Rival("mp.Manager"),
        AtMost(0.2),
    ),
    pinned(
        "state-run",
        "a task with a state, one CPU, p50",
        Rival("procession, without a state"),
        AtMost(1.05),
    ),
    free(
        "shared-argument",
        "64 MiB of shared memory as argument",
        Absolute(Unit::Seconds),
        AtMost(0.1e-3),
    ),
    free(
        "shared-stream",
        "1 MiB of shared memory, filled and read",
        Absolute(Unit::PerSecond),
        AtLeast(SHARED_MESSAGES),
    ),
    free(
        "cancelled-loop",
        "worker usable after a cancelled loop, p99",
        Absolute(Unit::Seconds),
        AtMost(2e-3),
    ),
    free(
        "refusal",
        "refusals at the queue limit",
        Absolute(Unit::PerSecond),
        AtLeast(1e6),
    ),
    free(
        "queued-memory",
        "a queued task beside its arguments",
        Absolute(Unit::Bytes),
        AtMost(QUEUED_TASK),
    ),
    free(
        "queued-submit",
        "the 100,000th submission ÷ the first",
        Absolute(Unit::Times),
        AtMost(1.25),
    ),
    pinned(
        "streamed-item",
        "a streamed item, one CPU",
        Rival("procession's queue"),
        AtLeast(1.0),
    ),
    free(
        "streamed-item",
        "a streamed item",
        Rival("procession's queue"),
        AtLeast(1.0),
    ),
    pinned(
        "cached-argument",
        "64 MiB, cached, beside no argument, one CPU",
        Absolute(Unit::Seconds),
        AtMost(2e-6),
    ),
    free(
        "metrics",
        "metrics under load",
        Absolute(Unit::Seconds),
        AtMost(20e-6),
    ),
    free(
        "metrics-load",
        "tasks/s, metrics read 1,000 times a second",
        Rival("procession, metrics not read"),
        AtLeast(0.97),
    ),
];

/// 250 bytes, and the argument's: 8 as a value, at most 4 encoded, with a length of 4.
const QUEUED_TASK: f64 = 250.0 + 16.0;

/// 6 GB/s.
const LARGE_MESSAGES: f64 = 6e9 / work::LARGE as f64;

/// 8 GB/s.
const SHARED_MESSAGES: f64 = 8e9 / work::LARGE as f64;

/// Nothing may wake an idle pool. A bare runtime has two switches: the end of the sleep, and one
/// look at its timer on the way; another two may be preemption.
const IDLE_SWITCHES: f64 = 4.0;

/// One thing that must hold.
#[derive(Debug)]
pub(crate) struct Target {
    title: &'static str,
    case: &'static str,
    pin: Pin,
    against: Against,
    bound: Bound,
}

/// The value our figure is compared with.
#[derive(Debug)]
enum Against {
    /// A contender's: the ratio counts.
    Rival(&'static str),
    /// No contender: the figure counts, in this unit.
    Absolute(Unit),
}

#[derive(Debug)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// The verdict.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    Miss,
    /// One of the two has no figure.
    NotRun,
}

impl Target {
    /// The measurement and its opponent.
    pub(crate) fn title(&self) -> String {
        match self.against {
            Rival(rival) => format!("{} ÷ {rival}", self.title),
            Absolute(_) => self.title.to_owned(),
        }
    }

    /// Whether it is in `result` that this must come out.
    pub(crate) fn is_about(&self, result: &CaseResult) -> bool {
        result.case.name == self.case && result.pin == self.pin
    }

    /// The ratio or the figure, when both sides of it were measured.
    pub(crate) fn measured(&self, results: &[CaseResult]) -> Option<f64> {
        let result = results.iter().find(|one| self.is_about(one))?;
        let ours = result.median(OURS)?;
        match self.against {
            Absolute(_) => Some(ours),
            Rival(rival) => Some(ours / result.median(rival)?),
        }
    }

    pub(crate) fn verdict(&self, measured: Option<f64>) -> Verdict {
        match (measured, &self.bound) {
            (None, _) => Verdict::NotRun,
            (Some(value), AtMost(most)) if value <= *most => Verdict::Pass,
            (Some(value), AtLeast(least)) if value >= *least => Verdict::Pass,
            (Some(_), _) => Verdict::Miss,
        }
    }

    /// A measured value in the target's own terms.
    pub(crate) fn show(&self, value: f64) -> String {
        match self.against {
            Rival(_) => ratio(value),
            Absolute(unit) => unit.show(value),
        }
    }

    /// The bound in the target's own terms.
    pub(crate) fn needs(&self) -> String {
        let (sign, bound) = match self.bound {
            AtMost(bound) => ('≤', bound),
            AtLeast(bound) => ('≥', bound),
        };
        match self.against {
            Rival(_) => format!("{sign} {bound}"),
            Absolute(unit) => format!("{sign} {}", unit.show(bound)),
        }
    }
}

const fn pinned(case: &'static str, title: &'static str, against: Against, bound: Bound) -> Target {
    Target {
        title,
        case,
        pin: Pin::OneCpu,
        against,
        bound,
    }
}

const fn free(case: &'static str, title: &'static str, against: Against, bound: Bound) -> Target {
    Target {
        title,
        case,
        pin: Pin::None,
        against,
        bound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::CASES;

    #[test]
    fn every_target_names_a_case_a_pin_and_a_rival_that_exist() {
        for target in TARGETS {
            let case = CASES
                .iter()
                .find(|case| case.name == target.case)
                .expect(target.case);
            assert!(case.pins.contains(&target.pin), "{}", target.title());
            if let Rival(rival) = target.against {
                assert!(case.contender(rival).is_some(), "{}", target.title());
            }
        }
    }

    #[test]
    fn the_bound_itself_passes() {
        let at_most = pinned("one-task", "", Rival("procspawn"), AtMost(1.5));
        assert_eq!(at_most.verdict(Some(1.5)), Verdict::Pass);
        assert_eq!(at_most.verdict(Some(1.51)), Verdict::Miss);
        let at_least = free("speedup", "", Absolute(Unit::Times), AtLeast(1.95));
        assert_eq!(at_least.verdict(Some(1.95)), Verdict::Pass);
        assert_eq!(at_least.verdict(Some(1.9)), Verdict::Miss);
        assert_eq!(at_least.verdict(None), Verdict::NotRun);
    }
}
