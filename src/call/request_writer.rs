//! The parent's ends of a worker's two rings.
//!
//! Two values, because two parts of the parent use them: whoever submits a task writes requests, the
//! pool's driver reads replies.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::envelope;
use super::envelope::{LONGEST_BODY, Reply, Request};
use super::job::Job;
use crate::codec::attachments;
use crate::codec::codec::EncodeFault;
use crate::ring::{Consumer, Corrupt, Cursor, Producer};
use crate::sys::clock::Moment;
use crate::sys::futex;
use crate::sys::memory::Mapping;
use crate::sys::socket;
use crate::transfer::blob::{Blob, MappedBlobs, Packed};
use crate::transfer::control::{ControlSocket, Either};
use crate::transfer::messages::{FromChild, FromWorker, ToWorker};

/// Messages that could not be sent yet, because the worker does not read: each with its descriptors.
type Unsent = VecDeque<(ToWorker, Vec<OwnedFd>)>;

/// Where requests are written.
#[derive(Debug)]
pub(crate) struct RequestWriter {
    ring: Producer,
    control: Arc<ControlSocket>,
    announced: Vec<u64>,
    unsent: Unsent,
    /// The number of the last message of descriptors.
    baggage: u64,
}

/// What became of a job that was to be sent.
#[derive(Debug)]
pub(crate) enum Post {
    /// Its first `items` items are in the ring, at `position`; descriptors went with them if it is `laden`.
    Sent {
        position: Cursor,
        items: usize,
        has_fds: bool,
    },
    /// The ring has no space now.
    NoSpace,
    /// Its first item fits no ring and must be packed.
    TooLarge,
    /// Its first item cannot be encoded.
    Refused(String),
}

/// What was found of a request that was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// How many items the worker had claimed.
    pub(crate) claimed: usize,
}

impl RequestWriter {
    pub(crate) fn new(ring: Producer, control: Arc<ControlSocket>) -> Self {
        Self {
            ring,
            control,
            announced: Vec::new(),
            unsent: Unsent::new(),
            baggage: 0,
        }
    }

    /// Writes as many of the job's items as fit one request.
    pub(crate) fn post(&mut self, task: u64, job: &dyn Job, timed: bool) -> Post {
        loop {
            match self.try_post(task, job, timed) {
                // Nobody says that there is space if there is some by now.
                Post::NoSpace if !self.ring.announce_sleep(LONGEST_BODY) => {}
                post => return post,
            }
        }
    }

    fn try_post(&mut self, task: u64, job: &dyn Job, timed: bool) -> Post {
        let token = match job.token() {
            Ok(token) => token.to_bits(),
            Err(error) => return Post::Refused(error.to_string()),
        };
        let room = self.ring.room().min(LONGEST_BODY);
        if room < Request::BYTES {
            return Post::NoSpace;
        }
        let Some(mut writer) = self.ring.begin(room) else {
            return Post::NoSpace;
        };
        let head = Request {
            items: 0,
            task,
            token,
            parcel: 0,
            parcel_len: 0,
            flags: if timed { envelope::TIMED } else { 0 },
            baggage: 0,
        };
        writer.extend(&head.to_bytes());
        let mut bag = Vec::new();
        let wrote = attachments::packing(&mut bag, || job.write(&mut writer));
        match (wrote.items, wrote.stopped) {
            (0, Some(EncodeFault::Full)) if room == LONGEST_BODY => Post::TooLarge,
            (0, Some(EncodeFault::Full)) => Post::NoSpace,
            (0, Some(EncodeFault::Refused(why))) => Post::Refused(why),
            (items, _) => {
                let baggage = send_ahead(&mut self.unsent, &mut self.baggage, &self.control, bag);
                let head = Request {
                    items: items as u32,
                    baggage,
                    ..head
                };
                writer.patch(0, &head.to_bytes());
                let position = writer.commit(envelope::TASK);
                Post::Sent {
                    position,
                    items,
                    has_fds: baggage != 0,
                }
            }
        }
    }

    /// Writes a request whose only item was packed.
    pub(crate) fn write_blob(&mut self, task: u64, job: &dyn Job, packed: &Packed) -> Post {
        let token = match job.token() {
            Ok(token) => token.to_bits(),
            Err(error) => return Post::Refused(error.to_string()),
        };
        let ready = self.announce(&packed.parcel).and_then(|()| {
            let fds = packed.baggage.iter();
            fds.map(OwnedFd::try_clone).collect::<io::Result<Vec<_>>>()
        });
        let bag = match ready {
            Ok(bag) => bag,
            Err(error) => {
                return Post::Refused(format!("its descriptors could not be sent: {error}"));
            }
        };
        // There is space now, or somebody will say when there is.
        while self.ring.begin(Request::BYTES).is_none() {
            if self.ring.announce_sleep(LONGEST_BODY) {
                return Post::NoSpace;
            }
        }
        let mut writer = self.ring.resume();
        let head = Request {
            items: 1,
            task,
            token,
            parcel: packed.parcel.id(),
            parcel_len: packed.len as u64,
            flags: 0,
            baggage: send_ahead(&mut self.unsent, &mut self.baggage, &self.control, bag),
        };
        writer.extend(&head.to_bytes());
        let position = writer.commit(envelope::TASK);
        Post::Sent {
            position,
            items: 1,
            has_fds: !packed.baggage.is_empty(),
        }
    }

    /// Tells the worker to end after what it was sent. False if there is no space for that now.
    pub(crate) fn post_stop(&mut self) -> bool {
        let Some(writer) = self.ring.begin(0) else {
            return false;
        };
        writer.commit(envelope::STOP);
        self.wake();
        true
    }

    /// Wakes the worker if it sleeps. Once after all that was posted.
    pub(crate) fn wake(&self) {
        if self.ring.take_sleeping_consumer() {
            futex::wake(self.ring.consumer_word());
        }
    }

    /// Takes back what the worker has not claimed of the request at `position`.
    pub(crate) fn take_back(&mut self, position: Cursor) -> Taken {
        let word = self.ring.word(position, Request::SPAN);
        Taken {
            claimed: envelope::take_back(word) as usize,
        }
    }

    /// Asks for every outcome of the request at `position` as soon as it is there. Those there are by now are
    /// salvaged after this.
    pub(crate) fn hurry(&self, position: Cursor) {
        let flags = self.ring.word(position, Request::FLAGS);
        flags.fetch_or(envelope::EAGER, Ordering::SeqCst);
    }

    /// Whether the worker aborted for want of memory, once it has ended.
    pub(crate) fn wanted_memory(&self) -> bool {
        self.ring.note() != 0
    }

    /// How many items of the request at `position` were claimed.
    pub(crate) fn claimed(&self, position: Cursor) -> usize {
        envelope::claimed(self.ring.word(position, Request::SPAN)) as usize
    }

    /// Whether the worker is done with the request at `position`: its last reply is on the way.
    pub(crate) fn released(&self, position: Cursor) -> bool {
        self.ring.released(position)
    }

    /// Has the parent's bell rung when the worker is done with the oldest request in the ring. False if there is
    /// none.
    pub(crate) fn watch(&mut self) -> bool {
        self.ring.announce_watch()
    }

    /// When the item that runs, of the request at `position`, was started.
    pub(crate) fn started(&self, position: Cursor) -> Option<Moment> {
        if self.released(position) {
            return None; // another request may lie there by now
        }
        let word = self.ring.word(position, Request::STARTED);
        match word.load(Ordering::Acquire) {
            0 => None,
            bits => Some(Moment::from_bits(bits)),
        }
    }

    /// Says something over the control socket; what cannot be sent now is sent later, in order.
    pub(crate) fn say(&mut self, message: ToWorker) {
        self.unsent.push_back((message, Vec::new()));
        let _ = self.send_unsent();
    }

    /// Sends what could not be sent before.
    ///
    /// # Errors
    ///
    /// Why some of it still waits.
    pub(crate) fn send_unsent(&mut self) -> io::Result<()> {
        send_in_order(&mut self.unsent, &self.control)
    }

    fn announce(&mut self, parcel: &Blob) -> io::Result<()> {
        if self.announced.contains(&parcel.id()) {
            return Ok(());
        }
        let memory = parcel.as_fd().try_clone_to_owned()?;
        let message = ToWorker::Blob { id: parcel.id() };
        self.unsent.push_back((message, vec![memory]));
        let _ = self.send_unsent();
        self.announced.push(parcel.id());
        Ok(())
    }

    /// Tells the worker that parcels were given up, as far as it knows them.
    pub(crate) fn forget(&mut self, ids: &[u64]) {
        for &id in ids {
            if let Some(index) = self.announced.iter().position(|known| *known == id) {
                self.announced.swap_remove(index);
                self.say(ToWorker::Forget { id });
            }
        }
    }
}

/// Sends descriptors ahead of the request they belong to; returns their number, 0 if there are none.
fn send_ahead(
    unsent: &mut Unsent,
    last: &mut u64,
    control: &ControlSocket,
    bag: Vec<OwnedFd>,
) -> u64 {
    if bag.is_empty() {
        return 0;
    }
    *last += 1;
    unsent.push_back((ToWorker::Attachments { id: *last }, bag));
    let _ = send_in_order(unsent, control);
    *last
}

fn send_in_order(unsent: &mut Unsent, control: &ControlSocket) -> io::Result<()> {
    while let Some((message, fds)) = unsent.front() {
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        match control.send(message, &fds) {
            // The worker is gone and needs nothing any more.
            Err(error) if socket::is_end(&error) => {}
            // No room in the socket, no memory, or too many descriptors on their way.
            other => other?,
        }
        unsent.pop_front();
    }
    Ok(())
}

/// Where replies are read.
#[derive(Debug)]
pub(crate) struct ReplyReader {
    ring: Consumer,
    control: Arc<ControlSocket>,
    blobs: MappedBlobs,
    sequence: u64,
    /// Outcomes of the reply being written that were taken early, and their bytes.
    early: (u32, u32),
}

impl ReplyReader {
    pub(crate) fn new(ring: Consumer, control: Arc<ControlSocket>) -> Self {
        Self {
            ring,
            control,
            blobs: MappedBlobs::default(),
            sequence: 0,
            early: (0, 0),
        }
    }

    /// Takes the next reply: its head, and all of it appended to `bytes`; the outcomes begin
    /// [`Reply::BYTES`] into it.
    ///
    /// # Errors
    ///
    /// The worker's memory is corrupt. It cannot be believed any more and must be killed.
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
        let head = self.without_early(head, bytes, at);
        self.early = (0, 0);
        self.ring.release(frame);
        if self.ring.take_sleeping_producer() {
            futex::wake(self.ring.producer_word());
        }
        Ok(Some(head))
    }

    /// What the worker has finished and not committed: before it goes on to something slow, or died. All of it
    /// that was not taken before.
    pub(crate) fn salvage(&mut self, bytes: &mut Vec<u8>) -> Option<Reply> {
        let frame = self.ring.beyond()?;
        if frame.kind() != envelope::REPLY || frame.len() < Reply::BYTES {
            return None;
        }
        // The worker may be alive and writing. Its number comes after the head and before all outcomes, and
        // what is published does not change any more.
        let sequence = self.ring.word(frame, Reply::SEQUENCE);
        if sequence.load(Ordering::Acquire) != self.sequence + 1 {
            return None;
        }
        let published = self.ring.word(frame, Reply::PUBLISHED);
        let published = published.load(Ordering::Acquire);
        let (count, len) = (envelope::next(published), envelope::limit(published));
        let whole = Reply::BYTES + len as usize <= frame.len() && len >= self.early.1;
        if !whole || count <= self.early.0 {
            return None;
        }
        let at = bytes.len();
        self.ring.copy(frame, 0, Reply::BYTES + len as usize, bytes);
        let head = Reply {
            count,
            bytes: len,
            ..Reply::from_bytes(&bytes[at..])?
        };
        let reply = self.without_early(head, bytes, at);
        self.early = (head.count, head.bytes);
        Some(Reply {
            last: false,
            baggage: false,
            run_nanos: 0,
            ..reply
        })
    }

    /// Takes what was taken early out of a reply.
    fn without_early(&self, head: Reply, bytes: &mut Vec<u8>, at: usize) -> Reply {
        let (count, len) = self.early;
        if count == 0 || count > head.count || len > head.bytes {
            return head;
        }
        let from = at + Reply::BYTES;
        bytes.drain(from..from + len as usize);
        Reply {
            first: head.first + count,
            count: head.count - count,
            bytes: head.bytes - len,
            ..head
        }
    }

    /// Announces that the parent sleeps. False if there is a reply by now, and it must not.
    pub(crate) fn announce_sleep(&mut self) -> bool {
        self.ring.announce_sleep()
    }

    /// Takes the announcement back.
    pub(crate) fn awake(&self) {
        self.ring.awake();
    }

    /// The parcel `id`, whose descriptor was sent before the reply that names it.
    pub(crate) fn parcel(&mut self, id: u64) -> io::Result<Arc<Mapping>> {
        loop {
            if let Some(memory) = self.blobs.get(id) {
                return Ok(memory);
            }
            self.receive()?;
        }
    }

    /// The descriptors of the reply `sequence`, which were sent before it. None if they did not arrive: the
    /// values that need them say so.
    pub(crate) fn baggage(&mut self, sequence: u64) -> Vec<OwnedFd> {
        loop {
            if let Some(fds) = self.blobs.take_baggage(sequence) {
                return fds;
            }
            if self.receive().is_err() {
                return Vec::new();
            }
        }
    }

    /// Takes all that has come over the control socket.
    pub(crate) fn hear_all(&mut self) {
        while self.receive().is_ok() {}
    }

    /// Takes one message from the control socket. Does not wait.
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
            FromWorker::Attachments { id } => self.blobs.add_baggage(id, fds),
            FromWorker::Forget { id } => self.blobs.remove(id),
        }
        Ok(())
    }
}
