//! The core's topic: tasks on their way from the caller into a worker's ring.

use std::sync::Arc;

use super::core::{Core, Effect, Phase};
use super::records::{Order, Place, TaskArguments, TaskRecord};
use super::worker_state::WorkerIo;
use crate::call::Written;
use crate::call::encoded_items::{EncodeResult, EncodedItems, NotEncoded};
use crate::call::job::Job;
use crate::error::{ErrorKind, JoinError};
use crate::pool::options::shared_options::SharedOptions;
use crate::ring::Cursor;
use crate::schedule::{Priority, TaskKey, WorkerKey};
use crate::transfer::blob::PackedBlob;

impl Core {
    /// Takes a task, whose items were `encoded` or not for a reason. `None` if the pool takes no new tasks.
    pub(in crate::pool) fn submit(
        &mut self,
        job: Arc<dyn Job>,
        encoded: EncodeResult,
        options: SharedOptions,
    ) -> Option<TaskKey> {
        if self.phase != Phase::Open {
            return None;
        }
        if !self.takes_calls(&options) {
            return None;
        }
        let (arguments, refused) = match encoded {
            Ok(items) => (TaskArguments::Encoded(items), None),
            Err(NotEncoded::TooLarge(len)) => (TaskArguments::Large(len), None),
            Err(NotEncoded::Refused(why)) => (TaskArguments::Unencoded, Some(why)),
        };
        let priority = options.priority;
        let key = self.insert(job, arguments, options);
        if let Some(why) = refused {
            self.refuse(key, &why);
            return Some(key);
        }
        self.enqueue(key, priority, Order::Last);
        // While there are workers to run the task, a start that fails is only a loss of time.
        if self.breaker.is_open() && !self.workers.any_alive() {
            self.breaker.half_open();
            self.check_missing = true;
        }
        Some(key)
    }

    /// Takes a task that has a place for `place` bytes. `None` if the pool takes no new tasks.
    ///
    /// # Errors
    ///
    /// The place is for unknown bytes, and there is no room for those of the task: the encoded items, and how long they
    /// are. The place is given back.
    pub(in crate::pool) fn submit_placed(
        &mut self,
        job: Arc<dyn Job>,
        encoded: EncodeResult,
        options: SharedOptions,
        place: u64,
    ) -> Result<Option<TaskKey>, (EncodeResult, u64)> {
        self.admission.take_back(place);
        let bytes = match &encoded {
            Ok(items) => items.len() as u64,
            Err(NotEncoded::TooLarge(len)) => *len,
            Err(NotEncoded::Refused(_)) => 0,
        };
        let is_open = self.phase == Phase::Open;
        if is_open && place == 0 && bytes > 0 && !self.has_room_for_bytes(bytes) {
            return Err((encoded, bytes));
        }
        Ok(self.submit(job, encoded, options))
    }

    /// Takes all tasks out of `tasks`, for which so many places were given. False if the pool takes no new tasks; then
    /// `tasks` keeps them.
    pub(in crate::pool) fn submit_all(
        &mut self,
        tasks: &mut Vec<(Arc<dyn Job>, EncodeResult)>,
        options: &SharedOptions,
        places: usize,
    ) -> bool {
        for _ in 0..places {
            self.admission.take_back(0);
        }
        if self.phase != Phase::Open {
            return false;
        }
        for (job, encoded) in tasks.drain(..) {
            self.submit(job, encoded, options.clone());
        }
        true
    }

    /// Sends waiting tasks to workers, and starts missing workers. Follows every change, before the lock is released.
    pub(in crate::pool) fn pump(&mut self) {
        loop {
            self.serve_pinned();
            while let Some((worker, task)) = self.schedule.next(&self.workers, self.now) {
                self.dispatch(worker, task);
            }
            if !self.has_unserved() {
                break;
            }
        }
        if self.admission.has_waiting() {
            self.admit();
        }
        // Once after all requests: a wake-up is a system call.
        while let Some(worker) = self.must_wake.pop() {
            self.wake(worker);
        }
        self.check_missing |= self.bounds.is_elastic() && self.schedule.waiting() > 0;
        if std::mem::take(&mut self.check_missing) {
            self.start_missing();
        }
    }

    /// A task waits again, before all others, or ends if it was cancelled.
    pub(in crate::pool) fn requeue(&mut self, key: TaskKey) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        record.place = Place::Waiting;
        let priority = record.options.priority;
        if record.cancelled || self.phase == Phase::Over {
            self.fail_unstarted(key, ErrorKind::Cancelled);
        } else {
            self.enqueue(key, priority, Order::First);
        }
    }

    /// A task waits for a worker, once it is encoded. If no worker can be started now, the driver looks again when one
    /// can.
    pub(in crate::pool) fn enqueue(&mut self, key: TaskKey, priority: Priority, order: Order) {
        if self.must_encode(key) {
            return self.encode(key);
        }
        if let Some(target) = self.target(key) {
            return self.pin(key, target, order);
        }
        let affinity = self.records.get(key).and_then(TaskRecord::affinity);
        match order {
            Order::First => self.schedule.submit_front(key, priority, affinity),
            Order::Last => self.schedule.submit(key, priority, affinity),
        }
        self.run_driver_by(self.breaker.half_open_at());
    }

    /// The items of a task were encoded, or could not be.
    pub(in crate::pool) fn on_encoded(&mut self, key: TaskKey, encoded: EncodeResult) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        let kept = encoded.as_ref().map_or(1, EncodedItems::items);
        match encoded {
            Ok(items) => record.arguments = TaskArguments::Encoded(items),
            Err(NotEncoded::TooLarge(len)) => record.arguments = TaskArguments::Large(len),
            Err(NotEncoded::Refused(why)) => {
                self.queue_rest(key, 1, None);
                return self.refuse(key, &why);
            }
        }
        self.records.recount(key);
        self.queue_rest(key, kept, None);
        self.requeue(key);
    }

    /// The arguments of a large task were encoded for `worker`, or could not be.
    pub(in crate::pool) fn on_packed(
        &mut self,
        key: TaskKey,
        worker: WorkerKey,
        packed: Result<PackedBlob, String>,
    ) {
        self.may_have_blobs = true;
        self.schedule.unreserve(worker);
        self.may_have_finished(worker);
        match (packed, self.records.get_mut(key)) {
            (Ok(packed), Some(record)) => {
                record.arguments = TaskArguments::Packed(Box::new(packed));
                record.place = Place::Waiting;
                let cancelled = record.cancelled;
                self.records.recount(key);
                match self.may_send(worker, key) && !cancelled {
                    true => self.dispatch(worker, key),
                    false => self.requeue(key),
                }
            }
            (Ok(packed), None) => self.effects.push(Effect::ReturnBlob(packed)),
            (Err(why), Some(_)) => self.refuse(key, &why),
            (Err(_), None) => {}
        }
    }

    /// Sends the task to the worker, or does what must be done before.
    pub(in crate::pool) fn dispatch(&mut self, worker: WorkerKey, key: TaskKey) {
        self.cut_to_quota(worker, key);
        // Items with descriptors may have been split off while it waited.
        if self.must_encode(key) {
            return self.encode(key);
        }
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        if record.job.wants_worker() {
            return self.promise(worker, key);
        }
        let Some(io) = self.workers.io_mut(worker) else {
            return self.requeue(key);
        };
        match write_request(key, record, io) {
            Written::Sent {
                position,
                items,
                has_fds,
            } => {
                let rest = record.split_encoded(items);
                if has_fds {
                    leave_descriptors(record);
                }
                self.on_sent(worker, key, position, items, has_fds);
                self.use_quota(worker, items);
                self.schedule.sent(worker, key, items, self.now);
                self.check_balance = true;
                if rest.is_some() {
                    self.records.recount(key);
                }
                self.queue_rest(key, items, rest);
            }
            Written::NoSpace => {
                self.requeue(key);
                self.schedule.no_space(worker);
            }
            Written::TooLarge => self.pack(key, worker),
            Written::Refused(why) => {
                self.queue_rest(key, 1, None);
                self.refuse(key, &why);
            }
        }
    }

    /// Whether a task's items must be encoded before it waits for a worker. Items that were split off may have left
    /// places of their descriptors behind.
    fn must_encode(&self, key: TaskKey) -> bool {
        let Some(record) = self.records.get(key) else {
            return false;
        };
        match &record.arguments {
            TaskArguments::Unencoded => true,
            TaskArguments::Encoded(items) => items.items() != record.job.items(),
            TaskArguments::Large(_) | TaskArguments::Packed(_) => false,
        }
    }

    /// The task's items are encoded outside the lock.
    fn encode(&mut self, key: TaskKey) {
        if let Some(record) = self.records.get_mut(key) {
            record.place = Place::Encoding;
            let job = Arc::clone(&record.job);
            self.effects.push(Effect::Encode(key, job));
        }
    }

    /// The task's request is in the worker's ring.
    fn on_sent(
        &mut self,
        worker: WorkerKey,
        key: TaskKey,
        position: Cursor,
        items: usize,
        has_fds: bool,
    ) {
        let (Some(it), Some(record)) = (self.workers.get_mut(worker), self.records.get_mut(key))
        else {
            return;
        };
        it.ledger.sent(key, items, self.now);
        if !std::mem::replace(&mut it.must_wake, true) {
            self.must_wake.push(worker);
        }
        // Descriptors of a job with several items may belong to any item. Descriptors of a task with retries may be
        // needed again.
        if has_fds && record.job.items() == 1 && record.options.retries == 0 {
            it.has_fds.push(key);
        }
        record.place = Place::Sent {
            worker,
            position,
            received: 0,
        };
        let first_limit = record.options.first_limit();
        let expires = first_limit.map(|limit| self.now.plus(limit));
        self.run_driver_by(expires);
    }

    fn wake(&mut self, worker: WorkerKey) {
        let Some(it) = self.workers.get_mut(worker) else {
            return;
        };
        it.must_wake = false;
        if let Some(io) = it.life.io() {
            io.requests.wake();
        }
    }

    /// The task's first item is too large for a ring. It is encoded outside the lock, into memory of `worker`, which
    /// has a place for it until then.
    fn pack(&mut self, key: TaskKey, worker: WorkerKey) {
        self.queue_rest(key, 1, None);
        let Some(io) = self.workers.io_mut(worker) else {
            return self.requeue(key);
        };
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        record.place = Place::Encoding;
        // What was packed for another worker is not sent to this one.
        let large = TaskArguments::Large(record.bytes());
        if let TaskArguments::Packed(packed) = std::mem::replace(&mut record.arguments, large) {
            self.effects.push(Effect::ReturnBlob(*packed));
        }
        let (store, job) = (Arc::clone(io.requests.blobs()), Arc::clone(&record.job));
        self.effects.push(Effect::Pack(key, worker, store, job));
        self.schedule.reserve(worker);
    }

    /// The items of a task behind the first `kept` wait as a task of their own. They may be `encoded` already.
    pub(in crate::pool) fn queue_rest(
        &mut self,
        key: TaskKey,
        kept: usize,
        encoded: Option<EncodedItems>,
    ) {
        let Some(record) = self.records.get(key) else {
            return;
        };
        if record.job.items() > kept {
            let (rest, options) = (record.job.split(kept), record.call_options());
            self.enqueue_front(rest, encoded, options);
        }
    }

    /// Ends a task whose arguments cannot be encoded.
    fn refuse(&mut self, key: TaskKey, why: &str) {
        if let Some(record) = self.records.remove(key) {
            let error = JoinError::new(ErrorKind::Encode, record.job.name())
                .because(format!("the arguments: {why}"));
            self.fail_all(&record.job, error);
            self.discard(record);
        }
    }
}

/// Copies the task's items into the worker's ring, as many as there is space for.
fn write_request(key: TaskKey, record: &mut TaskRecord, io: &mut WorkerIo) -> Written {
    let timed = record.options.first_limit().is_some();
    io.requests.set_trace(record.trace());
    record.note_sent();
    match &mut record.arguments {
        TaskArguments::Packed(packed) => io.requests.write_blob(key, &*record.job, packed),
        TaskArguments::Encoded(items) => io.requests.write_items(key, &*record.job, items, timed),
        TaskArguments::Large(_) | TaskArguments::Unencoded => Written::TooLarge,
    }
}

/// The descriptors of the task are the worker's now: to be sent again, they are duplicated again.
fn leave_descriptors(record: &mut TaskRecord) {
    if let TaskArguments::Encoded(items) = &mut record.arguments {
        let cached = items.take_cached();
        record.keep_cached(cached);
        record.arguments = TaskArguments::Unencoded;
    }
}
