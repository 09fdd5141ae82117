//! What the death of a worker that was wanted says about the workers that are started next.
//!
//! Lives in the application; pure.

use crate::schedule::StartFailure;

/// What is known of the death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) struct WorkerDeath {
    /// Whether the worker was ready for its first task.
    pub(in crate::pool) started: bool,
    /// Whether it had a task, or ran its exit function.
    pub(in crate::pool) had_work: bool,
    /// Whether it was killed (`SIGKILL`), and not by its pool.
    pub(in crate::pool) was_killed: bool,
    /// Whether it ran an initializer.
    pub(in crate::pool) in_initializer: bool,
}

/// What it says about the next worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum DeathMeaning {
    /// Nothing.
    None,
    /// Its start may fail too.
    FailedStart(StartFailure),
    /// It may die too while it has nothing to do.
    DiesIdle,
}

impl WorkerDeath {
    pub(in crate::pool) fn meaning(self) -> DeathMeaning {
        match self.started {
            false => DeathMeaning::FailedStart(self.start_failure()),
            // A task may have ended it. Without the kill it would live.
            true if self.had_work || self.was_killed => DeathMeaning::None,
            true => DeathMeaning::DiesIdle,
        }
    }

    fn start_failure(self) -> StartFailure {
        match (self.was_killed, self.in_initializer) {
            (false, _) => StartFailure::ByItself,
            (true, false) => StartFailure::Killed,
            (true, true) => StartFailure::KilledInInitializer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: WorkerDeath = WorkerDeath {
        started: true,
        had_work: false,
        was_killed: false,
        in_initializer: false,
    };

    #[test]
    fn worker_that_dies_of_itself_says_that_the_next_may_too() {
        assert_eq!(IDLE.meaning(), DeathMeaning::DiesIdle);
        let had_work = true;
        assert_eq!(
            WorkerDeath { had_work, ..IDLE }.meaning(),
            DeathMeaning::None
        );
    }

    #[test]
    fn worker_that_was_killed_while_idle_says_nothing() {
        let was_killed = true;
        assert_eq!(
            WorkerDeath { was_killed, ..IDLE }.meaning(),
            DeathMeaning::None
        );
    }

    #[test]
    fn start_that_was_killed_is_told_from_a_start_that_fails() {
        let start = WorkerDeath {
            started: false,
            ..IDLE
        };
        for (had_work, in_initializer) in [(false, false), (true, false), (false, true)] {
            let start = WorkerDeath {
                had_work,
                in_initializer,
                ..start
            };
            let by_itself = DeathMeaning::FailedStart(StartFailure::ByItself);
            assert_eq!(start.meaning(), by_itself);
            let how = match in_initializer {
                true => StartFailure::KilledInInitializer,
                false => StartFailure::Killed,
            };
            let was_killed = true;
            let killed = WorkerDeath {
                was_killed,
                ..start
            };
            assert_eq!(killed.meaning(), DeathMeaning::FailedStart(how));
        }
    }
}
