//! All tasks of a pool that have no outcome.

use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use super::call_options::CallOptions;
use crate::call::encoded_items::EncodedItems;
use crate::call::job::Job;
use crate::codec::cached::CachedMemory;
use crate::ring::Cursor;
use crate::schedule::{TaskKey, WorkerKey};
use crate::sys::clock::Moment;
use crate::transfer::blob::PackedBlob;

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the schedule's queue.
    Waiting,
    /// At the one worker that may run it, until that has nothing else to do.
    Pinned,
    /// Nowhere: it is tried again after a while.
    Delayed,
    /// On a thread that encodes its arguments, outside the core's lock.
    Encoding,
    /// In a worker's request ring, at `position`. Outcomes of `received` items have arrived.
    Sent {
        worker: WorkerKey,
        position: Cursor,
        received: usize,
    },
}

/// Where a task waits among the tasks of its priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    First,
    Last,
}

/// What is known of a task's arguments as bytes.
#[derive(Debug)]
pub(super) enum TaskArguments {
    /// They are not encoded, or cannot be sent again as they were encoded.
    Unencoded,
    Encoded(EncodedItems),
    /// The first item is too large for a ring. It is encoded into a blob when a worker has room for it. It takes so
    /// many bytes, as far as is known.
    Large(u64),
    /// The first item, which is too large for a ring.
    Packed(PackedBlob),
}

impl TaskArguments {
    /// How many bytes they take, as far as is known.
    fn bytes(&self) -> u64 {
        match self {
            Self::Unencoded => 0,
            Self::Encoded(items) => items.len() as u64,
            Self::Large(bytes) => *bytes,
            Self::Packed(packed) => packed.blob.len as u64,
        }
    }
}

/// One task.
#[derive(Debug)]
pub(super) struct TaskRecord {
    pub(super) job: Arc<dyn Job>,
    pub(super) options: CallOptions,
    pub(super) place: Place,
    pub(super) arguments: TaskArguments,
    pub(super) submitted: Moment,
    /// The cached values that its arguments name, if the encoded arguments were dropped.
    pub(super) cached: Vec<Arc<CachedMemory>>,
    /// How long its items have run.
    pub(super) ran: Duration,
    /// Whether the caller has cancelled it.
    pub(super) cancelled: bool,
    /// How many workers have died when it was their next task, before they said that they had started it.
    pub(super) deaths: u32,
    serial: u32,
    /// What is counted of its arguments.
    bytes: u64,
}

impl TaskRecord {
    /// The encoded items from `at` on, if they can be sent without the others.
    pub(super) fn split_encoded(&mut self, at: usize) -> Option<EncodedItems> {
        match &mut self.arguments {
            TaskArguments::Encoded(items) => items.split_off(at),
            _ => None,
        }
    }

    /// How many bytes its arguments take.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The position of its request, if that is in a ring.
    pub(super) fn position(&self) -> Option<Cursor> {
        match self.place {
            Place::Sent { position, .. } => Some(position),
            _ => None,
        }
    }

    /// How many of its items have outcomes, if its request is in a ring.
    pub(super) fn received(&self) -> Option<usize> {
        match self.place {
            Place::Sent { received, .. } => Some(received),
            _ => None,
        }
    }

    /// The position of its request, if that is in the ring of `worker`.
    pub(super) fn position_at(&self, worker: WorkerKey) -> Option<Cursor> {
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
pub(super) struct Records {
    slab: Slab<TaskRecord>,
    serial: u32,
    /// How many bytes the arguments of all take.
    bytes: u64,
}

impl Records {
    pub(super) fn insert(
        &mut self,
        job: Arc<dyn Job>,
        arguments: TaskArguments,
        options: CallOptions,
        now: Moment,
    ) -> TaskKey {
        // Never 0, so that no task has the key 0.
        self.serial = self.serial.wrapping_add(1).max(1);
        let serial = self.serial;
        let bytes = arguments.bytes();
        self.bytes += bytes;
        let index = self.slab.insert(TaskRecord {
            job,
            options,
            place: Place::Waiting,
            arguments,
            submitted: now,
            cached: Vec::new(),
            ran: Duration::ZERO,
            cancelled: false,
            deaths: 0,
            serial,
            bytes,
        });
        key(index, serial)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: TaskKey) -> Option<&mut TaskRecord> {
        let record = self.slab.get_mut(index(key))?;
        (record.serial == serial(key)).then_some(record)
    }

    pub(super) fn get(&self, key: TaskKey) -> Option<&TaskRecord> {
        let record = self.slab.get(index(key))?;
        (record.serial == serial(key)).then_some(record)
    }

    pub(super) fn remove(&mut self, key: TaskKey) -> Option<TaskRecord> {
        self.get(key)?;
        let record = self.slab.try_remove(index(key))?;
        self.bytes = self.bytes.saturating_sub(record.bytes);
        Some(record)
    }

    /// The arguments of a task were encoded, or some were split off: counts their bytes anew.
    pub(super) fn recount(&mut self, key: TaskKey) {
        let Some(record) = self.get_mut(key) else {
            return;
        };
        let before = std::mem::replace(&mut record.bytes, record.arguments.bytes());
        let after = record.bytes;
        self.bytes = self.bytes.saturating_sub(before).saturating_add(after);
    }

    /// How many tasks there are.
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// How many bytes the arguments of all tasks take.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn keys(&self) -> Vec<TaskKey> {
        let records = self.slab.iter();
        records.map(|(index, it)| key(index, it.serial)).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slab.is_empty()
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
