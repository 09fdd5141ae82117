//! The worker's end of its request ring, and the request that it is at.
//!
//! Runs in the worker, on the thread that runs tasks.
//!
//! Must stay true: a request stays in the ring until all its items are claimed or revoked and its last reply is
//! committed. Its bytes are copied out before they are read, because the parent's memory may be corrupt too.
//!
//! Never here: what is done with the arguments.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::de::DeserializeOwned;

use super::envelope;
use super::envelope::{ITEM_PREFIX, Request};
use super::poll_window::PollWindow;
use crate::codec::attachments;
use crate::codec::attachments::ReceivedAttachments;
use crate::codec::cached;
use crate::codec::codec;
use crate::ring::{Consumer, Corrupt, Frame};
use crate::sys::clock::Moment;
use crate::sys::exit_cause;
use crate::sys::futex;
use crate::sys::image::Token;
use crate::task::Traceparent;
use crate::transfer::mapped_blobs::MappedBlobs;

/// Polls between two calls of `sched_yield(2)`. On a busy processor, polling without them costs ten times the round
/// trip.
const POLLS_PER_YIELD: u32 = 20;

/// Reads requests.
#[derive(Debug)]
pub(super) struct RequestReader {
    ring: Consumer,
    /// The blobs and attachments that the parent has sent.
    blobs: Arc<MappedBlobs>,
    current: Option<CurrentRequest>,
    /// The bytes of the current request.
    bytes: Vec<u8>,
    window: PollWindow,
}

/// The request whose items are being run.
#[derive(Debug)]
struct CurrentRequest {
    frame: Frame,
    head: Request,
    /// The last claimed item.
    index: u32,
    /// Where the next item's bytes begin.
    cursor: usize,
    /// The attachments that no item has taken yet.
    attachments: ReceivedAttachments,
}

/// A frame at the front of the request ring.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) frame: Frame,
    /// Whether the worker had to wait for it.
    pub(super) waited: bool,
}

impl RequestReader {
    pub(super) fn new(ring: Consumer, blobs: Arc<MappedBlobs>) -> Self {
        Self {
            ring,
            blobs,
            current: None,
            bytes: Vec::new(),
            window: PollWindow::new(),
        }
    }

    /// The blobs and attachments that the parent has sent.
    pub(super) fn blobs(&self) -> &Arc<MappedBlobs> {
        &self.blobs
    }

    /// Says that requests are taken from now on.
    pub(super) fn announce_service(&self) {
        self.ring.announce_service();
    }

    /// Waits for a frame: polls for a while, then sleeps.
    pub(super) fn wait(&mut self) -> Result<Arrival, Corrupt> {
        if let Some(frame) = self.ring.peek()? {
            let waited = false;
            return Ok(Arrival { frame, waited });
        }
        loop {
            let began = Moment::now();
            if let Some(frame) = self.poll(began)? {
                let waited = true;
                return Ok(Arrival { frame, waited });
            }
            // Here nothing is lost: every outcome was committed, and no item is claimed.
            exit_cause::end_if_disconnected();
            if self.ring.announce_sleep() {
                futex::wait(self.ring.sleep_word(), 1, None);
            }
            self.ring.awake();
            self.window.on_sleep(Moment::now().since(began));
        }
    }

    fn poll(&mut self, began: Moment) -> Result<Option<Frame>, Corrupt> {
        while Moment::now().since(began) < self.window.get() {
            for _ in 0..POLLS_PER_YIELD {
                if let Some(frame) = self.ring.peek()? {
                    return Ok(Some(frame));
                }
                std::hint::spin_loop();
            }
            std::thread::yield_now();
        }
        Ok(None)
    }

    /// Makes the request in `frame` the current one; returns the place of its function. Blocks until its attachments
    /// have come.
    pub(super) fn begin(&mut self, frame: Frame) -> Result<Token, Corrupt> {
        self.bytes.clear();
        self.ring.copy(frame, 0, frame.len(), &mut self.bytes);
        let head = Request::from_bytes(&self.bytes).ok_or(Corrupt)?;
        let traced = match head.flags & envelope::TRACED {
            0 => 0,
            _ => Traceparent::BYTES,
        };
        self.current = Some(CurrentRequest {
            frame,
            head,
            index: 0,
            cursor: Request::BYTES + traced,
            attachments: match head.attachments {
                0 => ReceivedAttachments::default(),
                id => self.blobs.wait_for_attachments(id).into(),
            },
        });
        Ok(Token::from_bits(head.token))
    }

    /// Claims the next item of the current request: its index, or `None` if no item is left.
    #[inline]
    pub(super) fn claim(&mut self) -> Option<u32> {
        let current = self.current.as_mut()?;
        let index = envelope::claim(self.ring.word(current.frame, Request::SPAN))?;
        current.index = index;
        Some(index)
    }

    /// The current request's head and the index of the last claimed item.
    #[inline]
    pub(super) fn item(&self) -> Option<(&Request, u32)> {
        let current = self.current.as_ref()?;
        Some((&current.head, current.index))
    }

    /// The number of the current request in its ring; 0 if there is none.
    #[inline]
    pub(super) fn number(&self) -> u64 {
        self.current.as_ref().map_or(0, |it| it.frame.number())
    }

    /// The trace context of the current request.
    #[cold]
    pub(super) fn trace(&self) -> Option<Traceparent> {
        let bytes = self.bytes.get(Request::BYTES..)?;
        Traceparent::from_bytes(bytes.get(..Traceparent::BYTES)?)
    }

    /// The place of the last claimed item in the input of its map.
    #[inline]
    pub(super) fn place(&self) -> u64 {
        self.item().map_or(0, |(head, index)| {
            (head.flags >> envelope::PLACE_SHIFT) + u64::from(index)
        })
    }

    /// Whether the current request has items behind the last claimed item.
    #[inline]
    pub(super) fn has_more(&self) -> bool {
        self.item()
            .is_some_and(|(head, index)| index + 1 < head.items)
    }

    /// Whether the current request has one item.
    #[inline]
    pub(super) fn is_single(&self) -> bool {
        self.item().is_some_and(|(head, _)| head.items == 1)
    }

    /// Whether the starts of items are stamped, because the task has a time limit.
    #[inline]
    pub(super) fn is_timed(&self) -> bool {
        self.item()
            .is_some_and(|(head, _)| head.flags & envelope::TIMED != 0)
    }

    /// Whether the parent wants every outcome at once.
    ///
    /// Asked after an item was claimed, which is a full barrier; the parent sets the flag and then salvages what is
    /// published. So either this sees the flag, or the parent sees the outcomes.
    #[inline]
    pub(super) fn is_eager(&self) -> bool {
        let flags = self.word(Request::FLAGS);
        flags.is_some_and(|flags| flags.load(Ordering::Relaxed) & envelope::EAGER != 0)
    }

    /// Writes when the current item started.
    #[inline]
    pub(super) fn stamp_start(&self, started: Moment) {
        if let Some(word) = self.word(Request::STARTED) {
            word.store(started.to_bits(), Ordering::Release);
        }
    }

    /// Forgets the signs of life of earlier tasks: the last may say that its task waits for a reader.
    #[inline]
    pub(super) fn clear_progress(&self) {
        self.ring.clear_progress();
    }

    /// Erases when the current item started: what follows must not count against the time limit.
    pub(super) fn clear_start(&self) {
        self.stamp_start(Moment::default());
    }

    /// Decodes the arguments of the last claimed item. A panic of a `Deserialize` passes through.
    #[inline]
    pub(super) fn arguments<A: DeserializeOwned>(&mut self) -> Result<A, String> {
        match self.item() {
            Some((head, _)) if head.flags & envelope::NAMES_CACHED != 0 => {
                cached::receive(|| self.decode_arguments())
            }
            _ => self.decode_arguments(),
        }
    }

    #[inline]
    fn decode_arguments<A: DeserializeOwned>(&mut self) -> Result<A, String> {
        let Some(current) = &mut self.current else {
            return Err("there is no request".to_owned());
        };
        if current.attachments.is_empty() {
            return current.decode(&self.bytes, &self.blobs);
        }
        // An item takes its own attachments. The request closes the rest.
        let mut received = std::mem::take(&mut current.attachments);
        let decoded =
            attachments::with_received(&mut received, || current.decode(&self.bytes, &self.blobs));
        current.attachments = received;
        decoded
    }

    /// How many items of the current request were claimed.
    pub(super) fn claimed(&self) -> u32 {
        self.word(Request::SPAN).map_or(0, envelope::claimed)
    }

    /// Closes the attachments that no item has taken.
    pub(super) fn close_attachments(&mut self) {
        if let Some(current) = &mut self.current {
            current.attachments = ReceivedAttachments::default();
        }
    }

    /// Releases the current request. True if the parent sleeps until there is space, and must be woken.
    #[must_use]
    pub(super) fn release(&mut self) -> bool {
        let Some(current) = self.current.take() else {
            return false;
        };
        self.ring.release(current.frame);
        self.ring.take_sleeping_producer()
    }

    #[inline]
    fn word(&self, offset: usize) -> Option<&AtomicU64> {
        let current = self.current.as_ref()?;
        Some(self.ring.word(current.frame, offset))
    }
}

impl CurrentRequest {
    #[inline]
    fn decode<A: DeserializeOwned>(
        &mut self,
        bytes: &[u8],
        blobs: &MappedBlobs,
    ) -> Result<A, String> {
        if self.head.blob != 0 {
            let blob = blobs.wait(self.head.blob);
            return blob.decode(self.head.blob_len as usize);
        }
        let torn = || "the request was overwritten".to_owned();
        let rest = bytes.get(self.cursor..).ok_or_else(torn)?;
        let prefix = rest.first_chunk::<ITEM_PREFIX>().ok_or_else(torn)?;
        let len = u32::from_le_bytes(*prefix) as usize;
        let item = rest.get(ITEM_PREFIX..ITEM_PREFIX + len).ok_or_else(torn)?;
        // Before the item is decoded, which may panic.
        self.cursor += ITEM_PREFIX + len;
        codec::decode_unguarded(item)
    }
}
