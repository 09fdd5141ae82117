//! How a worker writes its replies.
//!
//! Outcomes go into the open reply one after the other, each published as it is whole. A reply is committed
//! when its request is done, when it is full, or when its first outcome has waited long enough.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;

use super::envelope;
use super::envelope::{ITEM_PREFIX, LONGEST_BODY, Reply, Request, Status};
use super::executor::{Executor, Open};
use super::result_blobs::send_patiently;
use crate::codec::attachments;
use crate::codec::codec;
use crate::codec::codec::EncodeFault;
use crate::ring::{Frame, Writer};
use crate::sys::clock::Moment;
use crate::sys::futex;
use crate::sys::text;
use crate::transfer::messages::FromWorker;

/// How long the first outcome of a reply waits for company.
const FRESH: Duration = Duration::from_millis(1);

/// Looking at the clock is dear beside a trivial item; it is looked at once in so many items.
const ITEMS_PER_LOOK: u32 = 16;

impl Executor {
    #[inline]
    pub(super) fn reply<R: Serialize>(&mut self, result: &R) {
        let mut bag = Vec::new();
        let put = self.put(Status::Done, |writer| {
            bag.clear();
            attachments::packing(&mut bag, || codec::encode_unguarded(result, writer))?;
            // Descriptors go ahead of the commit; before that nobody may see what needs them.
            Ok(bag.is_empty())
        });
        match put {
            Ok(()) if bag.is_empty() => {}
            Ok(()) => self.commit_with(&bag),
            Err(EncodeFault::Full) => self.put_elsewhere(result),
            Err(EncodeFault::Refused(why)) => self.put_text(Status::EncodeFailed, &why),
        }
    }

    /// Sends a value too large for the ring in a parcel, as a reply of its own.
    fn put_elsewhere<R: Serialize>(&mut self, value: &R) {
        match self.parcels.fill(value, &self.control) {
            Ok((place, bag)) => {
                if self.open.count > 0 {
                    self.commit(false);
                }
                let put = self.put(Status::Elsewhere, |writer| {
                    codec::encode(&place, writer).map(|()| bag.is_empty())
                });
                debug_assert!(put.is_ok());
                self.commit_with(&bag);
            }
            Err(EncodeFault::Refused(why)) => self.put_text(Status::EncodeFailed, &why),
            Err(EncodeFault::Full) => {
                self.put_text(Status::EncodeFailed, "it grew while it was serialised");
            }
        }
    }

    /// Commits a reply whose last outcome has these descriptors. They go ahead of it.
    #[cold]
    fn commit_with(&mut self, bag: &[OwnedFd]) {
        if !bag.is_empty() {
            // The number the reply has once it is committed.
            let id = self.sequence + 1;
            let message = FromWorker::Attachments { id };
            let fds: Vec<_> = bag.iter().map(AsFd::as_fd).collect();
            // It fails only if the parent is gone, and then nobody reads the reply either.
            self.open.baggage = send_patiently(&self.control, &message, &fds).is_ok();
        }
        self.commit(false);
    }

    pub(super) fn put_text(&mut self, status: Status, text: &str) {
        let short = text::prefix(text, 1024);
        let put = self.put(status, |writer| match writer.extend(short.as_bytes()) {
            true => Ok(true),
            false => Err(EncodeFault::Full),
        });
        debug_assert!(put.is_ok());
    }

    /// Adds one outcome to the open reply. Full means that it does not fit any reply. `encode` says whether it
    /// may be seen before the commit.
    #[inline]
    pub(super) fn put(
        &mut self,
        status: Status,
        mut encode: impl FnMut(&mut Writer<'_>) -> Result<bool, EncodeFault>,
    ) -> Result<(), EncodeFault> {
        loop {
            if !self.open.is_open {
                self.open_reply();
            }
            let mut writer = self.replies.resume();
            let at = writer.len();
            self.open.item = at;
            let encoded = match writer.extend(&[0; ITEM_PREFIX]) {
                true => encode(&mut writer),
                false => Err(EncodeFault::Full),
            };
            let fault = match encoded {
                Ok(publish) => {
                    let len = writer.len() - at - ITEM_PREFIX;
                    writer.patch(at, &envelope::outcome_prefix(status, len));
                    self.open.count += 1;
                    if publish {
                        let bytes = (writer.len() - Reply::BYTES) as u32;
                        let published = envelope::published(self.open.count, bytes);
                        let word = writer.word(Reply::PUBLISHED);
                        word.store(published, Ordering::Release);
                    }
                    return Ok(());
                }
                Err(fault) => fault,
            };
            writer.rewind(at);
            if matches!(fault, EncodeFault::Refused(_)) {
                return Err(fault);
            }
            if self.open.count > 0 {
                self.commit(false);
            } else if writer.limit() >= LONGEST_BODY {
                return Err(EncodeFault::Full);
            } else {
                self.open.is_open = false;
                self.wait_for_space(LONGEST_BODY);
            }
        }
    }

    /// Begins a reply with as much room as there is.
    pub(super) fn open_reply(&mut self) {
        // Enough for the head and the longest text; what does not fit it waits for more.
        const LEAST: usize = 4096;
        while self.replies.room() < LEAST {
            self.wait_for_space(LEAST);
        }
        let room = self.replies.room().min(LONGEST_BODY);
        let head = Reply {
            sequence: 0,
            task: self.request.task,
            first: self.index,
            last: false,
            baggage: false,
            run_nanos: 0,
            count: 0,
            bytes: 0,
        };
        if let Some(mut writer) = self.replies.begin(room) {
            writer.show(envelope::REPLY);
            writer.extend(&head.to_bytes());
            // Last, so that whoever finds the right sequence finds the rest of the head as well.
            let word = writer.word(Reply::SEQUENCE);
            word.store(self.sequence + 1, Ordering::Release);
        }
        self.open = Open {
            is_open: true,
            first: self.index,
            count: 0,
            since: self.clock,
            item: Reply::BYTES,
            baggage: false,
        };
    }

    #[inline]
    pub(super) fn commit_if_stale(&mut self) {
        let count = self.open.count;
        let more = self.index + 1 < self.request.items;
        if self.open.is_open && more && (count == 1 || count % ITEMS_PER_LOOK == 0) {
            let now = Moment::now();
            if now.since(self.open.since) >= FRESH {
                self.commit(false);
            }
        }
    }

    /// Before an item begins: what is done goes out, if the parent waits for every single outcome.
    #[inline]
    pub(super) fn commit_if_eager(&mut self, frame: Frame) {
        // Looked at after an item was claimed, which is a full barrier; and the parent looks for what is
        // published after it has asked. So one of the two sees the other.
        let flags = self.requests.word(frame, Request::FLAGS);
        if flags.load(Ordering::Relaxed) & envelope::EAGER != 0 {
            self.commit(false);
        }
    }

    /// Commits the open reply, if there is one, and wakes the parent if it sleeps.
    pub(super) fn commit(&mut self, last: bool) {
        if !std::mem::take(&mut self.open.is_open) {
            return;
        }
        // Only now: a reply that is begun again, for want of room, keeps its number.
        self.sequence += 1;
        let now = Moment::now();
        let nanos = now.since(self.open.since).as_nanos() as u64;
        self.clock = now;
        let mut writer = self.replies.resume();
        let word = envelope::flags_word(self.open.first, last, self.open.baggage);
        writer.patch(Reply::FLAGS, &word.to_ne_bytes());
        writer.patch(Reply::FLAGS + 8, &nanos.to_ne_bytes());
        let bytes = (writer.len() - Reply::BYTES) as u32;
        let published = envelope::published(self.open.count, bytes);
        writer.patch(Reply::PUBLISHED, &published.to_ne_bytes());
        writer.commit(envelope::REPLY);
        if self.replies.take_sleeping_consumer() {
            self.wake_parent();
        }
    }

    fn wait_for_space(&mut self, body: usize) {
        if let Some(frame) = self.frame {
            self.unstamp(frame); // it is the parent that takes its time
        }
        while self.replies.announce_sleep(body) {
            futex::wait(self.replies.sleep_word(), 1, None);
        }
        self.replies.awake();
    }
}
