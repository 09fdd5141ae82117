//! The core's topic: how busy the workers were in the last seconds.

use std::time::Duration;

use super::core::Core;
use super::worker_table::Worker;
use crate::pool::monitoring::recent_time::WINDOW;

impl Core {
    /// The share of the last ten seconds of all workers in which they ran tasks, between 0 and 1.
    pub(in crate::pool) fn utilisation(&self) -> f64 {
        let workers = self.workers.iter();
        let (mut busy, mut alive) = (
            self.busy_time.total(self.now),
            self.exited_time.total(self.now),
        );
        for (worker, it) in workers.filter(|(_, it)| !it.standby) {
            alive += self.now.since(it.since).min(WINDOW);
            busy += self.running_for(worker).unwrap_or_default().min(WINDOW);
        }
        match alive.is_zero() {
            true => 0.0,
            false => (busy.as_secs_f64() / alive.as_secs_f64()).min(1.0),
        }
    }

    /// A worker has exited, which has run a task for so long if it ran one.
    pub(in crate::pool) fn count_exited_time(&mut self, dead: &Worker, ran: Option<Duration>) {
        self.exited_time.add(self.now.since(dead.since), self.now);
        self.busy_time.add(ran.unwrap_or_default(), self.now);
    }
}
