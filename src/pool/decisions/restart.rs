//! A restart of all workers, one after the other.
//!
//! Lives in the application. Pure but for telling the caller that it is over.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::worker_table::{Worker, WorkerTable};
use crate::schedule::WorkerKey;

/// What a restart does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum RestartStep {
    /// Nothing: a worker has not left yet.
    Wait,
    /// Replace this worker.
    Replace(WorkerKey),
}

/// Restarts that have not ended, in the order of the calls.
#[derive(Debug, Default)]
pub(in crate::pool) struct Restarts(VecDeque<RestartRound>);

#[derive(Debug)]
struct RestartRound {
    /// The serial numbers of the workers that are left.
    left: VecDeque<u64>,
    /// The worker that was told to leave.
    current: Option<u64>,
    /// Dropped when the round is over.
    _done: oneshot::Sender<()>,
}

impl Restarts {
    /// All workers that there are now are replaced. The sender is dropped when they were.
    pub(in crate::pool) fn add(&mut self, workers: &WorkerTable, done: oneshot::Sender<()>) {
        let alive = workers
            .first_lanes()
            .map(|(_, it)| it)
            .filter(|it| it.is_alive() && !it.standby);
        let staying = alive.filter(|it| !it.departure.is_final());
        self.0.push_back(RestartRound {
            left: staying.map(|it| it.serial).collect(),
            current: None,
            _done: done,
        });
    }

    /// No worker is restarted any more.
    pub(in crate::pool) fn clear(&mut self) {
        self.0.clear();
    }

    /// What to do next; `None` if there is no restart. While no worker can be started (`broken`), the rest stay.
    pub(in crate::pool) fn next(
        &mut self,
        workers: &WorkerTable,
        broken: bool,
    ) -> Option<RestartStep> {
        loop {
            let round = self.0.front_mut()?;
            if !broken {
                if round
                    .current
                    .is_some_and(|serial| find(workers, serial).is_some())
                {
                    return Some(RestartStep::Wait);
                }
                round.current = round.left.pop_front();
                match round.current.map(|serial| find(workers, serial)) {
                    Some(Some((worker, _))) => return Some(RestartStep::Replace(worker)),
                    Some(None) => continue,
                    None => {}
                }
            }
            self.0.pop_front();
        }
    }
}

/// The worker with this serial number, unless it has finished its last task.
fn find(workers: &WorkerTable, serial: u64) -> Option<(WorkerKey, &Worker)> {
    let mut alive = workers.iter().filter(|(_, it)| it.is_alive());
    alive.find(|(_, it)| it.serial == serial)
}
