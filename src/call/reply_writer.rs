//! The worker's end of its reply ring.
//!
//! Runs in the worker, on the thread that runs tasks.
//!
//! Outcomes are appended to the open reply, and each is published when it is whole. A reply is committed when its
//! request is done, when it is full, when its first outcome is 1 ms old, or when the parent wants every outcome at
//! once. A worker that waits for space in the ring waits here.
//!
//! Must stay true: attachments and the memory of a blob are sent before the outcome that needs them can be seen by the
//! parent. So an outcome with attachments is not published, only committed.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;

use super::envelope;
use super::envelope::{ITEM_PREFIX, LONGEST_BODY, Reply, Status};
use super::request_reader::RequestReader;
use super::result_blobs::{PackedResult, ResultBlobs, send_attachments};
use crate::codec::attachments;
use crate::codec::codec;
use crate::codec::codec::EncodeFault;
use crate::error::PanicReport;
use crate::ring::{Producer, Writer};
use crate::sys::clock::Moment;
use crate::sys::doorbell::Doorbell;
use crate::sys::exit_cause;
use crate::sys::exit_cause::ExitCause;
use crate::sys::futex;
use crate::sys::text;
use crate::transfer::control::ControlSocket;
use crate::transfer::lane::Lane;

/// How old the first outcome of a reply becomes before the reply is committed.
const LONGEST_DELAY: Duration = Duration::from_millis(1);

/// The clock is read once in so many items: reading it takes long, compared with a trivial item.
const ITEMS_PER_CLOCK_READ: u32 = 16;

/// The least space with which a reply is opened, in bytes: enough for a head and the longest text.
const LEAST_SPACE: usize = 4096;

/// Longer texts are cut, in bytes.
const LONGEST_ERROR_TEXT: usize = 1024;

/// Writes replies.
#[derive(Debug)]
pub(super) struct ReplyWriter {
    ring: Producer,
    /// `None` if the parent reads replies only after this process has exited.
    parent: Option<Arc<Doorbell>>,
    control: Arc<ControlSocket>,
    blobs: Arc<ResultBlobs>,
    /// That of the last committed reply.
    sequence: u64,
    /// The last time that was read.
    clock: Moment,
    open: Option<OpenReply>,
    /// Where outcomes are copied to for their checksum.
    scratch: Vec<u8>,
    /// Whether the doorbell was seen to be open since the user's code ran.
    is_checked: bool,
    /// Whether the next reply says that this worker leaves.
    leaves: bool,
}

/// The reply being written.
#[derive(Debug)]
struct OpenReply {
    task: u64,
    /// The index of the first item.
    first: u32,
    /// The outcomes in it.
    count: u32,
    /// When its first item started.
    since: Moment,
    /// Where the outcome that is being written begins.
    item: usize,
    has_attachments: bool,
    in_blob: bool,
}

impl ReplyWriter {
    pub(super) fn new(
        ring: Producer,
        parent: Option<Arc<Doorbell>>,
        control: Arc<ControlSocket>,
        lane: Lane,
    ) -> Self {
        Self {
            ring,
            parent,
            control,
            blobs: Arc::new(ResultBlobs::above(lane.id_base())),
            sequence: lane.id_base(),
            clock: Moment::now(),
            open: None,
            scratch: Vec::new(),
            is_checked: false,
            leaves: false,
        }
    }

    /// The ways to the parent, which all lanes of a worker have together.
    pub(super) fn connection(&self) -> (Option<Arc<Doorbell>>, Arc<ControlSocket>) {
        (self.parent.clone(), Arc::clone(&self.control))
    }

    /// The blobs in which results travel.
    pub(super) fn blobs(&self) -> &Arc<ResultBlobs> {
        &self.blobs
    }

    /// The last time that was read: when the last reply was committed, or later.
    #[inline]
    pub(super) fn clock(&self) -> Moment {
        self.clock
    }

    pub(super) fn read_clock(&mut self) -> Moment {
        self.clock = Moment::now();
        self.clock
    }

    /// Adds the result of the current item of `requests`. A panic of the type's `Serialize` passes through; then the
    /// outcome is [`rewound`](Self::rewind).
    #[inline]
    pub(super) fn put_result<R: Serialize>(&mut self, requests: &RequestReader, result: &R) {
        let mut fds = Vec::new();
        let put = self.put(requests, Status::Done, |writer| {
            fds.clear();
            attachments::collect_lent(&mut fds, || codec::encode_unguarded(result, writer))?;
            Ok(fds.is_empty())
        });
        match put {
            Ok(()) if fds.is_empty() => {}
            Ok(()) => {
                self.commit_with(requests, &fds);
            }
            Err(EncodeFault::Full) => self.put_in_blob(requests, result),
            Err(EncodeFault::Refused(why)) => {
                self.put_text(requests, Status::EncodeFailed, &why);
            }
        }
    }

    /// Sends a result that fits no frame in a blob, as the only outcome of a reply.
    fn put_in_blob<R: Serialize>(&mut self, requests: &RequestReader, result: &R) {
        match self.blobs.pack(result, &self.control) {
            Ok(packed) => self.put_packed(requests, &packed),
            Err(why) => self.put_text(requests, Status::EncodeFailed, &why),
        }
    }

    fn put_packed(&mut self, requests: &RequestReader, packed: &PackedResult) {
        if self.open.as_ref().is_some_and(|open| open.count > 0) {
            self.commit(false);
        }
        let place = (packed.id, packed.len);
        let put = self.put(requests, Status::Blob, |writer| {
            codec::encode(&place, writer).map(|()| packed.attachments.is_empty())
        });
        debug_assert!(put.is_ok());
        if !self.commit_with(requests, &packed.attachments) {
            self.blobs.unsent(packed.id, &self.control);
        }
    }

    /// Adds the report of the panic that ended the current item.
    pub(super) fn put_panic(&mut self, requests: &RequestReader, report: &PanicReport) {
        let put = self.put(requests, Status::Panicked, |writer| {
            codec::encode(report, writer).map(|()| true)
        });
        if put.is_err() {
            let why = "its panic's report is too long";
            self.put_text(requests, Status::EncodeFailed, why);
        }
    }

    /// Adds an outcome that is a text.
    pub(super) fn put_text(&mut self, requests: &RequestReader, status: Status, text: &str) {
        let short = text::prefix(text, LONGEST_ERROR_TEXT);
        let put = self.put(requests, status, |writer| {
            match writer.extend(short.as_bytes()) {
                true => Ok(true),
                false => Err(EncodeFault::Full),
            }
        });
        debug_assert!(put.is_ok());
    }

    /// Removes what was written of an outcome whose encoding panicked.
    pub(super) fn rewind(&mut self) {
        if let Some(open) = &self.open {
            self.ring.resume().rewind(open.item);
        }
    }

    /// Adds one outcome to the open reply. `encode` says whether the outcome may be published before the commit.
    ///
    /// # Errors
    ///
    /// [`EncodeFault::Full`]: the outcome does not fit any frame.
    #[inline]
    fn put(
        &mut self,
        requests: &RequestReader,
        status: Status,
        mut encode: impl FnMut(&mut Writer<'_>) -> Result<bool, EncodeFault>,
    ) -> Result<(), EncodeFault> {
        loop {
            let Some(open) = &mut self.open else {
                self.open_reply(requests, 0);
                continue;
            };
            let mut writer = self.ring.resume();
            match open.add(&mut writer, status, &mut encode) {
                Err(EncodeFault::Full) => {}
                added => return added,
            }
            if open.count > 0 {
                self.commit(false);
            } else if writer.limit() >= LONGEST_BODY {
                return Err(EncodeFault::Full);
            } else {
                self.open = None;
                self.wait_for_space(requests, LONGEST_BODY);
            }
        }
    }

    /// Opens a reply with as much space as there is. Its first outcome is that of the item `ahead` of the current one.
    fn open_reply(&mut self, requests: &RequestReader, ahead: u32) {
        while self.ring.room() < LEAST_SPACE {
            self.wait_for_space(requests, LEAST_SPACE);
        }
        let (task, index) = requests
            .item()
            .map_or((0, 0), |(head, index)| (head.task, index));
        let first = index + ahead;
        let head = Reply {
            task,
            first,
            ..Reply::default()
        };
        let room = self.ring.room().min(LONGEST_BODY);
        if let Some(mut writer) = self.ring.begin(room) {
            writer.show(envelope::REPLY);
            writer.extend(&head.to_bytes());
            // Written last: a parent that salvages and finds the right sequence number finds the whole head.
            let word = writer.word(Reply::SEQUENCE);
            word.store(self.sequence + 1, Ordering::Release);
        }
        self.open = Some(OpenReply {
            task,
            first,
            count: 0,
            since: self.clock,
            item: Reply::BYTES,
            has_attachments: false,
            in_blob: false,
        });
    }

    /// Sends the attachments of the last outcome, and commits. False if they cannot be sent: then the outcome is an
    /// error that says why.
    #[cold]
    fn commit_with(&mut self, requests: &RequestReader, fds: &[OwnedFd]) -> bool {
        // The number that the reply has once it is committed.
        let sent = send_attachments(&self.control, self.sequence + 1, fds);
        match (&sent, &mut self.open) {
            (Ok(()), Some(open)) => open.has_attachments = !fds.is_empty(),
            (Err(error), Some(open)) => {
                open.retract(self.ring.resume());
                let why = format!("its descriptors could not be sent: {error}");
                self.put_text(requests, Status::EncodeFailed, &why);
            }
            (_, None) => {}
        }
        self.commit(false);
        sent.is_ok()
    }

    /// Commits the open reply if its first outcome has waited long enough.
    #[inline]
    pub(super) fn commit_if_old(&mut self) {
        let Some(open) = &self.open else {
            return;
        };
        if open.count == 1 || open.count % ITEMS_PER_CLOCK_READ == 0 {
            let age = Moment::now().since(open.since);
            if age >= LONGEST_DELAY {
                self.commit(false);
            }
        }
    }

    /// The next reply that is committed says that this worker begins nothing more.
    pub(super) fn leave(&mut self) {
        self.leaves = true;
    }

    /// Commits a reply of the current request, which has items that are not claimed. It has no outcomes if all of them
    /// were committed before.
    pub(super) fn commit_leaving(&mut self, requests: &RequestReader) {
        if self.open.is_none() {
            self.open_reply(requests, 1);
        }
        self.commit(false);
    }

    /// Commits the last reply of the current request. It has no outcomes if all of them were committed before.
    pub(super) fn commit_last(&mut self, requests: &RequestReader) {
        if self.open.is_none() {
            self.open_reply(requests, 1);
        }
        self.commit(true);
    }

    /// Commits the open reply, if there is one, and wakes the parent if it sleeps.
    pub(super) fn commit(&mut self, last: bool) {
        let Some(open) = self.open.take() else {
            return;
        };
        // Counted here and not when a reply is opened: a reply that is opened again keeps its number.
        self.sequence += 1;
        let ran = self.clock_since(open.since);
        let mut head = open.head(last, ran, self.sequence);
        head.leaves = std::mem::take(&mut self.leaves);
        open.commit(self.ring.resume(), head, &mut self.scratch);
        if self.ring.take_sleeping_consumer() {
            self.wake_parent();
        }
        self.is_checked = false;
    }

    fn clock_since(&mut self, earlier: Moment) -> Duration {
        self.read_clock().since(earlier)
    }

    /// Ends this process if the parent sleeps and its doorbell was closed. Called before the outcome of the current
    /// item is written, so that the task which has closed the doorbell has that for its outcome.
    #[inline]
    pub(super) fn check_doorbell(&mut self) {
        self.is_checked = self.parent.is_some() && self.ring.consumer_is_asleep();
        if self.is_checked {
            self.end_without_doorbell();
        }
    }

    /// Rings the parent's doorbell. Ends this process if the doorbell was closed: the number may be that of a file of
    /// the user's.
    pub(super) fn wake_parent(&mut self) {
        if !std::mem::take(&mut self.is_checked) {
            self.end_without_doorbell();
        }
        if let Some(doorbell) = &self.parent {
            doorbell.ring();
        }
    }

    #[cold]
    fn end_without_doorbell(&self) {
        if self.parent.as_ref().is_some_and(|it| !it.is_intact()) {
            exit_cause::end(ExitCause::Disconnected);
        }
    }

    fn wait_for_space(&mut self, requests: &RequestReader, body: usize) {
        // The time that the parent takes must not count against the item's limit.
        requests.clear_start();
        while self.ring.announce_sleep(body) {
            futex::wait(self.ring.sleep_word(), 1, None);
        }
        self.ring.awake();
    }
}

impl OpenReply {
    /// Appends one outcome. After a fault the reply is as before.
    #[inline]
    fn add(
        &mut self,
        writer: &mut Writer<'_>,
        status: Status,
        encode: &mut impl FnMut(&mut Writer<'_>) -> Result<bool, EncodeFault>,
    ) -> Result<(), EncodeFault> {
        let at = writer.len();
        self.item = at;
        let encoded = match writer.extend(&[0; ITEM_PREFIX]) {
            true => encode(writer),
            false => Err(EncodeFault::Full),
        };
        match encoded {
            Ok(publish) => {
                let len = writer.len() - at - ITEM_PREFIX;
                writer.patch(at, &envelope::outcome_prefix(status, len));
                self.count += 1;
                if status == Status::Blob {
                    self.in_blob = true;
                    writer.patch(Reply::FLAGS, &self.flags(false).to_ne_bytes());
                }
                if publish {
                    let word = writer.word(Reply::PUBLISHED);
                    word.store(self.published(writer), Ordering::Release);
                }
                Ok(())
            }
            Err(fault) => {
                writer.rewind(at);
                Err(fault)
            }
        }
    }

    /// Removes the last outcome, which was not published.
    fn retract(&mut self, mut writer: Writer<'_>) {
        self.count -= 1;
        self.in_blob = false;
        writer.patch(Reply::FLAGS, &self.flags(false).to_ne_bytes());
        writer.rewind(self.item);
    }

    /// The head of the whole reply, without its length and checksum.
    fn head(&self, last: bool, ran: Duration, sequence: u64) -> Reply {
        Reply {
            sequence,
            task: self.task,
            first: self.first,
            last,
            has_attachments: self.has_attachments,
            in_blob: self.in_blob,
            run_nanos: ran.as_nanos() as u64,
            count: self.count,
            ..Reply::default()
        }
    }

    fn commit(&self, mut writer: Writer<'_>, mut head: Reply, scratch: &mut Vec<u8>) {
        scratch.clear();
        writer.copy(Reply::BYTES, scratch);
        head.bytes = scratch.len() as u32;
        head.checksum = head.sum(scratch);
        writer.patch(0, &head.to_bytes());
        writer.commit(envelope::REPLY);
    }

    #[inline]
    fn published(&self, writer: &Writer<'_>) -> u64 {
        envelope::published(self.count, (writer.len() - Reply::BYTES) as u32)
    }

    fn flags(&self, last: bool) -> u64 {
        let head = Reply {
            first: self.first,
            last,
            has_attachments: self.has_attachments,
            in_blob: self.in_blob,
            ..Reply::default()
        };
        head.flags_word()
    }
}
