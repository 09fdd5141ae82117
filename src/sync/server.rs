//! Serving requests: which parties get what they wait for, and what becomes of dead parties.
//!
//! Runs in any process that has changed something, under the serving lock. The lock is tried and never waited for: a
//! process that finds it held has counted its call before, and the holder serves again when it sees another count
//! than before. If the holder is killed, its death has every process that waits serve anew.
//!
//! What must stay true: whatever the table and the words contain, serving leaves a state in which each live party that
//! can continue was told so. So it does not matter where the last server was killed. Each object decides that for
//! itself; here is what they have in common.

use std::sync::atomic::{Ordering, fence};

use super::local_side::LocalSide;
use super::object_kind::ObjectKind;
use super::object_memory::Party;
use super::party_word::PartyState;
use super::serving::Serving;
use super::{
    barrier_serving, condvar_serving, event_serving, mutex_serving, once_serving, rwlock_serving,
    semaphore_serving,
};
use crate::lock::TryLock;

/// How often a process serves for others before it continues with its own work: one of them may call without end. The
/// others serve themselves, a little later.
const MOST_ROUNDS: usize = 64;

impl LocalSide {
    /// Serves requests, or has the process that is serving them do it. True if it was done here. If `checks_liveness`,
    /// the kernel is asked which parties are alive.
    pub(super) fn serve(&self, checks_liveness: bool) -> bool {
        let memory = &self.memory;
        if checks_liveness {
            memory.liveness_checks().fetch_add(1, Ordering::SeqCst);
        }
        memory.calls().fetch_add(1, Ordering::SeqCst);
        for _ in 0..MOST_ROUNDS {
            // The count is stored before the lock is read; below, the lock before the count is read.
            fence(Ordering::SeqCst);
            let attempt = match checks_liveness {
                true => self.serving_lock.try_lock_asking(),
                false => self.serving_lock.try_lock(),
            };
            let guard = match attempt {
                TryLock::Locked(guard) => guard,
                TryLock::OwnerDied(guard) => {
                    if memory.kind().is_read_under_lock() {
                        memory.expect_records_anywhere();
                    }
                    guard
                }
                TryLock::Busy => return false,
            };
            let calls = memory.calls().load(Ordering::SeqCst);
            let changed = self.serve_once();
            drop(guard);
            // Not under the lock: waking takes long.
            self.wake(&changed);
            fence(Ordering::SeqCst);
            if memory.calls().load(Ordering::SeqCst) == calls {
                return true;
            }
        }
        true
    }

    fn serve_once(&self) -> Vec<Party> {
        let checks = self.memory.liveness_checks().load(Ordering::SeqCst);
        let has_checked_liveness =
            self.memory.liveness_checks_done().load(Ordering::Relaxed) != checks;
        let mut serving = Serving::begin(self, has_checked_liveness);
        match self.memory.kind() {
            ObjectKind::Mutex => mutex_serving::serve(&mut serving),
            ObjectKind::RwLock => rwlock_serving::serve(&mut serving),
            ObjectKind::Semaphore => semaphore_serving::serve(&mut serving),
            ObjectKind::Event => event_serving::serve(&mut serving),
            ObjectKind::Condvar => condvar_serving::serve(&mut serving),
            ObjectKind::Barrier => barrier_serving::serve(&mut serving),
            ObjectKind::Once => once_serving::serve(&mut serving),
        }
        serving.free_the_dead();
        if self.memory.kind().is_read_under_lock() {
            let all = serving.live.iter().chain(&serving.dead);
            self.memory.trim(all.map(|party| party.index).max());
        }
        if has_checked_liveness {
            self.memory
                .liveness_checks_done()
                .store(checks, Ordering::Relaxed);
        }
        serving.changed
    }

    /// A party of this process is about to leave in the state `state`.
    pub(super) fn on_leaving(&self, state: PartyState) {
        if self.memory.kind() == ObjectKind::Condvar {
            condvar_serving::pass_on(self, state);
        }
    }

    /// A party of this process has left in the state `state`.
    pub(super) fn on_left(&self, state: PartyState) {
        match self.memory.kind() {
            ObjectKind::Mutex => mutex_serving::on_left(self, state),
            ObjectKind::Condvar | ObjectKind::Event => {}
            _ => {
                self.serve(false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parties_that_a_killed_process_has_hidden_are_served() {
        let side = LocalSide::create(ObjectKind::Semaphore, 0, 0).unwrap();
        side.memory.state().store(1, Ordering::SeqCst);
        let party = side.enrol(0, 1, true).unwrap();
        side.memory.as_if_killed_in_trim();
        assert!(side.serve(true));
        assert_eq!(party.state(), Some(PartyState::Granted));
    }
}
