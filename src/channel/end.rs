//! One side of a channel in this process: what queues and pipes have in common.
//!
//! An end has the channel's memory, the socket to the other side and the tasks and threads of this process that wait.
//! Both flavors write frames, read frames and send descriptors with it. What must stay true: one producer and one
//! consumer use the ring at a time, which the flavor ensures with its locks. Never here: those locks, and the order in
//! which a flavor rings and commits.

use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::attempt::{Attempt, Popped, Pushed, Taken};
use super::doorbell;
use super::fds;
use super::fds::TAG_BYTES;
use super::message;
use super::message::{Incoming, Outgoing, Refused};
use super::patience::Patience;
use super::peer::Peer;
use super::shm::Shm;
use super::waiters::Waiters;
use crate::codec::attachments;
use crate::ring::{Consumer, Frame, Producer, Ring};
use crate::sys::buffer::{STACK_BUF_BYTES, StackBuf};
use crate::sys::socket;
use crate::transfer::blob::BlobPool;
use crate::transfer::mapped_blob::RecentBlobs;

/// A bit of a frame's kind: descriptors were sent ahead of it, and their tag is at its start.
const HAS_FDS: u32 = 1;

/// A bit of a frame's kind: the message is in the shared memory that is its first descriptor.
const IS_LONG: u32 = 2;

/// Which side of a channel an end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Send,
    Receive,
}

/// One side of a channel in this process.
#[derive(Debug)]
pub(crate) struct End {
    shm: Arc<Shm>,
    peer: Peer,
    side: Side,
    waiters: Waiters,
    patience: Patience,
    blobs: Mutex<BlobPool>,
    recent_blobs: Mutex<RecentBlobs>,
    /// The socket had no room for descriptors. Receiving makes room in it.
    is_socket_full: AtomicBool,
    /// The process that made this value. A forked copy of that process has a copy of the value.
    owner_pid: u32,
    // Dropped last: a process that sees the count asks the kernel, which must know by then that the socket is closed.
    _drop_count: DropCount,
}

/// Counts the end of one side as dropped.
#[derive(Debug)]
struct DropCount(Arc<Shm>, Side);

impl Drop for DropCount {
    fn drop(&mut self) {
        let dropped = match self.1 {
            Side::Send => self.0.dropped_senders(),
            Side::Receive => self.0.dropped_receivers(),
        };
        dropped.fetch_add(1, Ordering::AcqRel);
    }
}

impl End {
    /// Makes a channel for `capacity` messages: the end that sends and the end that receives.
    pub(super) fn pair(capacity: usize, flavor: u64) -> io::Result<(Self, Self)> {
        let shm = Arc::new(Shm::create(capacity, flavor)?);
        let (ours, theirs) = socket::pair()?;
        let sender = Self::new(Arc::clone(&shm), ours, Side::Send);
        let receiver = Self::new(shm, theirs, Side::Receive);
        Ok((sender, receiver))
    }

    fn new(shm: Arc<Shm>, socket: OwnedFd, side: Side) -> Self {
        Self {
            _drop_count: DropCount(Arc::clone(&shm), side),
            shm,
            peer: Peer::new(socket),
            side,
            waiters: Waiters::default(),
            patience: Patience::default(),
            blobs: Mutex::new(message::blob_pool()),
            recent_blobs: Mutex::default(),
            is_socket_full: AtomicBool::new(false),
            owner_pid: std::process::id(),
        }
    }

    /// The largest number of messages in the ring.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.shm.capacity()
    }

    /// The number of messages in the ring.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.shm.ring().frames()
    }

    /// Whether there is nothing to receive.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.shm.ring().is_empty()
    }

    #[inline]
    pub(super) fn side(&self) -> Side {
        self.side
    }

    #[inline]
    pub(super) fn shm(&self) -> &Arc<Shm> {
        &self.shm
    }

    #[inline]
    pub(super) fn socket(&self) -> &OwnedFd {
        self.peer.socket()
    }

    #[inline]
    pub(super) fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    #[inline]
    pub(super) fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Whether the channel was marked as closed for all processes.
    #[inline]
    pub(super) fn is_marked_closed(&self) -> bool {
        self.shm.closed().load(Ordering::Acquire) != 0
    }

    /// Marks the channel as closed for all processes. Waiting sides are woken by the caller.
    pub(super) fn mark_closed(&self) {
        self.shm.closed().store(1, Ordering::Release);
    }

    /// Closes the channel for all processes.
    pub(super) fn close(&self) {
        // In this order: a process that is killed in between has woken all that wait, and they mark the channel.
        self.shut_down();
        self.mark_closed();
        self.waiters.wake_all();
    }

    /// Whether the kernel says that no process has the other side.
    pub(super) fn is_peer_gone(&self) -> bool {
        self.peer.is_gone()
    }

    /// Whether all receivers were found gone. Costs less than [`End::is_peer_gone`], and may say so a little later.
    #[inline]
    pub(super) fn has_found_receivers_gone(&self) -> bool {
        self.peer.was_found_gone(self.shm.dropped_receivers())
    }

    /// Whether this is a sender that no process receives from. A sender need not look at the ring to know that it has
    /// to stop. A receiver must: the last message may be in it.
    pub(super) fn has_lost_receivers(&self) -> bool {
        self.side == Side::Send && self.peer.is_gone()
    }

    /// Shuts the socket down in both directions, if this process made the end and is not a forked copy.
    pub(super) fn shut_down_if_owner(&self) {
        if self.owner_pid == std::process::id() {
            self.shut_down();
        }
    }

    fn shut_down(&self) {
        socket::shut_down(self.socket());
    }

    /// Wakes the other side for any reason.
    pub(crate) fn ring(&self) -> io::Result<()> {
        doorbell::ring(self.socket())
    }

    /// Encodes a message into shared memory of its own. May take long.
    pub(crate) fn encode_long<T: Serialize>(&self, value: &T) -> Result<Outgoing, Refused> {
        Outgoing::long(value, &self.blobs)
    }

    /// Whether a long message can be encoded without memory that was never used before.
    pub(crate) fn has_memory(&self) -> bool {
        let blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        blobs.has_space()
    }

    /// Begins a frame of `len` bytes, if there is room for it.
    #[inline]
    pub(super) fn begin_frame(&self, len: usize) -> Option<Producer<&Ring>> {
        let known = self.shm.known_tail();
        let position = known.load(Ordering::Relaxed);
        let mut producer = Producer::take_over(self.shm.ring(), position);
        let has_room = !producer.holds(self.shm.capacity()) && producer.begin(len).is_some();
        if producer.position() != position {
            known.store(producer.position(), Ordering::Relaxed);
        }
        has_room.then_some(producer)
    }

    /// The first frame, or why there is none.
    #[inline]
    pub(super) fn peek_frame(&self) -> Result<(Consumer<&Ring>, Frame), Popped> {
        let known = self.shm.known_head();
        let limit = known.load(Ordering::Relaxed);
        let mut consumer = Consumer::take_over(self.shm.ring(), limit);
        let first = consumer.peek().map_err(|_| self.found_overwritten())?;
        let frame = first.ok_or(Attempt::NotNow)?;
        if consumer.limit() != limit {
            known.store(consumer.limit(), Ordering::Relaxed);
        }
        Ok((consumer, frame))
    }

    /// Reads the message in `frame`, into `buf` if it is short. Takes its descriptors out of the socket.
    #[inline]
    pub(super) fn read_frame(
        &self,
        consumer: &Consumer<&Ring>,
        frame: Frame,
        buf: &mut StackBuf,
    ) -> Taken {
        if frame.kind() == 0 && frame.len() <= STACK_BUF_BYTES {
            consumer.copy_to(frame, buf);
            return Taken::Short;
        }
        Taken::Long(Box::new(self.read_long_frame(consumer, frame)))
    }

    fn read_long_frame(&self, consumer: &Consumer<&Ring>, frame: Frame) -> Incoming {
        let tag = tag_of(consumer, frame);
        let skipped = tag.map_or(0, |_| TAG_BYTES);
        let mut body = Vec::with_capacity(frame.len());
        consumer.copy(frame, skipped, frame.len() - skipped, &mut body);
        let fds = tag.map(|tag| self.receive_fds(tag));
        match frame.kind() & IS_LONG {
            0 => Incoming::short(body, fds),
            _ => {
                let mut recent = self
                    .recent_blobs
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                Incoming::long(&body, fds.unwrap_or_default(), &mut recent)
            }
        }
    }

    /// Sends the descriptors of a message ahead of it; returns their tag.
    pub(super) fn send_fds(&self, outgoing: &Outgoing) -> Result<u64, Pushed> {
        let tag = self.shm.last_tag().fetch_add(1, Ordering::AcqRel) + 1;
        let sent = fds::send(self.socket(), tag, &outgoing.descriptors());
        sent.map(|()| tag).map_err(|error| match error {
            error if fds::is_full(&error) => self.found_socket_full(),
            error if socket::is_end(&error) => self.found_peer_gone(),
            error => {
                let why = format!("its descriptors could not be sent: {error}");
                Attempt::Done(Err(Refused(why)))
            }
        })
    }

    fn receive_fds(&self, tag: u64) -> Vec<OwnedFd> {
        self.shm.taken_tag().store(tag, Ordering::Release);
        fds::receive(self.socket(), tag)
    }

    /// Ends a channel whose ring no process can read any more. The process that finds it says so, and only once.
    #[cold]
    fn found_overwritten(&self) -> Popped {
        if self.is_marked_closed() {
            return Attempt::Closed;
        }
        self.shut_down();
        self.mark_closed();
        Attempt::Done(Taken::Overwritten)
    }

    /// Notes that the other side is gone, as a failed send has told.
    pub(super) fn found_peer_gone(&self) -> Pushed {
        self.peer.set_gone();
        Attempt::Closed
    }

    /// Notes that only receiving makes room in the socket.
    pub(super) fn found_socket_full(&self) -> Pushed {
        self.is_socket_full.store(true, Ordering::Relaxed);
        Attempt::NotNow
    }

    /// Whether the socket was full since this was last asked.
    pub(super) fn take_socket_full(&self) -> bool {
        self.is_socket_full.swap(false, Ordering::Relaxed)
    }

    /// Makes all that wait in this process look again.
    pub(crate) fn wake_all(&self) {
        self.waiters.wake_all();
    }

    pub(super) fn describe(&self, mut out: fmt::DebugStruct<'_, '_>) -> fmt::Result {
        out.field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

/// The length of the frame of a message, in bytes.
pub(super) fn frame_len(outgoing: &Outgoing) -> usize {
    let tag = match outgoing.has_descriptors() {
        true => TAG_BYTES,
        false => 0,
    };
    tag + outgoing.body().len()
}

/// The kind of the frame of a message that has descriptors.
pub(super) fn frame_kind(with_fds: &Outgoing) -> u32 {
    match with_fds.is_long() {
        true => HAS_FDS | IS_LONG,
        false => HAS_FDS,
    }
}

/// The tag of the descriptors that were sent ahead of `frame`, if there are any.
pub(super) fn tag_of(consumer: &Consumer<&Ring>, frame: Frame) -> Option<u64> {
    let has_fds = frame.kind() & HAS_FDS != 0 && frame.len() >= TAG_BYTES;
    has_fds.then(|| consumer.word(frame, 0).load(Ordering::Relaxed))
}

/// An end inside a value: the memory and the socket travel beside the bytes.
impl Serialize for End {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let memory = attachments::attach(self.shm.as_fd()).map_err(ser::Error::custom)?;
        let socket = attachments::attach(self.socket().as_fd()).map_err(ser::Error::custom)?;
        (memory, socket, self.side == Side::Send).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for End {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (memory, socket, sends) = <(u32, u32, bool)>::deserialize(deserializer)?;
        let memory = attachments::take(memory).map_err(de::Error::custom)?;
        let socket = attachments::take(socket).map_err(de::Error::custom)?;
        let shm = Shm::open(memory).map_err(de::Error::custom)?;
        let side = if sends { Side::Send } else { Side::Receive };
        Ok(Self::new(Arc::new(shm), socket, side))
    }
}
