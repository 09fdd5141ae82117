//! The parent's end of a worker's request ring.
//!
//! Runs in the parent, under the lock of the pool's core or in the task that supervises one process. It never waits
//! for the worker: a full ring is [`Written::NoSpace`].
//!
//! Must stay true: the descriptors of a request are queued on the control socket before the request is committed.
//!
//! Never here: which job is written to which worker.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::ExitStatus;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::control_queue::ControlQueue;
use super::encoded_items::{EncodedItems, NotEncoded};
use super::envelope;
use super::envelope::{LONGEST_BODY, Request};
use super::job::Job;
use super::last_words::LastWords;
use super::shared_values::SharedValues;
use crate::codec::codec;
use crate::error::PanicReport;
use crate::ring::{Cursor, Producer, Ring};
use crate::sys::clock::Moment;
use crate::sys::crash_note::CrashNote;
use crate::sys::exit_cause::ExitCause;
use crate::sys::futex;
use crate::task::Traceparent;
use crate::threads;
use crate::transfer::blob::{BlobLease, BlobPool, BlobStore, PackedBlob};
use crate::transfer::control::ControlSocket;
use crate::transfer::lane::Lane;
use crate::transfer::messages::ToWorker;

/// Writes requests, and sends what goes beside them.
#[derive(Debug)]
pub(crate) struct RequestWriter {
    ring: Producer,
    /// The ring of the replies, beside which the worker leaves a note when it crashes.
    replies: Ring,
    control: ControlQueue,
    /// The cached values that the worker was sent.
    values: Box<SharedValues>,
    /// Memory for arguments that do not fit the ring. No other worker is sent any of it.
    blobs: BlobStore,
    /// The ids of the blobs whose memory the worker was sent.
    announced: Vec<u64>,
    /// The trace context of the next requests.
    trace: Option<Arc<Traceparent>>,
    lane: Lane,
}

/// The result of writing a job.
#[derive(Debug)]
pub(crate) enum Written {
    /// The first `items` items are in the ring, at `position`; `has_fds` says whether they have attachments.
    Sent {
        position: Cursor,
        items: usize,
        has_fds: bool,
    },
    /// The ring has no space now. The doorbell rings when it has.
    NoSpace,
    /// The first item does not fit any frame and must be packed into a blob of the worker.
    TooLarge,
    /// The first item cannot be encoded, for this reason.
    Refused(String),
}

impl Written {
    #[cold]
    fn not_sent(error: &io::Error) -> Self {
        Self::Refused(format!("its descriptors could not be sent: {error}"))
    }
}

/// A job that is in the ring.
#[derive(Debug)]
pub(crate) struct SentJob {
    pub(crate) position: Cursor,
    /// Holds the first item, if it did not fit a frame. To be kept until the worker has decoded it.
    pub(crate) packed: Option<PackedBlob>,
}

/// Why a job is not in the ring.
#[derive(Debug)]
pub(crate) enum SendFault {
    /// Its arguments cannot be encoded or sent, for this reason.
    Refused(String),
    NoSpace,
}

impl SendFault {
    /// The fault as an I/O error; `what` says whose arguments they are.
    pub(crate) fn into_io(self, what: &str) -> io::Error {
        match self {
            Self::Refused(why) => {
                io::Error::other(format!("the arguments of {what} cannot be sent: {why}"))
            }
            Self::NoSpace => io::ErrorKind::OutOfMemory.into(),
        }
    }
}

impl RequestWriter {
    /// Writes into the first ring, for a worker that replies in the second.
    pub(crate) fn new(rings: [Ring; 2], control: Arc<ControlSocket>) -> Self {
        Self::of_lane(Lane::FIRST, rings, control)
    }

    /// The end of the request ring of a worker's `lane`. The second ring is where the worker replies in its first lane.
    pub(crate) fn of_lane(
        lane: Lane,
        [requests, replies]: [Ring; 2],
        control: Arc<ControlSocket>,
    ) -> Self {
        Self {
            ring: Producer::new(requests),
            replies,
            control: ControlQueue::new(control, lane),
            values: Box::default(),
            blobs: Arc::new(Mutex::new(BlobPool::above(lane.id_base()))),
            lane,
            announced: Vec::new(),
            trace: None,
        }
    }

    /// The trace context of the requests that are written from now on.
    pub(crate) fn set_trace(&mut self, trace: Option<Arc<Traceparent>>) {
        self.trace = trace;
    }

    fn trace_flag(&self) -> u64 {
        match self.trace {
            Some(_) => envelope::TRACED,
            None => 0,
        }
    }

    /// Encodes as many of the job's items as fit one request, and writes them. Not to be called under a lock.
    pub(crate) fn write(&mut self, task: u64, job: &dyn Job, timed: bool) -> Written {
        match EncodedItems::of(job) {
            Ok(mut items) => self.write_items(task, job, &mut items, timed),
            Err(NotEncoded::TooLarge(_)) => Written::TooLarge,
            Err(NotEncoded::Refused(why)) => Written::Refused(why),
        }
    }

    /// Writes as many of the encoded items of a job as there is space for. Attachments that are sent are taken out of
    /// `items`.
    pub(crate) fn write_items(
        &mut self,
        task: u64,
        job: &dyn Job,
        items: &mut EncodedItems,
        timed: bool,
    ) -> Written {
        loop {
            match self.try_write_items(task, job, items, timed) {
                // The worker released a frame before it could see the announcement: it rings no doorbell for that.
                Written::NoSpace if !self.ring.announce_sleep(LONGEST_BODY) => {}
                written => return written,
            }
        }
    }

    fn try_write_items(
        &mut self,
        task: u64,
        job: &dyn Job,
        items: &mut EncodedItems,
        timed: bool,
    ) -> Written {
        let mut head = match head_of(task, job) {
            Ok(head) => head,
            Err(error) => return Written::Refused(error.to_string()),
        };
        let trace_flag = self.trace_flag();
        let traced = self.trace.as_ref().map_or(0, |_| Traceparent::BYTES);
        if let Err(error) = self.values.send_all(items.cached(), &mut self.control) {
            return Written::not_sent(&error);
        }
        let names_cached = !items.cached().is_empty();
        let room = self.ring.room().min(LONGEST_BODY);
        let fitting = room.checked_sub(Request::BYTES + traced);
        let Some((count, bytes, fds)) = fitting.and_then(|room| items.fitting(room)) else {
            return Written::NoSpace;
        };
        let Some(mut writer) = self.ring.begin(Request::BYTES + traced + bytes.len()) else {
            return Written::NoSpace;
        };
        head.flags |= flags(timed, names_cached) | trace_flag;
        head.items = count as u32;
        let fds = fds.map(std::mem::take).unwrap_or_default();
        head.attachments = match self.control.send_attachments(fds) {
            Ok(id) => id,
            Err(error) => return Written::not_sent(&error),
        };
        writer.extend(&head.to_bytes());
        if let Some(trace) = &self.trace {
            writer.extend(&trace.to_bytes());
        }
        writer.extend(bytes);
        Written::Sent {
            position: writer.commit(envelope::REQUEST),
            items: count,
            has_fds: head.attachments != 0,
        }
    }

    /// Memory for arguments of this worker's requests.
    pub(crate) fn blobs(&self) -> &BlobStore {
        &self.blobs
    }

    /// Writes a request whose only item was packed. If that was for another worker, the item is [`Written::TooLarge`].
    pub(crate) fn write_blob(&mut self, task: u64, job: &dyn Job, packed: &PackedBlob) -> Written {
        if !Arc::ptr_eq(&packed.store, &self.blobs) {
            return Written::TooLarge;
        }
        let mut head = match head_of(task, job) {
            Ok(head) => head,
            Err(error) => return Written::Refused(error.to_string()),
        };
        let fds = match self
            .announce(&packed.blob.lease)
            .and_then(|()| packed.clone_fds())
        {
            Ok(fds) => fds,
            Err(error) => {
                return Written::not_sent(&error);
            }
        };
        while self
            .ring
            .begin(Request::BYTES + Traceparent::BYTES)
            .is_none()
        {
            // As in `write`: space that came before the announcement rings no doorbell.
            if self.ring.announce_sleep(LONGEST_BODY) {
                return Written::NoSpace;
            }
        }
        if let Err(error) = self.values.send_all(&packed.cached, &mut self.control) {
            return Written::not_sent(&error);
        }
        head.flags |= flags(false, !packed.cached.is_empty()) | self.trace_flag();
        head.items = 1;
        head.blob = packed.blob.lease.id();
        head.blob_len = packed.blob.len as u64;
        head.attachments = match self.control.send_attachments(fds) {
            Ok(id) => id,
            Err(error) => return Written::not_sent(&error),
        };
        let mut writer = self.ring.resume();
        writer.extend(&head.to_bytes());
        if let Some(trace) = &self.trace {
            writer.extend(&trace.to_bytes());
        }
        Written::Sent {
            position: writer.commit(envelope::REQUEST),
            items: 1,
            has_fds: !packed.attachments.is_empty(),
        }
    }

    /// Completes `written`, the result of writing a job: if the first item was too large, packs it on a thread that
    /// may block and writes the blob.
    pub(crate) async fn complete(
        &mut self,
        written: Written,
        task: u64,
        job: &Arc<dyn Job>,
    ) -> Result<SentJob, SendFault> {
        let (mut written, mut packed) = (written, None);
        if let Written::TooLarge = written {
            let (packing, store) = (Arc::clone(job), Arc::clone(&self.blobs));
            let blob = threads::run(move || packing.pack(&store)).await;
            let blob = blob
                .map_err(|error| SendFault::Refused(error.to_string()))?
                .map_err(SendFault::Refused)?;
            written = self.write_blob(task, &**job, &blob);
            packed = Some(blob);
        }
        match written {
            Written::Sent { position, .. } => Ok(SentJob { position, packed }),
            Written::Refused(why) => Err(SendFault::Refused(why)),
            Written::NoSpace | Written::TooLarge => Err(SendFault::NoSpace),
        }
    }

    /// Makes the worker exit after the requests that it was sent. False if the ring has no space for that now.
    pub(crate) fn write_stop(&mut self) -> bool {
        let Some(writer) = self.ring.begin(0) else {
            return false;
        };
        writer.commit(envelope::STOP);
        self.wake();
        true
    }

    /// Wakes the worker if it sleeps. Called once after all requests that are written together.
    pub(crate) fn wake(&self) {
        if self.ring.take_sleeping_consumer() {
            futex::wake(self.ring.consumer_word());
        }
    }

    /// Revokes the unclaimed items of the request at `position`. Returns how many items the worker had claimed.
    pub(crate) fn revoke(&mut self, position: Cursor) -> usize {
        envelope::revoke(self.ring.word(position, Request::SPAN)) as usize
    }

    /// Makes the worker commit every outcome of the request at `position` at once. The outcomes it has published by
    /// then are salvaged after this call.
    pub(crate) fn flush_each(&self, position: Cursor) {
        let flags = self.ring.word(position, Request::FLAGS);
        flags.fetch_or(envelope::EAGER, Ordering::SeqCst);
    }

    /// What the worker, which has exited with `status`, has left about its end, if the parent knows no other `cause`.
    pub(crate) fn last_words(
        &self,
        status: Option<ExitStatus>,
        cause: Option<ExitCause>,
    ) -> LastWords {
        let left = || ExitCause::from_bits(self.ring.note());
        let note = || CrashNote::read(self.replies.words_aside());
        LastWords::new(status, cause.or_else(left), self.fatal_panic(), note)
    }

    /// The panic that has aborted the worker, if one has.
    pub(crate) fn fatal_panic(&self) -> Option<PanicReport> {
        codec::decode(&self.ring.left_aside()).ok()
    }

    /// How many items of the request at `position` were claimed.
    pub(crate) fn claimed(&self, position: Cursor) -> usize {
        envelope::claimed(self.ring.word(position, Request::SPAN)) as usize
    }

    /// Whether the worker has released the request at `position`: its last reply is committed.
    pub(crate) fn released(&self, position: Cursor) -> bool {
        self.ring.released(position)
    }

    /// Whether the request at `position` is erased, which no worker of this program does.
    pub(crate) fn is_erased(&self, position: Cursor) -> bool {
        !self.released(position) && self.ring.frame_len(position) < Request::BYTES
    }

    /// Makes the worker ring the parent's doorbell when it releases the oldest request. False if the ring is empty.
    pub(crate) fn watch(&mut self) -> bool {
        self.ring.announce_watch()
    }

    /// When the running item of the request at `position` started.
    pub(crate) fn started(&self, position: Cursor) -> Option<Moment> {
        if self.released(position) {
            return None; // the position may hold another request
        }
        let word = self.ring.word(position, Request::STARTED);
        match word.load(Ordering::Acquire) {
            0 => None,
            bits => Some(Moment::from_bits(bits)),
        }
    }

    /// Whether the worker says that it takes requests.
    pub(crate) fn is_served(&self) -> bool {
        self.ring.is_served()
    }

    /// Whether the worker says that it has made a directory.
    pub(crate) fn has_scratch(&self) -> bool {
        self.ring.mark() != 0
    }

    /// The last sign of life of a task of the worker; it may be of an earlier task, or in the future.
    pub(crate) fn progress(&self) -> Moment {
        Moment::from_bits(self.ring.progress())
    }

    /// The worker is one of this pool, whose cached values it may be sent.
    pub(crate) fn belong_to(&mut self, pool: u64) {
        self.values.belong_to(pool);
    }

    /// Has the worker drop a cached value, if it was sent it.
    pub(crate) fn forget_cached(&mut self, id: u64) {
        self.values.forget(id, &mut self.control);
    }

    /// Asks the worker to stop the task of the request at `position`, which it runs.
    pub(crate) fn send_cancel(&mut self, position: Cursor) {
        let (request, lane) = (position.number(), self.lane.index());
        self.send(ToWorker::Cancel { request, lane });
    }

    /// Sends a control message. If the socket does not take it now, it is sent later, in order.
    pub(crate) fn send(&mut self, message: ToWorker) {
        self.control.send(message, Vec::new());
    }

    /// Sends the control messages that the socket did not take before.
    ///
    /// # Errors
    ///
    /// Why some of them still wait.
    pub(crate) fn send_unsent(&mut self) -> io::Result<()> {
        self.control.flush()
    }

    /// Whether control messages wait until the socket takes them.
    pub(crate) fn has_unsent(&self) -> bool {
        self.control.has_unsent()
    }

    /// Sends the worker the memory of a blob that it does not know.
    fn announce(&mut self, blob: &BlobLease) -> io::Result<()> {
        let id = blob.id();
        if !self.announced.contains(&id) {
            let memory: OwnedFd = blob.as_fd().try_clone_to_owned()?;
            self.control.send(ToWorker::Blob { id }, vec![memory]);
            self.announced.push(id);
        }
        Ok(())
    }

    /// Frees the memory for arguments that is not in use.
    pub(crate) fn trim_blobs(&mut self) {
        let freed = self.lock_blobs().trim();
        self.forget(&freed);
    }

    /// The memory for arguments.
    pub(crate) fn lock_blobs(&self) -> MutexGuard<'_, BlobPool> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the worker that these blobs were freed, as far as it knows them.
    pub(crate) fn forget(&mut self, ids: &[u64]) {
        for &id in ids {
            if let Some(index) = self.announced.iter().position(|known| *known == id) {
                self.announced.swap_remove(index);
                self.send(ToWorker::Forget { id });
            }
        }
    }
}

/// The flags of a request.
#[inline]
fn flags(timed: bool, names_cached: bool) -> u64 {
    let flag = |is_set: bool, bit: u64| if is_set { bit } else { 0 };
    flag(timed, envelope::TIMED) | flag(names_cached, envelope::NAMES_CACHED)
}

/// The head of a request for `job`, without items.
fn head_of(task: u64, job: &dyn Job) -> io::Result<Request> {
    Ok(Request {
        task,
        token: job.token()?.to_bits(),
        flags: job.place() << envelope::PLACE_SHIFT,
        ..Request::default()
    })
}
