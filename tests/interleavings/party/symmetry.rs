//! States that differ only in which of some equal processes is which.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::process::MOST;
use super::state::{Object, State};

impl<O: Object> State<O> {
    /// The state with the processes of each class sorted.
    pub(super) fn sorted(self) -> Self {
        let mut order: [usize; MOST] = std::array::from_fn(|place| place);
        let keys: [u64; MOST] = std::array::from_fn(|place| self.key(place));
        order[..self.count].sort_by_key(|place| (self.classes[*place], keys[*place]));
        // A class may have its places anywhere.
        let mut places: [usize; MOST] = std::array::from_fn(|place| place);
        places[..self.count].sort_by_key(|place| self.classes[*place]);
        let mut to = [0; MOST];
        for (from, place) in order.into_iter().zip(places) {
            to[from] = place;
        }
        match order == places {
            true => self,
            false => self.permuted(to),
        }
    }

    /// What can be said of a process without naming another.
    fn key(&self, place: usize) -> u64 {
        let mut hasher = DefaultHasher::new();
        let process = &self.processes[place];
        process.step.hash(&mut hasher);
        process.after.hash(&mut hasher);
        self.table[place].hash(&mut hasher);
        let flags = [
            process.may_cancel,
            process.is_attached,
            process.is_woken,
            process.has_notice,
            process.is_serving,
            process.calls_changed,
            process.liveness_checks_changed,
            process.round.has_checked_liveness,
            self.server == Some(place as u8),
        ];
        hasher.write(&flags.map(u8::from));
        hasher.write(&[process.round.phase, process.round.number]);
        hasher.finish()
    }

    fn permuted(&self, to: [usize; MOST]) -> Self {
        let mut then = *self;
        for (from, to) in to.into_iter().enumerate() {
            then.processes[to] = self.processes[from];
            then.table[to] = self.table[from];
        }
        for process in &mut then.processes {
            let round = &mut process.round;
            round.seen = permuted(round.seen, to);
            round.dead = permuted(round.dead, to);
            round.passed = permuted(round.passed, to);
            round.changed = permuted(round.changed, to);
        }
        then.server = self.server.map(|server| to[usize::from(server)] as u8);
        then.object.permute(to);
        then
    }
}

/// What was at each place is at the place in `to`.
pub(crate) fn permuted<T: Copy>(from: [T; MOST], to: [usize; MOST]) -> [T; MOST] {
    let mut then = from;
    for (value, to) in from.into_iter().zip(to) {
        then[to] = value;
    }
    then
}
