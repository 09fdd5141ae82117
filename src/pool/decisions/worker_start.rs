//! The core's topic: the decision to start a worker, and what a new worker has.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::core::{Core, Effect};
use super::departure::Departure;
use super::exit_stage::ExitStage;
use super::target::Reservation;
use super::worker_state::WorkerLife;
use super::worker_table::{LanePlace, Worker};
use crate::call::job::Job;
use crate::pool::driving::ledger::Ledger;
use crate::pool::options::worker_limits::WorkerLimits;
use crate::schedule::WorkerKey;
use crate::spawn::{ChildSpec, OutputFds};
use crate::sys::scratch;

impl Core {
    pub(in crate::pool) fn start_worker(&mut self) {
        let first = self.schedule.add_worker();
        let number = self.next_number();
        let standby = self
            .workers
            .iter()
            .any(|(lane, it)| it.number == number && (it.is_alive() || self.is_occupied(lane)));
        let age = self.limits().age_of_one();
        let (wanted, unwanted) = oneshot::channel();
        self.started += 1;
        let serial = self.started;
        let others = self.insert_other_lanes(first, number, standby);
        let count = others.len();
        let lane = LanePlace {
            first,
            is_first: true,
            others,
        };
        let life = WorkerLife::Starting {
            _wanted: wanted,
            kill_at: None,
        };
        let worker = Worker {
            exit_job: self.exit_job(),
            quota: self.limits().tasks.unwrap_or(u64::MAX),
            expires: age.map(|age| self.now.plus(age)),
            ..self.new_worker(lane, number, standby, life, serial)
        };
        self.workers.insert(first, worker);
        self.place_pinned(number);
        let pool = self.settings.name.clone();
        let spec = ChildSpec {
            name: Some(format!("{}/{number}", pool.as_deref().unwrap_or("pool"))),
            pool,
            number: Some(number),
            other_lanes: count,
            seed: Some(self.settings.seed),
            scratch: Some(scratch::path(self.settings.id, serial)),
            cgroup: None,
            detached: false,
            surroundings: self.settings.surroundings.clone(),
            output: OutputFds::default(),
        };
        // Or an idle worker would leave open whether others can start.
        let proves = self.breaker.is_cautious();
        self.effects
            .push(Effect::Launch(first, Box::new(spec), unwanted, proves));
    }

    /// Adds the lanes beside the first of a worker that is being started.
    fn insert_other_lanes(
        &mut self,
        first: WorkerKey,
        number: usize,
        standby: bool,
    ) -> Vec<WorkerKey> {
        let count = self.settings.tasks_per_worker - 1;
        let others: Vec<_> = (0..count).map(|_| self.schedule.add_worker()).collect();
        for &key in &others {
            self.started += 1;
            let lane = LanePlace {
                first,
                is_first: false,
                others: Vec::new(),
            };
            // The start is that of the first lane.
            let (wanted, _) = oneshot::channel();
            let life = WorkerLife::Starting {
                _wanted: wanted,
                kill_at: None,
            };
            let lane = self.new_worker(lane, number, standby, life, self.started);
            self.workers.insert(key, lane);
        }
        others
    }

    /// A worker that is being started, without limits and exit function.
    fn new_worker(
        &self,
        lane: LanePlace,
        number: usize,
        standby: bool,
        life: WorkerLife,
        serial: u64,
    ) -> Worker {
        Worker {
            lane,
            pinned: VecDeque::new(),
            reservation: Reservation::None,
            number,
            life,
            proven: false,
            done: 0,
            since: self.now,
            looked_after: Duration::ZERO,
            must_wake: false,
            has_fds: Vec::new(),
            ledger: Ledger::default(),
            lane_fault: None,
            unresponsive: false,
            setup_failure: None,
            nonsense: None,
            stderr: String::new(),
            serial,
            departure: Departure::No,
            standby,
            exit_job: None,
            exit_stage: ExitStage::Unsent,
            exit_blob: None,
            quota: u64::MAX,
            expires: None,
            idle_since: self.now,
            was_taking: false,
        }
    }

    fn exit_job(&self) -> Option<Arc<dyn Job>> {
        let make = self.settings.worker_exit.as_ref()?;
        Some(make(&self.settings.exit_results))
    }

    fn limits(&self) -> WorkerLimits {
        self.settings.limits
    }
}
