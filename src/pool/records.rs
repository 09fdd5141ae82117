//! What is known about one task.

use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use super::call_options::CallOptions;
use crate::call::job::Job;
use crate::ring::Cursor;
use crate::schedule::{TaskKey, WorkerKey};
use crate::sys::clock::Moment;
use crate::transfer::blob::PackedBlob;

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the schedule's queue.
    Waiting,
    /// Its arguments, too large for a ring, are being encoded.
    Packing,
    /// In a worker's ring, at `position`; outcomes of `received` items have come.
    Sent {
        worker: WorkerKey,
        position: Cursor,
        received: usize,
    },
}

/// One task.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) job: Arc<dyn Job>,
    pub(super) options: CallOptions,
    pub(super) place: Place,
    pub(super) packed: Option<PackedBlob>,
    pub(super) submitted: Moment,
    pub(super) ran: Duration,
    /// Nobody wants it any more.
    pub(super) cancelled: bool,
    serial: u32,
}

impl Record {
    /// Where it lies in the ring of `worker`, if it does.
    pub(super) fn position_at(&self, worker: WorkerKey) -> Option<Cursor> {
        match self.place {
            Place::Sent {
                worker: at,
                position,
                ..
            } if at == worker => Some(position),
            _ => None,
        }
    }
}

/// All tasks that have no outcome, found by their keys.
///
/// A key is a place in the table and the number of tasks that came before, so that the key of a task
/// that is gone finds nothing.
#[derive(Debug, Default)]
pub(super) struct Records {
    slab: Slab<Record>,
    serial: u32,
}

impl Records {
    pub(super) fn insert(
        &mut self,
        job: Arc<dyn Job>,
        options: CallOptions,
        now: Moment,
    ) -> TaskKey {
        // Never 0, which is the key of no task.
        self.serial = self.serial.wrapping_add(1).max(1);
        let serial = self.serial;
        let index = self.slab.insert(Record {
            job,
            options,
            place: Place::Waiting,
            packed: None,
            submitted: now,
            ran: Duration::ZERO,
            cancelled: false,
            serial,
        });
        u64::from(serial) << 32 | index as u64
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: TaskKey) -> Option<&mut Record> {
        let record = self.slab.get_mut(index(key))?;
        (record.serial == serial(key)).then_some(record)
    }

    pub(super) fn get(&self, key: TaskKey) -> Option<&Record> {
        let record = self.slab.get(index(key))?;
        (record.serial == serial(key)).then_some(record)
    }

    pub(super) fn remove(&mut self, key: TaskKey) -> Option<Record> {
        self.get(key)?;
        self.slab.try_remove(index(key))
    }

    pub(super) fn keys(&self) -> Vec<TaskKey> {
        let key = |(index, record): (usize, &Record)| u64::from(record.serial) << 32 | index as u64;
        self.slab.iter().map(key).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }
}

fn index(key: TaskKey) -> usize {
    (key & u64::from(u32::MAX)) as usize
}

fn serial(key: TaskKey) -> u32 {
    (key >> 32) as u32
}
