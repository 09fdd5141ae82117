//! The parent's end of a worker's reply ring.
//!
//! Runs in the parent, in the pool's driver or in the task that supervises one process.
//!
//! Must stay true: every byte from the ring may have been written by a worker that is dying or confused. It is copied
//! out first and then checked. What cannot be is [`Nonsense`]: after that nothing is read from this worker.
//!
//! Never here: whose job a reply belongs to.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::envelope;
use super::envelope::{Reply, Status, next_outcome};
use super::outcomes::{NOT_ARRIVED, Outcomes, ReplyBody, Source};
use crate::codec::codec;
use crate::ring::Consumer;
use crate::sys::futex;
use crate::transfer::control::{ControlSocket, Either};
use crate::transfer::lane::Lane;
use crate::transfer::longest_value::longest_value;
use crate::transfer::mapped_blob::MappedBlob;
use crate::transfer::mapped_blobs::MappedBlobs;
use crate::transfer::messages::{FromChild, FromWorker};
use crate::transfer::nonsense::Nonsense;

/// The most control messages that are received while a blob or an attachment is looked for. A socket holds fewer.
const MOST_CONTROL_MESSAGES: usize = 4096;

/// The most sets of attachments that wait for their replies. A worker sends a set right before its reply.
const MOST_ATTACHMENTS: usize = 64;

/// The most blobs of one worker that are mapped: more than a worker keeps and has handed over at a time, and few enough
/// that all workers together stay far below `vm.max_map_count`.
const MOST_MAPPED_BLOBS: usize = 2048;

/// The most replies without outcomes before the only outcome of a process.
const MOST_EMPTY_REPLIES: usize = 16;

/// Reads replies, and receives what comes beside them.
#[derive(Debug)]
pub(crate) struct ReplyReader {
    ring: Consumer,
    control: Arc<ControlSocket>,
    /// What has come over the socket, for all lanes of the worker.
    blobs: Arc<MappedBlobs>,
    /// How many lanes the worker has.
    lanes: usize,
    /// That of the last reply.
    sequence: u64,
    /// The outcomes of the reply being written that were salvaged before it was committed.
    salvaged: Salvaged,
    /// The first thing that the worker wrote and that cannot be.
    nonsense: Option<Nonsense>,
    /// The longest result that is taken, if the application says so.
    longest_result: Option<u64>,
    /// Whether a message of the worker has come. The first says that it was ready.
    heard: bool,
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
            blobs: Arc::default(),
            lanes: 1,
            sequence: 0,
            salvaged: Salvaged::default(),
            nonsense: None,
            longest_result: None,
            heard: false,
        }
    }

    /// The readers of the reply rings of a worker's other lanes.
    pub(crate) fn of_others(&mut self, rings: Vec<Consumer>) -> Vec<Self> {
        self.lanes += rings.len();
        let readers = Lane::others(rings.len()).zip(rings);
        let readers = readers.map(|(lane, ring)| Self {
            blobs: Arc::clone(&self.blobs),
            lanes: self.lanes,
            sequence: lane.id_base(),
            ..Self::new(ring, Arc::clone(&self.control))
        });
        readers.collect()
    }

    /// Takes the next reply: returns its head, and appends the whole of it to `bytes`. Its outcomes begin
    /// [`Reply::BYTES`] into what was appended. `None` if there is none now, or the worker wrote [`Nonsense`].
    pub(crate) fn next(&mut self, bytes: &mut Vec<u8>) -> Option<Reply> {
        let at = bytes.len();
        let taken = match self.nonsense {
            None => self.take(bytes, at),
            Some(_) => Ok(None),
        };
        self.trusting(taken, bytes, at)
    }

    fn take(&mut self, bytes: &mut Vec<u8>, at: usize) -> Result<Option<Reply>, Nonsense> {
        let Some(frame) = self.ring.peek()? else {
            return Ok(None);
        };
        self.ring.copy(frame, 0, frame.len(), bytes);
        let head = Reply::from_bytes(&bytes[at..]).ok_or(Nonsense("a reply has no head"))?;
        if head.sequence != self.sequence + 1 {
            return Err(Nonsense("a reply has the wrong number"));
        }
        if Reply::BYTES + head.bytes as usize != frame.len() {
            return Err(Nonsense("a reply has not the length that its head says"));
        }
        if head.checksum != head.sum(&bytes[at + Reply::BYTES..]) {
            return Err(Nonsense("a reply was overwritten before it was read"));
        }
        self.sequence += 1;
        let head = self.without_salvaged(head, bytes, at)?;
        self.salvaged = Salvaged::default();
        self.ring.release(frame);
        if self.ring.take_sleeping_producer() {
            futex::wake(self.ring.producer_word());
        }
        Ok(Some(head))
    }

    /// Takes note of nonsense, and removes what was read of it.
    fn trusting(
        &mut self,
        taken: Result<Option<Reply>, Nonsense>,
        bytes: &mut Vec<u8>,
        at: usize,
    ) -> Option<Reply> {
        taken.unwrap_or_else(|nonsense| {
            self.distrust(nonsense);
            bytes.truncate(at);
            None
        })
    }

    /// The first thing that the worker wrote and that cannot be. The worker must be killed.
    pub(crate) fn nonsense(&self) -> Option<Nonsense> {
        self.nonsense
    }

    /// Reads nothing from the worker any more.
    pub(crate) fn distrust(&mut self, nonsense: Nonsense) {
        self.nonsense.get_or_insert(nonsense);
    }

    /// Takes what the worker has published of the reply it has not committed, except what was salvaged before.
    ///
    /// The worker may be dead, or alive and writing: what is published does not change any more.
    pub(crate) fn salvage(&mut self, bytes: &mut Vec<u8>) -> Option<Reply> {
        let at = bytes.len();
        let taken = match self.nonsense {
            None => self.take_published(bytes, at).transpose(),
            Some(_) => Ok(None),
        };
        self.trusting(taken, bytes, at)
    }

    fn take_published(
        &mut self,
        bytes: &mut Vec<u8>,
        at: usize,
    ) -> Option<Result<Reply, Nonsense>> {
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
        self.ring.copy(frame, 0, Reply::BYTES + len as usize, bytes);
        let head = Reply {
            count,
            bytes: len,
            // These are written by the commit.
            last: false,
            leaves: false,
            has_attachments: false,
            run_nanos: 0,
            ..Reply::from_bytes(&bytes[at..])?
        };
        let reply = self.without_salvaged(head, bytes, at);
        self.salvaged = Salvaged { count, bytes: len };
        Some(reply)
    }

    /// Removes the outcomes that were salvaged before from the reply at `at`, and checks the others.
    fn without_salvaged(
        &self,
        head: Reply,
        bytes: &mut Vec<u8>,
        at: usize,
    ) -> Result<Reply, Nonsense> {
        let Salvaged { count, bytes: len } = self.salvaged;
        let (count_left, bytes_left) = (head.count.checked_sub(count), head.bytes.checked_sub(len));
        let (Some(count_left), Some(bytes_left)) = (count_left, bytes_left) else {
            return Err(Nonsense("a reply has lost outcomes that it had"));
        };
        let from = at + Reply::BYTES;
        if len > 0 {
            bytes.drain(from..from + len as usize);
        }
        let reply = Reply {
            first: head.first.wrapping_add(count),
            count: count_left,
            bytes: bytes_left,
            in_blob: head.in_blob && count_left > 0,
            ..head
        };
        match envelope::is_whole(&reply, &bytes[from..]) {
            true => Ok(reply),
            false => Err(Nonsense(
                "a reply has not the outcomes that its head counts",
            )),
        }
    }

    /// Takes the only outcome of a process that has exited and had one request of one item. Empty replies are passed
    /// over; an outcome that was not committed is salvaged. `bytes` holds the outcome afterwards. `None` also if the
    /// process wrote [`Nonsense`].
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
        if (head.first, head.count) != (0, 1) {
            self.distrust(Nonsense("it replied to more than it was asked"));
            return None;
        }
        Some(self.body(&head, &bytes[Reply::BYTES..], pid))
    }

    fn next_with_outcomes(&mut self, bytes: &mut Vec<u8>) -> Option<Reply> {
        for _ in 0..MOST_EMPTY_REPLIES {
            bytes.clear();
            let head = self.next(bytes)?;
            if head.count > 0 {
                return Some(head);
            }
        }
        self.distrust(Nonsense("it replied without outcomes again and again"));
        None
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
                let source = Source::Blob(self.readable(blob, len));
                let outcomes = Outcomes::new(head, source, pid, fds);
                ReplyBody::Blob {
                    id,
                    arrived,
                    outcomes,
                }
            }
        }
    }

    /// The blob and the result's length, if the result may be read.
    fn readable(
        &self,
        blob: Option<Arc<MappedBlob>>,
        len: u64,
    ) -> Result<(Arc<MappedBlob>, usize), String> {
        let blob = blob.ok_or_else(|| NOT_ARRIVED.to_owned())?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let limit = self.longest_result.unwrap_or_else(longest_value);
        blob.check(len, limit)?;
        Ok((blob, len))
    }

    /// Takes no results of more than `bytes` bytes.
    pub(crate) fn limit_results(&mut self, bytes: Option<u64>) {
        self.longest_result = bytes;
    }

    /// Announces that the parent sleeps. False if there is a reply already: then the parent must not sleep.
    pub(crate) fn announce_sleep(&mut self) -> bool {
        self.ring.announce_sleep()
    }

    /// Withdraws the announcement.
    pub(crate) fn awake(&self) {
        self.ring.awake();
    }

    /// Whether the worker, which has exited, was ready for its first request.
    pub(crate) fn was_ready(&mut self) -> bool {
        // A process that has left the worker's group may still send.
        let mut left = MOST_CONTROL_MESSAGES;
        while !self.heard && left > 0 && self.receive().is_ok() {
            left -= 1;
        }
        self.heard
    }

    /// Receives all control messages that have arrived.
    pub(crate) fn receive_all(&mut self) {
        let mut left = MOST_CONTROL_MESSAGES;
        while left > 0 && self.receive().is_ok() {
            left -= 1;
        }
    }

    /// The blob `id`, whose memory was sent before the reply that names it.
    fn blob(&mut self, id: u64) -> io::Result<Arc<MappedBlob>> {
        for _ in 0..MOST_CONTROL_MESSAGES {
            if let Some(blob) = self.blobs.get(id) {
                return Ok(blob);
            }
            self.receive()?;
        }
        Err(self.flooded())
    }

    /// The attachments of the reply `sequence`, which were sent before it. None if they did not arrive; then decoding
    /// the values that need them fails with an error that says so.
    fn attachments(&mut self, sequence: u64) -> Vec<OwnedFd> {
        for _ in 0..MOST_CONTROL_MESSAGES {
            if let Some(fds) = self.blobs.take_attachments(sequence) {
                return fds;
            }
            if self.receive().is_err() {
                return Vec::new();
            }
        }
        self.flooded();
        Vec::new()
    }

    fn flooded(&mut self) -> io::Error {
        let nonsense = Nonsense("it sent more control messages than a socket holds");
        self.distrust(nonsense);
        io::Error::new(io::ErrorKind::InvalidData, nonsense.0)
    }

    /// Receives one control message. Does not wait.
    fn receive(&mut self) -> io::Result<()> {
        let received = self.control.try_recv();
        if received
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::InvalidData)
        {
            self.distrust(Nonsense("it sent a control message that is none"));
        }
        let Some((message, fds)) = received? else {
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
        self.heard = true;
        match message {
            FromWorker::Ready => {}
            FromWorker::Blob { .. } if self.blobs.mapped() >= MOST_MAPPED_BLOBS => {
                self.distrust(Nonsense("it sent more shared memory than it can use"));
            }
            FromWorker::Attachments { .. }
                if self.blobs.attached() >= MOST_ATTACHMENTS * self.lanes =>
            {
                self.distrust(Nonsense("it sent descriptors that no reply needs"));
            }
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

#[cfg(test)]
mod tests;
