//! One side of a channel in this process: what queues and pipes have in common.
//!
//! An end has the channel's memory, the socket to the other side and the tasks and threads of this process that wait.
//! Both flavors write frames, read frames and send descriptors with it. What must stay true: one producer and one
//! consumer use the ring at a time, which the flavor ensures with its locks. Never here: those locks, and the order in
//! which a flavor rings and commits.

use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::attempt::{Attempt, Popped, Pushed, Taken};
use super::bounds::{Bounds, Wanted};
use super::bytes_sent;
use super::doorbell;
use super::fds;
use super::fds::TAG_BYTES;
use super::frame;
use super::message;
use super::message::{Incoming, Outgoing, Refused};
use super::patience::Patience;
use super::peer::Peer;
use super::shm::Shm;
use super::trust;
use super::trust::Trust;
use super::waiters::Waiters;
use crate::codec::attachments;
use crate::ring::{Consumer, Frame, Producer, Ring};
use crate::sys::buffer::{STACK_BUF_BYTES, StackBuf};
use crate::sys::socket;
use crate::transfer::blob::BlobPool;
use crate::transfer::mapped_blob::RecentBlobs;
use crate::transfer::nonsense::Nonsense;

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
    trust: Trust,
    blobs: Mutex<BlobPool>,
    recent_blobs: Mutex<RecentBlobs>,
    /// The socket had no room for descriptors. Receiving makes room in it.
    is_socket_full: AtomicBool,
    /// A message found no room beside the ring.
    is_spill_refused: AtomicBool,
    /// The receivers' position when a sender had waited in vain for memory.
    received_at: AtomicU64,
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
    /// Makes a channel: the end that sends and the end that receives.
    pub(super) fn pair(bounds: Bounds, flavor: u64, spills: bool) -> io::Result<(Self, Self)> {
        let shm = Arc::new(Shm::create(bounds, flavor, spills)?);
        let (ours, theirs) = socket::pair()?;
        socket::enlarge(&ours);
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
            trust: Trust::default(),
            blobs: Mutex::new(message::blob_pool()),
            recent_blobs: Mutex::default(),
            is_socket_full: AtomicBool::new(false),
            is_spill_refused: AtomicBool::new(false),
            received_at: AtomicU64::new(0),
            owner_pid: std::process::id(),
        }
    }

    /// Another end of the same side, which takes messages of any length for right.
    #[cfg(test)]
    pub(super) fn without_limit(&self) -> Self {
        let memory = self.shm.as_fd().try_clone_to_owned().unwrap();
        let shm = Shm::open(memory, u64::MAX).unwrap();
        let socket = self.socket().try_clone().unwrap();
        Self::new(Arc::new(shm), socket, self.side)
    }

    /// The largest number of messages in the ring.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.shm.bounds().items
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
        trust::has_ended(self.shm.closed())
    }

    /// Marks the channel as closed for all processes. Waiting sides are woken by the caller.
    pub(super) fn mark_closed(&self) {
        trust::mark_closed(self.shm.closed());
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

    /// Why a message of `len` bytes is not sent, or not received, if it is too long.
    #[inline]
    pub(super) fn check_length(&self, len: usize) -> Result<(), String> {
        self.shm.bounds().check_length(len as u64)
    }

    /// Encodes a message into shared memory of its own. May take long.
    pub(crate) fn encode_long<T: Serialize>(&self, value: &T) -> Result<Outgoing, Refused> {
        Outgoing::long(value, &self.blobs, self.shm.bounds().longest)
    }

    /// Whether a long message can be encoded without memory that was never used before.
    pub(crate) fn has_memory(&self) -> bool {
        let blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        blobs.has_space()
    }

    /// Whether nothing was received for a while.
    pub(super) fn has_stalled(&self) -> bool {
        self.patience.has_stalled(self.shm.ring().released())
    }

    /// Whether nothing was received since [`End::note_received`], or at all.
    pub(super) fn has_received_nothing(&self) -> bool {
        self.received_at.load(Ordering::Relaxed) == self.shm.ring().released()
    }

    /// Notes how much was received until now.
    pub(super) fn note_received(&self) {
        let position = self.shm.ring().released();
        self.received_at.store(position, Ordering::Relaxed);
    }

    /// Begins a frame of `len` bytes for a message of `bytes` bytes, if there is room for it.
    #[inline]
    pub(super) fn begin_frame(&self, len: usize, bytes: u64) -> Option<Producer<&Ring>> {
        let known = self.shm.known_tail();
        let position = known.load(Ordering::Relaxed);
        let bounds = self.shm.bounds();
        let len = bounds.sum_len() + len;
        let mut producer = Producer::take_over(self.shm.ring(), position);
        let has_room = !producer.holds(bounds.items)
            && bytes_sent::leave_room(&self.shm, &mut producer, bytes)
            && producer.begin_leaving(self.shm.reserve(len), len).is_some();
        if producer.position() != position {
            known.store(producer.position(), Ordering::Relaxed);
        }
        if has_room {
            bytes_sent::begin_frame(&self.shm, &mut producer);
        }
        has_room.then_some(producer)
    }

    /// The kind of a frame without descriptors.
    #[inline]
    pub(super) fn frame_kind(&self) -> u32 {
        match self.shm.bounds().has_bytes() {
            true => frame::HAS_SUM,
            false => 0,
        }
    }

    /// The kind of the frame of a message that has descriptors.
    pub(super) fn frame_kind_of(&self, with_fds: &Outgoing) -> u32 {
        let long = match with_fds.is_long() {
            true => frame::IS_LONG,
            false => 0,
        };
        let bundled = match fds::are_bundled(with_fds.descriptor_count()) {
            true => frame::HAS_BUNDLE,
            false => 0,
        };
        self.frame_kind() | frame::HAS_FDS | long | bundled
    }

    /// What the sender of `outgoing` waits for.
    pub(super) fn wanted(&self, outgoing: &Outgoing) -> Wanted {
        let tag = TAG_BYTES * usize::from(outgoing.has_descriptors());
        Wanted {
            frame: self.shm.bounds().sum_len() + tag + outgoing.body().len(),
            bytes: outgoing.content().len() as u64,
        }
    }

    /// The first frame, or why there is none.
    #[inline]
    pub(super) fn peek_frame(&self) -> Result<(Consumer<&Ring>, Frame), Popped> {
        let known = self.shm.known_head();
        let limit = known.load(Ordering::Relaxed);
        let mut consumer = Consumer::take_over(self.shm.ring(), limit);
        let first = consumer.peek();
        let first = first.map_err(|corrupt| self.found_nonsense(corrupt.into()))?;
        let frame = first.ok_or(Attempt::NotNow)?;
        if !frame::is_plain(frame, self.shm.bounds()) {
            let checked = frame::check(frame, self.shm.bounds(), self.shm.spills());
            checked.map_err(|nonsense| self.found_nonsense(nonsense))?;
        }
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
        let tag = frame::tag_of(consumer, frame);
        let skipped = frame::before_body(frame);
        let mut body = Vec::with_capacity(frame.len());
        consumer.copy(frame, skipped, frame.len() - skipped, &mut body);
        let fds = tag.map(|tag| self.receive_fds(tag, frame::has_bundle(frame)));
        match frame.kind() & frame::IS_LONG {
            0 => match self.check_length(body.len()) {
                Ok(()) => Incoming::short(body, fds),
                Err(why) => Incoming::faulty(why),
            },
            _ => {
                let mut recent = self
                    .recent_blobs
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                let longest = self.shm.bounds().longest;
                Incoming::long(&body, fds.unwrap_or_default(), &mut recent, longest)
            }
        }
    }

    /// Sends the descriptors of a message ahead of it; returns their tag.
    pub(super) fn send_fds(&self, outgoing: &Outgoing) -> Result<u64, Pushed> {
        // Any process may have overwritten the word.
        let last = self.shm.last_tag().fetch_add(1, Ordering::AcqRel);
        let tag = last.wrapping_add(1);
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

    fn receive_fds(&self, tag: u64, is_bundle: bool) -> Vec<OwnedFd> {
        self.shm.taken_tag().store(tag, Ordering::Release);
        fds::receive(self.socket(), tag, is_bundle)
    }

    /// Ends a channel in whose memory is what cannot be, for all processes.
    #[cold]
    pub(super) fn found_nonsense<T>(&self, nonsense: Nonsense) -> Attempt<T> {
        self.trust.lose(nonsense, self.shm.closed());
        self.shut_down();
        Attempt::Closed
    }

    /// Ends a channel whose receivers cannot be where they say.
    #[cold]
    pub(super) fn found_impossible_position(&self) {
        let nonsense = Nonsense("its receivers have released what was not sent");
        let _: Pushed = self.found_nonsense(nonsense);
    }

    /// Why the channel has ended, if that is because it was overwritten.
    pub(super) fn nonsense(&self) -> Option<Nonsense> {
        self.trust.nonsense(self.shm.closed())
    }

    /// The same, once: a receiver tells its users, and then that the channel is closed.
    pub(super) fn tell_nonsense(&self) -> Option<Nonsense> {
        self.trust.tell_once(self.shm.closed())
    }

    /// Whether the channel has ended because it was overwritten.
    pub(crate) fn is_overwritten(&self) -> bool {
        self.nonsense().is_some()
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

    /// Notes that a message found no room beside the ring.
    pub(super) fn refuse_spill(&self) -> Pushed {
        self.is_spill_refused.store(true, Ordering::Relaxed);
        Attempt::NotNow
    }

    /// Whether a message found no room beside the ring since this was last asked.
    pub(super) fn take_spill_refused(&self) -> bool {
        self.is_spill_refused.swap(false, Ordering::Relaxed)
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

/// An end inside a value: the memory and the socket travel beside the bytes.
impl Serialize for End {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let memory = attachments::attach(self.shm.as_fd()).map_err(ser::Error::custom)?;
        let socket = attachments::attach(self.socket().as_fd()).map_err(ser::Error::custom)?;
        let longest = self.shm.bounds().longest;
        (memory, socket, self.side == Side::Send, longest).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for End {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (memory, socket, sends, longest) = <(u32, u32, bool, u64)>::deserialize(deserializer)?;
        let memory = attachments::take(memory).map_err(de::Error::custom)?;
        let socket = attachments::take(socket).map_err(de::Error::custom)?;
        if !socket::is_seqpacket(&socket) {
            let why = "an end of a queue or pipe arrived with a socket that is none of its kind";
            return Err(de::Error::custom(why));
        }
        let shm = Shm::open(memory, longest).map_err(de::Error::custom)?;
        let side = if sends { Side::Send } else { Side::Receive };
        Ok(Self::new(Arc::new(shm), socket, side))
    }
}
