//! The parent's end of a worker's reply ring.
//!
//! Runs in the parent, in the pool's driver or in the task that supervises one process.
//!
//! Must stay true: every byte from the ring may have been written by a worker that is dying or confused. It is copied
//! out first and then checked; a head that cannot be true makes the ring [`Corrupt`].
//!
//! Never here: whose job a reply belongs to.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::envelope;
use super::envelope::{Reply, Status, next_outcome};
use super::outcomes::{Outcomes, ReplyBody, Source};
use crate::codec::codec;
use crate::ring::{Consumer, Corrupt};
use crate::sys::futex;
use crate::transfer::control::{ControlSocket, Either};
use crate::transfer::mapped_blob::MappedBlob;
use crate::transfer::mapped_blobs::MappedBlobs;
use crate::transfer::messages::{FromChild, FromWorker};

/// Reads replies, and receives what comes beside them.
#[derive(Debug)]
pub(crate) struct ReplyReader {
    ring: Consumer,
    control: Arc<ControlSocket>,
    blobs: MappedBlobs,
    /// That of the last reply.
    sequence: u64,
    /// The outcomes of the reply being written that were salvaged before it was committed.
    salvaged: Salvaged,
}

#[derive(Debug, Clone, Copy, Default)]
struct Salvaged {
    count: u32,
    bytes: u32,
}

impl ReplyReader {
    pub(crate) fn new(ring: Consumer, control: Arc<ControlSocket>) -> Self {
        Self {
            ring,
            control,
            blobs: MappedBlobs::default(),
            sequence: 0,
            salvaged: Salvaged::default(),
        }
    }

    /// Takes the next reply: returns its head, and appends the whole of it to `bytes`. Its outcomes begin
    /// [`Reply::BYTES`] into what was appended.
    ///
    /// # Errors
    ///
    /// The worker's memory is corrupt. Nothing it writes can be relied on, so it must be killed.
    pub(crate) fn next(&mut self, bytes: &mut Vec<u8>) -> Result<Option<Reply>, Corrupt> {
        let Some(frame) = self.ring.peek()? else {
            return Ok(None);
        };
        let at = bytes.len();
        self.ring.copy(frame, 0, frame.len(), bytes);
        let head = Reply::from_bytes(&bytes[at..]).ok_or(Corrupt)?;
        if head.sequence != self.sequence + 1 || Reply::BYTES + head.bytes as usize != frame.len() {
            return Err(Corrupt);
        }
        self.sequence += 1;
        let head = self.without_salvaged(head, bytes, at);
        self.salvaged = Salvaged::default();
        self.ring.release(frame);
        if self.ring.take_sleeping_producer() {
            futex::wake(self.ring.producer_word());
        }
        Ok(Some(head))
    }

    /// Takes what the worker has published of the reply it has not committed, except what was salvaged before.
    ///
    /// The worker may be dead, or alive and writing: what is published does not change any more.
    pub(crate) fn salvage(&mut self, bytes: &mut Vec<u8>) -> Option<Reply> {
        let frame = self.ring.beyond()?;
        if frame.kind() != envelope::REPLY || frame.len() < Reply::BYTES {
            return None;
        }
        // The sequence number is written behind the head and before all outcomes: if it is right, the head is.
        let sequence = self.ring.word(frame, Reply::SEQUENCE);
        if sequence.load(Ordering::Acquire) != self.sequence + 1 {
            return None;
        }
        let published = self.ring.word(frame, Reply::PUBLISHED);
        let (count, len) = envelope::read_published(published.load(Ordering::Acquire));
        let fits = Reply::BYTES + len as usize <= frame.len() && len >= self.salvaged.bytes;
        if !fits || count <= self.salvaged.count {
            return None;
        }
        let at = bytes.len();
        self.ring.copy(frame, 0, Reply::BYTES + len as usize, bytes);
        let head = Reply {
            count,
            bytes: len,
            // These are written by the commit.
            last: false,
            has_attachments: false,
            run_nanos: 0,
            ..Reply::from_bytes(&bytes[at..])?
        };
        let reply = self.without_salvaged(head, bytes, at);
        self.salvaged = Salvaged { count, bytes: len };
        Some(reply)
    }

    /// Removes the outcomes that were salvaged before from the reply at `at`.
    fn without_salvaged(&self, head: Reply, bytes: &mut Vec<u8>, at: usize) -> Reply {
        let Salvaged { count, bytes: len } = self.salvaged;
        if count == 0 || count > head.count || len > head.bytes {
            return head;
        }
        let from = at + Reply::BYTES;
        bytes.drain(from..from + len as usize);
        Reply {
            first: head.first + count,
            count: head.count - count,
            bytes: head.bytes - len,
            in_blob: head.in_blob && head.count > count,
            ..head
        }
    }

    /// Takes the only outcome of a process that has exited and had one request of one item. Empty replies are passed
    /// over; an outcome that was not committed is salvaged. `bytes` holds the outcome afterwards.
    pub(crate) fn only_outcome<'a>(
        &mut self,
        bytes: &'a mut Vec<u8>,
        pid: u32,
    ) -> Option<ReplyBody<'a>> {
        let head = match self.next_with_outcomes(bytes) {
            Some(head) => head,
            None => {
                bytes.clear();
                self.salvage(bytes)?
            }
        };
        Some(self.body(&head, &bytes[Reply::BYTES..], pid))
    }

    fn next_with_outcomes(&mut self, bytes: &mut Vec<u8>) -> Option<Reply> {
        loop {
            bytes.clear();
            let head = self.next(bytes).ok().flatten()?;
            if head.count > 0 {
                return Some(head);
            }
        }
    }

    /// The outcomes of a reply that was taken, whose bytes behind the head are `bytes`. Receives its blob and its
    /// attachments; `pid` is that of the worker, for error messages.
    #[inline]
    pub(crate) fn body<'a>(&mut self, head: &Reply, bytes: &'a [u8], pid: u32) -> ReplyBody<'a> {
        let fds = match head.has_attachments {
            true => self.attachments(head.sequence),
            false => Vec::new(),
        };
        match head.in_blob.then(|| blob_outcome(bytes)).flatten() {
            None => ReplyBody::Frame(Outcomes::new(head, Source::Frame(bytes), pid, fds)),
            Some((id, len)) => {
                let blob = self.blob(id).ok();
                let arrived = blob.is_some();
                let source = Source::Blob(blob.map(|blob| (blob, len as usize)));
                let outcomes = Outcomes::new(head, source, pid, fds);
                ReplyBody::Blob {
                    id,
                    arrived,
                    outcomes,
                }
            }
        }
    }

    /// Announces that the parent sleeps. False if there is a reply already: then the parent must not sleep.
    pub(crate) fn announce_sleep(&mut self) -> bool {
        self.ring.announce_sleep()
    }

    /// Withdraws the announcement.
    pub(crate) fn awake(&self) {
        self.ring.awake();
    }

    /// Receives all control messages that have arrived.
    pub(crate) fn receive_all(&mut self) {
        while self.receive().is_ok() {}
    }

    /// The blob `id`, whose memory was sent before the reply that names it.
    fn blob(&mut self, id: u64) -> io::Result<Arc<MappedBlob>> {
        loop {
            if let Some(blob) = self.blobs.get(id) {
                return Ok(blob);
            }
            self.receive()?;
        }
    }

    /// The attachments of the reply `sequence`, which were sent before it. None if they did not arrive; then decoding
    /// the values that need them fails with an error that says so.
    fn attachments(&mut self, sequence: u64) -> Vec<OwnedFd> {
        loop {
            if let Some(fds) = self.blobs.take_attachments(sequence) {
                return fds;
            }
            if self.receive().is_err() {
                return Vec::new();
            }
        }
    }

    /// Receives one control message. Does not wait.
    fn receive(&mut self) -> io::Result<()> {
        let Some((message, fds)) = self.control.try_recv()? else {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        };
        match message {
            Either::Left(message) => self.accept(message, fds),
            // A forked child and its fork server both announce the child; the second message is read here. A refusal
            // comes from a spare that then exits, which its pidfd says as well.
            Either::Right(FromChild::Forked { .. } | FromChild::Refused(_)) => Ok(()),
        }
    }

    /// Takes one message that the worker has sent.
    pub(crate) fn accept(&mut self, message: FromWorker, fds: Vec<OwnedFd>) -> io::Result<()> {
        match message {
            FromWorker::Blob { id } => {
                let memory = fds.first().ok_or(io::ErrorKind::InvalidData)?;
                self.blobs.add(id, memory)?;
            }
            FromWorker::Attachments { id } => self.blobs.add_attachments(id, fds),
            FromWorker::Forget { id } => self.blobs.remove(id),
        }
        Ok(())
    }
}

/// The id of the blob that the only outcome in `bytes` is in, and the result's length.
fn blob_outcome(mut bytes: &[u8]) -> Option<(u64, u64)> {
    match next_outcome(&mut bytes)? {
        (Status::Blob, body) => codec::decode(body).ok(),
        _ => None,
    }
}
