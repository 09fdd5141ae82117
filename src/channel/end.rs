//! One side of a channel in this process: what can be done at once, and waiting for what cannot.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::fds::TAG_BYTES;
use super::message::{Cargo, Delivered, Holds, Refused, Seen};
use super::shm::Shm;
use super::waiters::Waiters;
use crate::codec::attachments;
use crate::codec::move_state::MoveState;
use crate::ring::{Consumer, Frame, Producer, Ring};
use crate::sys::buffer::{STACK_BUF_BYTES, StackBuf};
use crate::sys::clock::Moment;
use crate::sys::robust_mutex::{RobustGuard, TryLock};
use crate::sys::socket;

pub(crate) use super::outcome::{Popped, Pushed};

/// Which side of a channel an end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Send,
    Receive,
}

/// One side of a channel in this process. The last one of a process to go takes that side with it.
#[derive(Debug)]
pub(crate) struct End {
    pub(super) duct: Arc<Shm>,
    pub(super) hub: Waiters,
    pub(super) socket: OwnedFd,
    pub(super) side: Side,
    /// Looks that found nothing since the last success; see `wait`.
    pub(super) looks: AtomicU32,
    /// How often in a row a lock was refused; see `wait`.
    pub(super) refusals: AtomicU32,
    holds: Mutex<Holds>,
    seen: Mutex<Seen>,
    /// Where this process counts what it has received and not done, once it has received.
    pub(super) holder: AtomicUsize,
    /// The socket had no room for descriptors: only an emptier ring will make some.
    pub(super) crowded: AtomicBool,
    /// The tick in which the kernel was last asked whether the other side is gone.
    asked: AtomicU64,
    /// How many ends of the other side had gone then.
    gone: AtomicU32,
    /// The kernel said that the other side is gone. It never comes back.
    pub(super) alone: AtomicBool,
    /// Copies of its socket were made for others, or came from others, who may have it still.
    pub(super) spread: AtomicBool,
    /// The process that has it. Copies of that process, made by forking, have it too.
    holder_pid: u32,
    /// Of an end that moves when it is sent.
    pub(super) passage: Arc<MoveState>,
    /// How often it had moved when it came here.
    pub(super) moves: u32,
    // The last to be dropped: whoever hears it asks the kernel, which must know by then.
    _farewell: DropCount,
}

/// Says to the other side that an end of this one has gone.
#[derive(Debug)]
struct DropCount(Arc<Shm>, Side);

impl Drop for DropCount {
    fn drop(&mut self) {
        let gone = match self.1 {
            Side::Send => self.0.gone_senders(),
            Side::Receive => self.0.gone_receivers(),
        };
        gone.fetch_add(1, Ordering::AcqRel);
    }
}

/// Makes a channel for `capacity` messages: the end that sends and the end that receives.
///
/// If it is `shared`, any number of processes can hold either side, and what was received and is not done is
/// counted. Else one process at a time can.
pub(crate) fn create(capacity: usize, shared: bool) -> io::Result<(End, End)> {
    let duct = Arc::new(Shm::create(capacity, shared)?);
    let (ours, theirs) = socket::pair()?;
    let send = End::new(Arc::clone(&duct), ours, Side::Send, 0);
    let receive = End::new(duct, theirs, Side::Receive, 0);
    Ok((send, receive))
}

impl Drop for End {
    /// Nobody else has this side: it ends now, although processes that other threads are making at this moment have
    /// copies of its socket, until they execute their programs.
    fn drop(&mut self) {
        let sole = match self.duct.shared {
            true => !*self.spread.get_mut(),
            false => self.passage.is_here(),
        };
        if sole && self.holder_pid == std::process::id() {
            socket::shut_down(&self.socket);
        }
    }
}

impl End {
    pub(super) fn new(duct: Arc<Shm>, socket: OwnedFd, side: Side, moves: u32) -> Self {
        Self {
            _farewell: DropCount(Arc::clone(&duct), side),
            duct,
            hub: Waiters::default(),
            socket,
            side,
            looks: AtomicU32::new(0),
            refusals: AtomicU32::new(0),
            holds: Mutex::default(),
            seen: Mutex::default(),
            holder: AtomicUsize::new(super::unfinished::NO_HOLDER),
            crowded: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            gone: AtomicU32::new(0),
            alone: AtomicBool::new(false),
            spread: AtomicBool::new(false),
            holder_pid: std::process::id(),
            passage: Arc::default(),
            moves,
        }
    }

    /// How many messages it holds at most.
    pub(crate) fn capacity(&self) -> usize {
        self.duct.capacity
    }

    /// How many messages are in it.
    pub(crate) fn len(&self) -> usize {
        self.duct.ring.frames()
    }

    /// Whether it was closed, or the other side is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.was_closed() || self.other_side_is_gone()
    }

    #[inline]
    pub(super) fn was_closed(&self) -> bool {
        self.duct.closed().load(Ordering::Acquire) != 0 || self.passage.is_gone()
    }

    /// Is being sent elsewhere: if it is, nothing more goes through it here.
    pub(crate) fn depart(&self) -> Result<(), String> {
        self.passage.tell(|| self.hub.waker());
        attachments::depart(&self.passage)
    }

    /// The kernel's word that nobody holds the other side.
    pub(super) fn other_side_is_gone(&self) -> bool {
        self.alone.load(Ordering::Relaxed) || socket::is_hung_up(&self.socket)
    }

    /// Closes it for everybody, everywhere. An end that was sent elsewhere closes nothing.
    pub(crate) fn close(&self) {
        if self.passage.is_gone() {
            return;
        }
        // In this order: whoever is killed in between has woken all who wait, and they do the rest.
        socket::shut_down(&self.socket);
        self.duct.closed().store(1, Ordering::Release);
        self.hub.wake_all();
    }

    /// Encodes a message that needs memory of its own.
    pub(crate) fn pack_long<T: Serialize>(&self, value: &T) -> Result<Cargo, Refused> {
        Cargo::long(value, &self.holds)
    }

    /// Whether a long message can be encoded without asking for memory that was never used before.
    pub(crate) fn has_memory(&self) -> bool {
        let holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        holds.ready()
    }

    /// Sends, if it can be done now.
    pub(crate) fn try_push(&self, cargo: &mut Cargo) -> Pushed {
        if cargo.moves(&self.passage) {
            let why = "an end of a pipe cannot be sent through itself";
            return Pushed::Failed(Refused(why.to_owned()));
        }
        cargo.shut();
        let pushed = self.try_push_bytes(&cargo.body, Some(cargo));
        match pushed {
            Pushed::Done => cargo.sent(),
            _ => cargo.open(),
        }
        pushed
    }

    /// Sends what `bytes` encode, with what `beside` it has, if it can be done now.
    #[inline]
    pub(super) fn try_push_bytes(&self, bytes: &[u8], beside: Option<&Cargo>) -> Pushed {
        if !self.duct.shared {
            return self.push_solo(bytes, beside);
        }
        if self.was_closed() {
            return Pushed::Closed;
        }
        // Who has looked in vain looks first, and does not keep the lock from others.
        if self.looks.load(Ordering::Relaxed) > 0 && self.len() >= self.duct.capacity {
            return Pushed::Full;
        }
        let Some(_guard) = self.lock_senders() else {
            return Pushed::Busy;
        };
        // Once more under the lock: a receiver that saw it closed under both locks expects nothing more.
        if self.was_closed() || self.is_found_alone() {
            return Pushed::Closed;
        }
        let has_fds = beside.filter(|cargo| cargo.has_descriptors());
        let tag_len = has_fds.map_or(0, |_| TAG_BYTES);
        let Some(mut producer) = self.begin(tag_len + bytes.len()) else {
            return Pushed::Full;
        };
        let mut writer = producer.resume();
        if let Some(cargo) = has_fds {
            let tag = self.duct.tags().fetch_add(1, Ordering::AcqRel) + 1;
            if let Err(instead) = self.send_ahead(tag, cargo) {
                return instead;
            }
            writer.extend(&tag.to_ne_bytes());
        }
        writer.extend(bytes);
        let bell = self.duct.data_bell();
        if has_fds.is_some() {
            // They have rung. But whoever takes them takes what was rung before, too: the next rings again.
            bell.store(0, Ordering::Relaxed);
        } else if bell.load(Ordering::Relaxed) == 0 {
            if let Err(instead) = self.ring_for_data() {
                return instead;
            }
            bell.store(1, Ordering::Relaxed);
        }
        writer.commit(has_fds.map_or(0, kind_of));
        self.found();
        Pushed::Done
    }

    /// Begins a message of so many bytes, if there is room for it.
    #[inline]
    pub(super) fn begin(&self, len: usize) -> Option<Producer<&Ring>> {
        let known = self.duct.known_tail();
        let position = known.load(Ordering::Relaxed);
        let mut producer = Producer::take_over(&self.duct.ring, position);
        let has_room = !producer.holds(self.duct.capacity) && producer.begin(len).is_some();
        if producer.position() != position {
            known.store(producer.position(), Ordering::Relaxed);
        }
        has_room.then_some(producer)
    }

    /// Asks the kernel, which costs more than sending, whether nobody receives any more: when an end has
    /// gone, and once in a tick, because the killed do not say so.
    #[inline]
    pub(super) fn is_found_alone(&self) -> bool {
        let gone = self.duct.gone_receivers().load(Ordering::Acquire);
        let now = Moment::last_tick().to_bits();
        let said_so = self.gone.load(Ordering::Relaxed) != gone;
        let ticked = self.asked.load(Ordering::Relaxed) != now;
        if said_so || ticked {
            self.gone.store(gone, Ordering::Relaxed);
            self.asked.store(now, Ordering::Relaxed);
            if self.other_side_is_gone() {
                self.alone.store(true, Ordering::Relaxed);
            }
        }
        self.alone.load(Ordering::Relaxed)
    }

    /// Receives, if there is something now, into `room` what fits there.
    pub(crate) fn try_pop(&self, room: &mut StackBuf) -> Popped {
        if self.passage.is_gone() {
            return Popped::Closed;
        }
        if self.looks.load(Ordering::Relaxed) > 0 && self.len() == 0 {
            return Popped::Empty;
        }
        if !self.duct.shared {
            return self.pop_solo(room);
        }
        let Some(_guard) = self.lock_receivers() else {
            return Popped::Busy;
        };
        let (mut consumer, frame) = match self.peek() {
            Ok(first) => first,
            Err(instead) => return instead,
        };
        let at = self.duct.taken_at();
        at.store(consumer.position(), Ordering::Release);
        self.hold_one();
        let popped = self.take(&consumer, frame, room);
        if self.duct.space_bell().load(Ordering::Relaxed) == 0 {
            self.ring_for_space();
        }
        consumer.release(frame);
        self.holds_it();
        self.found();
        popped
    }

    /// The first message, or what there is instead.
    #[inline]
    pub(super) fn peek(&self) -> Result<(Consumer<&Ring>, Frame), Popped> {
        let known = self.duct.known_head();
        let limit = known.load(Ordering::Relaxed);
        let mut consumer = Consumer::take_over(&self.duct.ring, limit);
        // Nobody can make sense of it any more if it is corrupt.
        let first = consumer.peek().map_err(|_| Popped::Closed)?;
        let frame = first.ok_or(Popped::Empty)?;
        if consumer.limit() != limit {
            known.store(consumer.limit(), Ordering::Relaxed);
        }
        Ok((consumer, frame))
    }

    /// What was looked for was there.
    #[inline]
    pub(super) fn found(&self) {
        self.looks.store(0, Ordering::Relaxed);
        self.refusals.store(0, Ordering::Relaxed);
    }

    /// Takes the senders' lock if it is free.
    #[inline]
    pub(super) fn lock_senders(&self) -> Option<RobustGuard<'_>> {
        match self.duct.send_lock.try_lock() {
            TryLock::Locked(guard) => Some(guard),
            TryLock::OwnerDied(guard) => {
                // Whatever its holder had begun: the next message rings.
                self.duct.data_bell().store(0, Ordering::Relaxed);
                Some(guard)
            }
            TryLock::Busy => None,
        }
    }

    /// Takes the receivers' lock if it is free. If its last holder died with it, somebody clears up after it.
    #[inline]
    pub(super) fn lock_receivers(&self) -> Option<RobustGuard<'_>> {
        let orphaned = self.duct.orphaned();
        let guard = match self.duct.receive_lock.try_lock() {
            TryLock::Locked(guard) => guard,
            TryLock::OwnerDied(guard) => {
                orphaned.store(1, Ordering::Release);
                guard
            }
            TryLock::Busy => return None,
        };
        if orphaned.load(Ordering::Acquire) != 0 && self.bury() {
            orphaned.store(0, Ordering::Release);
        }
        Some(guard)
    }

    /// Settles what a receiver that died with the lock had begun: whether it took its message, which is
    /// so, too, if it took only the descriptors. False if it is not settled.
    fn bury(&self) -> bool {
        let mut consumer = Consumer::new(&self.duct.ring);
        let taken = consumer.position() != self.duct.taken_at().load(Ordering::Acquire);
        match self.side {
            Side::Receive => {
                let robbed = self.robbed(&mut consumer);
                self.settle(taken || robbed.is_some());
                self.ring_for_space();
                if let Some(frame) = robbed {
                    consumer.release(frame);
                }
                true
            }
            Side::Send if self.other_side_is_gone() => {
                self.settle(taken);
                true
            }
            // Only receivers can see whether descriptors were taken. What they are rung with must tell them.
            Side::Send => {
                let _ = self.ring_for_data();
                false
            }
        }
    }

    /// The first message, if its descriptors were taken by a receiver that died before it had the message.
    fn robbed(&self, consumer: &mut Consumer<&Ring>) -> Option<Frame> {
        let frame = consumer.peek().ok()??;
        let has_bag = frame.kind() & BAGGAGE != 0 && frame.len() >= TAG_BYTES;
        let tag = || consumer.word(frame, 0).load(Ordering::Relaxed);
        let robbed = has_bag
            && self.duct.taken_tag().load(Ordering::Acquire) == tag()
            && self.is_past(tag());
        robbed.then_some(frame)
    }

    /// What is in `frame`.
    #[inline]
    pub(super) fn take(
        &self,
        consumer: &Consumer<&Ring>,
        frame: Frame,
        room: &mut StackBuf,
    ) -> Popped {
        if frame.kind() == 0 && frame.len() <= STACK_BUF_BYTES {
            consumer.copy_to(frame, room);
            return Popped::Short;
        }
        Popped::Message(Box::new(self.take_unusual(consumer, frame)))
    }

    fn take_unusual(&self, consumer: &Consumer<&Ring>, frame: Frame) -> Delivered {
        let has_bag = frame.kind() & BAGGAGE != 0 && frame.len() >= TAG_BYTES;
        let skipped = if has_bag { TAG_BYTES } else { 0 };
        let mut body = Vec::with_capacity(frame.len());
        consumer.copy(frame, skipped, frame.len() - skipped, &mut body);
        let bag = has_bag.then(|| {
            let tag = consumer.word(frame, 0).load(Ordering::Relaxed);
            self.descriptors(tag)
        });
        match frame.kind() & LONG {
            0 => Delivered::short(body, bag),
            _ => {
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                Delivered::long(&body, bag.unwrap_or_default(), &mut seen)
            }
        }
    }

    /// Makes all who wait in this process look.
    pub(crate) fn wake_all(&self) {
        self.hub.wake_all();
    }

    pub(super) fn describe(&self, mut out: fmt::DebugStruct<'_, '_>) -> fmt::Result {
        out.field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

/// Kinds of frames: bits.
const BAGGAGE: u32 = 1;
const LONG: u32 = 2;

/// How many bytes of a frame's body a message takes.
pub(super) fn bytes_of(cargo: &Cargo) -> usize {
    let tag = if cargo.has_descriptors() {
        TAG_BYTES
    } else {
        0
    };
    tag + cargo.body.len()
}

pub(super) fn kind_of(has_fds: &Cargo) -> u32 {
    match has_fds.hold.is_some() {
        true => BAGGAGE | LONG,
        false => BAGGAGE,
    }
}
