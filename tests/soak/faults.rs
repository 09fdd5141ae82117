//! What is done to a pool while it is used.

use std::sync::atomic::Ordering;
use std::time::Duration;

use procession::{WorkerInfo, WorkerState};

use crate::Random;
use crate::client::Client;
use crate::deadline::within;
use crate::leftovers::processes::{ProcessInfo, children, kill_if_running};

impl Client {
    /// Kills workers and fork servers, and changes the workers, until `stop` is set.
    pub(crate) async fn inject_faults(self, seed: u64) {
        let random = &mut Random::new(seed);
        let pace = 2_000 + random.below(40_000);
        let settings = self.ledger.settings.clone();
        while !self.stop.load(Ordering::Relaxed) {
            tokio::time::sleep(random.micros(pace)).await;
            match random.below(10) {
                0..=4 if settings.kills => self.kill_worker(random),
                5 if settings.kills && random.one_in(3) => kill_fork_server(random),
                6 if settings.changes => {
                    let workers = 1 + random.below(settings.max_workers as u64 + 1);
                    self.pool.resize(workers as usize);
                }
                7 if settings.changes => self.restart(random).await,
                _ => self.observe(),
            }
        }
    }

    /// Kills a worker, in some pools also while it starts.
    fn kill_worker(&self, random: &mut Random) {
        let infos = self.pool.workers();
        let any_state = self.ledger.settings.may_be_killed_early() && random.one_in(4);
        let may_be_killed = |it: &WorkerInfo| match it.state() {
            WorkerState::Idle | WorkerState::Busy => true,
            _ => any_state,
        };
        let victims = infos.iter().filter(|it| may_be_killed(it));
        let mut victims: Vec<_> = victims.filter_map(WorkerInfo::pid).collect();
        if victims.is_empty() {
            return;
        }
        let victim = victims.swap_remove(random.below(victims.len() as u64) as usize);
        self.ledger.kills(victim);
        kill_if_running(victim);
    }

    async fn restart(&self, random: &mut Random) {
        let restart = self.pool.restart_workers();
        match random.one_in(3) {
            true => _ = tokio::time::timeout(Duration::from_millis(1), restart).await,
            false => within(restart).await,
        }
    }

    /// What is shown makes sense at any moment.
    fn observe(&self) {
        let before = self.pool.metrics();
        let infos = self.pool.workers();
        let after = self.pool.metrics();
        assert!(before.completed() <= after.completed());
        assert!((0.0..=1.0).contains(&after.utilisation()));
        assert!(
            infos
                .iter()
                .all(|it| it.current_task().is_some() == it.current_function().is_some())
        );
    }
}

fn kill_fork_server(random: &mut Random) {
    let mut servers = children();
    servers.retain(ProcessInfo::is_fork_server);
    if !servers.is_empty() {
        let victim = servers.swap_remove(random.below(servers.len() as u64) as usize);
        kill_if_running(victim.pid);
    }
}
