//! All tasks of a pool that have no outcome.

use std::collections::HashMap;
use std::sync::Arc;

use super::segments::Segments;
use crate::call::encoded_items::EncodedItems;
use crate::call::job::{GroupId, Job};
use crate::codec::cached::CachedMemory;
use crate::pool::options::shared_options::{KnownOptions, SharedOptions};
use crate::ring::Cursor;
use crate::schedule::{AffinityKey, TaskKey, WorkerKey};
use crate::sys::clock::Moment;
use crate::task::Traceparent;
use crate::transfer::blob::PackedBlob;

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum Place {
    /// In the schedule's queue.
    Waiting,
    /// At the one worker that may run it, until that has nothing else to do.
    Pinned,
    /// Nowhere: it is tried again after a while.
    Delayed,
    /// On a thread that encodes its arguments, outside the core's lock.
    Encoding,
    /// It has failed, and the pool's rule is asked whether it runs again.
    Deciding,
    /// In a worker's request ring, at `position`. Outcomes of `received` items have arrived.
    Sent {
        worker: WorkerKey,
        position: Cursor,
        received: u32,
    },
}

/// Where a task waits among the tasks of its priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum Order {
    First,
    Last,
}

/// What is known of a task's arguments as bytes.
#[derive(Debug)]
pub(in crate::pool) enum TaskArguments {
    /// They are not encoded, or cannot be sent again as they were encoded.
    Unencoded,
    Encoded(EncodedItems),
    /// The first item is too large for a ring. It is encoded into a blob when a worker has room for it. It takes so
    /// many bytes, as far as is known.
    Large(u64),
    /// The first item, which is too large for a ring.
    Packed(Box<PackedBlob>),
}

impl TaskArguments {
    /// How many bytes they take, as far as is known.
    fn bytes(&self) -> u32 {
        let bytes = match self {
            Self::Unencoded => 0,
            Self::Encoded(items) => items.len() as u64,
            Self::Large(bytes) => *bytes,
            Self::Packed(packed) => packed.blob.len as u64,
        };
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    /// Whether a pipe end moves with them.
    fn has_ends(&self) -> bool {
        match self {
            Self::Unencoded | Self::Large(_) => false,
            Self::Encoded(items) => items.has_ends(),
            Self::Packed(packed) => packed.has_ends,
        }
    }
}

/// One task.
///
/// Very many may wait, so it is small: what few tasks have is in a box of its own, and what only a task in a ring has
/// is in the ledger of its worker.
#[derive(Debug)]
pub(in crate::pool) struct TaskRecord {
    pub(in crate::pool) job: Arc<dyn Job>,
    pub(in crate::pool) options: SharedOptions,
    /// What few tasks have.
    rare: Option<Box<RareDetails>>,
    pub(in crate::pool) place: Place,
    pub(in crate::pool) arguments: TaskArguments,
    pub(in crate::pool) submitted: Moment,
    /// Whether the caller has cancelled it.
    pub(in crate::pool) cancelled: bool,
    /// How many workers have died when it was their next task, before they said that they had started it.
    pub(in crate::pool) deaths: u8,
    serial: u32,
    /// What is counted of its arguments, which are hardly ever longer than this can say.
    bytes: u32,
    /// The places of the tasks before and after it in its group, or [`NOWHERE`].
    before: u32,
    after: u32,
}

/// What few tasks have, and what differs from call to call: so it is not among the options that tasks share.
#[derive(Debug, Default)]
struct RareDetails {
    affinity: Option<AffinityKey>,
    trace: Option<Arc<Traceparent>>,
    /// Until when it must have started.
    start_by: Option<Moment>,
    /// The cached values that the arguments name, if the encoded arguments were dropped.
    _cached: Vec<Arc<CachedMemory>>,
}

impl RareDetails {
    /// Takes them out of the options of a call.
    fn take(options: &mut SharedOptions) -> Option<Box<Self>> {
        // Looked at first: options that are changed are not shared with other calls any more.
        if options.key.is_none() && options.trace.is_none() && options.start_by.is_none() {
            return None;
        }
        Some(Box::new(Self {
            affinity: options.key.take(),
            trace: options.trace.take(),
            start_by: options.start_by.take(),
            _cached: Vec::new(),
        }))
    }
}

/// No place.
const NOWHERE: u32 = u32::MAX;

impl TaskRecord {
    /// The options of what is split off.
    pub(in crate::pool) fn call_options(&self) -> SharedOptions {
        let mut options = self.options.clone();
        if let Some(rare) = &self.rare {
            options.key = rare.affinity;
            options.trace = rare.trace.clone();
            options.start_by = rare.start_by;
        }
        options
    }

    pub(in crate::pool) fn trace(&self) -> Option<Arc<Traceparent>> {
        self.rare.as_ref()?.trace.clone()
    }

    pub(in crate::pool) fn affinity(&self) -> Option<AffinityKey> {
        self.rare.as_ref()?.affinity
    }

    /// Keeps the cached values that its arguments name.
    pub(in crate::pool) fn keep_cached(&mut self, cached: Vec<Arc<CachedMemory>>) {
        if !cached.is_empty() {
            self.rare.get_or_insert_default()._cached = cached;
        }
    }

    /// Until when it must have started.
    pub(in crate::pool) fn start_by(&self) -> Option<Moment> {
        self.rare.as_ref()?.start_by
    }

    /// Its arguments are being sent. A pipe end among them can arrive once, so the task cannot be tried again.
    pub(in crate::pool) fn note_sent(&mut self) {
        if self.options.retries > 0 && self.arguments.has_ends() {
            self.options.retries = 0;
        }
    }

    /// It has started, and will be tried again.
    pub(in crate::pool) fn note_try(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.start_by = None;
        }
        if !self.options.tried {
            self.options.tried = true;
        }
    }

    /// The encoded items from `at` on, if they can be sent without the others.
    pub(in crate::pool) fn split_encoded(&mut self, at: usize) -> Option<EncodedItems> {
        match &mut self.arguments {
            TaskArguments::Encoded(items) => items.split_off(at),
            _ => None,
        }
    }

    /// How many bytes its arguments take.
    pub(in crate::pool) fn bytes(&self) -> u64 {
        u64::from(self.bytes)
    }

    /// The position of its request, if that is in a ring.
    pub(in crate::pool) fn position(&self) -> Option<Cursor> {
        match self.place {
            Place::Sent { position, .. } => Some(position),
            _ => None,
        }
    }

    /// How many of its items have outcomes, if its request is in a ring.
    pub(in crate::pool) fn received(&self) -> Option<usize> {
        match self.place {
            Place::Sent { received, .. } => Some(received as usize),
            _ => None,
        }
    }

    /// Whether all its items have outcomes, and only the worker's word is missing that it has finished.
    pub(in crate::pool) fn has_all_outcomes(&self) -> bool {
        self.received() == Some(self.job.items())
    }

    /// The position of its request, if that is in the ring of `worker`.
    pub(in crate::pool) fn position_at(&self, worker: WorkerKey) -> Option<Cursor> {
        match self.place {
            Place::Sent { worker: at, .. } if at == worker => self.position(),
            _ => None,
        }
    }
}

/// The tasks, found by their keys.
///
/// A key is a place in the table and the number of tasks that came before, so that the key of a removed task finds
/// nothing.
#[derive(Debug, Default)]
pub(in crate::pool) struct Records {
    tasks: Segments<TaskRecord>,
    options: KnownOptions,
    serial: u32,
    /// How many bytes the arguments of all take.
    bytes: u64,
    /// The place of the last task of each group. Each has the place of the one before: so all are found without a look
    /// at the tasks of others.
    groups: HashMap<GroupId, u32>,
}

impl Records {
    #[inline]
    pub(in crate::pool) fn insert(
        &mut self,
        job: Arc<dyn Job>,
        arguments: TaskArguments,
        mut options: SharedOptions,
        now: Moment,
    ) -> TaskKey {
        // Never 0, so that no task has the key 0.
        self.serial = self.serial.wrapping_add(1).max(1);
        let serial = self.serial;
        let bytes = arguments.bytes();
        self.bytes += u64::from(bytes);
        let group = job.group();
        let rare = RareDetails::take(&mut options);
        let index = self.tasks.insert(TaskRecord {
            job,
            options: self.options.share(options),
            rare,
            place: Place::Waiting,
            arguments,
            submitted: now,
            cancelled: false,
            deaths: 0,
            serial,
            bytes,
            before: NOWHERE,
            after: NOWHERE,
        });
        if let Some(group) = group {
            self.join(group, index);
        }
        key(index, serial)
    }

    #[inline]
    pub(in crate::pool) fn get_mut(&mut self, key: TaskKey) -> Option<&mut TaskRecord> {
        let record = self.tasks.get_mut(index(key))?;
        (record.serial == serial(key)).then_some(record)
    }

    #[inline]
    pub(in crate::pool) fn get(&self, key: TaskKey) -> Option<&TaskRecord> {
        let record = self.tasks.get(index(key))?;
        (record.serial == serial(key)).then_some(record)
    }

    #[inline]
    pub(in crate::pool) fn remove(&mut self, key: TaskKey) -> Option<TaskRecord> {
        self.get(key)?;
        let record = self.tasks.remove(index(key))?;
        self.bytes = self.bytes.saturating_sub(record.bytes());
        if let Some(group) = record.job.group() {
            self.leave(group, &record);
        }
        Some(record)
    }

    /// The tasks of a group.
    pub(in crate::pool) fn members(&self, group: GroupId) -> Vec<TaskKey> {
        let mut at = self.groups.get(&group).copied().unwrap_or(NOWHERE);
        let mut members = Vec::new();
        while let Some(record) = self.tasks.get(at as usize) {
            members.push(key(at as usize, record.serial));
            at = record.before;
        }
        members
    }

    /// The task at `index` becomes the last of the group.
    fn join(&mut self, group: GroupId, index: usize) {
        let at = index as u32;
        let before = self.groups.insert(group, at).unwrap_or(NOWHERE);
        if let Some(record) = self.tasks.get_mut(before as usize) {
            record.after = at;
        }
        if let Some(record) = self.tasks.get_mut(index) {
            record.before = before;
        }
    }

    /// A task that was removed leaves its group.
    fn leave(&mut self, group: GroupId, removed: &TaskRecord) {
        if let Some(record) = self.tasks.get_mut(removed.before as usize) {
            record.after = removed.after;
        }
        match self.tasks.get_mut(removed.after as usize) {
            Some(record) => record.before = removed.before,
            None if removed.before == NOWHERE => {
                self.groups.remove(&group);
            }
            None => {
                self.groups.insert(group, removed.before);
            }
        }
    }

    /// The arguments of a task were encoded, or some were split off: counts their bytes anew.
    pub(in crate::pool) fn recount(&mut self, key: TaskKey) {
        let Some(record) = self.get_mut(key) else {
            return;
        };
        let before = record.bytes();
        record.bytes = record.arguments.bytes();
        let after = record.bytes();
        self.bytes = self.bytes.saturating_sub(before).saturating_add(after);
    }

    /// How many tasks there are.
    pub(in crate::pool) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// How many bytes the arguments of all tasks take.
    pub(in crate::pool) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(in crate::pool) fn keys(&self) -> Vec<TaskKey> {
        let records = self.tasks.iter();
        records.map(|(index, it)| key(index, it.serial)).collect()
    }

    pub(in crate::pool) fn is_empty(&self) -> bool {
        self.tasks.len() == 0
    }
}

fn key(index: usize, serial: u32) -> TaskKey {
    u64::from(serial) << 32 | index as u64
}

fn index(key: TaskKey) -> usize {
    (key & u64::from(u32::MAX)) as usize
}

fn serial(key: TaskKey) -> u32 {
    (key >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_is_small_and_a_place_for_one_is_no_larger() {
        assert!(size_of::<TaskRecord>() <= 128);
        assert_eq!(size_of::<Option<TaskRecord>>(), size_of::<TaskRecord>());
    }
}
