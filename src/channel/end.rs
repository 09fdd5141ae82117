//! One side of a channel in this process: what can be done at once, and waiting for what cannot.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::cargo::{Cargo, Delivered, Holds, Refused, Seen};
use super::duct::Duct;
use super::hub::Hub;
use crate::ring::{Consumer, Producer};
use crate::sys::clock::Moment;
use crate::sys::robust::TryLock;
use crate::sys::socket::{self, Received};
use crate::wire::baggage;

/// Which side of a channel an end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Send,
    Receive,
}

/// One side of a channel in this process. The last one of a process to go takes that side with it.
#[derive(Debug)]
pub(crate) struct End {
    pub(super) duct: Arc<Duct>,
    pub(super) socket: OwnedFd,
    side: Side,
    pub(super) hub: Hub,
    /// Looks that found nothing since the last success; see `wait`.
    pub(super) looks: AtomicU32,
    holds: Mutex<Holds>,
    seen: Mutex<Seen>,
    /// Where this process counts what it has received and not done, once it has received.
    pub(super) holder: AtomicUsize,
    /// The socket had no room for descriptors: only an emptier ring will make some.
    crowded: AtomicBool,
    /// The tick in which the kernel was last asked whether the other side is gone.
    asked: AtomicU64,
}

/// What became of a message that was to be sent.
#[derive(Debug)]
pub(crate) enum Pushed {
    Done,
    Full,
    /// Somebody else is at it. Look again.
    Busy,
    /// Nobody will receive it.
    Closed,
    Failed(Refused),
}

/// What was found by receiving.
#[derive(Debug)]
pub(crate) enum Popped {
    Message(Delivered),
    Empty,
    /// Somebody else is at it. Look again.
    Busy,
    /// There is nothing, and there never will be.
    Closed,
}

/// Descriptors ahead of a message are sent with this many bytes; a ring of the bell is one.
const TAG_BYTES: usize = 8;

/// Makes a channel for `capacity` messages: the end that sends and the end that receives.
///
/// If it is `joinable`, what was received and is not done is counted.
pub(crate) fn create(capacity: usize, joinable: bool) -> io::Result<(End, End)> {
    let duct = Arc::new(Duct::create(capacity, joinable)?);
    let (ours, theirs) = socket::pair()?;
    let send = End::new(Arc::clone(&duct), ours, Side::Send);
    let receive = End::new(duct, theirs, Side::Receive);
    send.count().fetch_add(1, Ordering::AcqRel);
    receive.count().fetch_add(1, Ordering::AcqRel);
    Ok((send, receive))
}

impl End {
    /// An end that was counted before.
    fn new(duct: Arc<Duct>, socket: OwnedFd, side: Side) -> Self {
        Self {
            duct,
            socket,
            side,
            hub: Hub::default(),
            looks: AtomicU32::new(0),
            holds: Mutex::default(),
            seen: Mutex::default(),
            holder: AtomicUsize::new(super::held::NO_HOLDER),
            crowded: AtomicBool::new(false),
            asked: AtomicU64::new(0),
        }
    }

    /// How many messages it holds at most.
    pub(crate) fn capacity(&self) -> usize {
        self.duct.capacity
    }

    /// How many messages are in it.
    pub(crate) fn len(&self) -> usize {
        Consumer::new(self.duct.ring.clone()).frames()
    }

    /// Whether it was closed, or the other side is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.duct.closed().load(Ordering::Acquire) != 0 || self.other_side_is_gone()
    }

    /// Closes it for everybody, everywhere.
    pub(crate) fn close(&self) {
        self.duct.closed().store(1, Ordering::Release);
        socket::shut_down(&self.socket);
        self.hub.wake_all();
    }

    fn other_side_is_gone(&self) -> bool {
        let others = match self.side {
            Side::Send => self.duct.receivers(),
            Side::Receive => self.duct.senders(),
        };
        others.load(Ordering::Acquire) == 0 || socket::is_hung_up(&self.socket)
    }

    fn count(&self) -> &AtomicU32 {
        match self.side {
            Side::Send => self.duct.senders(),
            Side::Receive => self.duct.receivers(),
        }
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
        if self.duct.closed().load(Ordering::Acquire) != 0
            || self.duct.receivers().load(Ordering::Acquire) == 0
        {
            return Pushed::Closed;
        }
        let (_guard, inherited) = match self.duct.send_lock.try_lock() {
            TryLock::Locked(guard) => (guard, false),
            TryLock::Inherited(guard) => (guard, true),
            TryLock::Busy => return Pushed::Busy,
        };
        let mut producer = Producer::new(self.duct.ring.clone());
        let used = producer.frames();
        if used >= self.duct.capacity {
            return Pushed::Full;
        }
        if used > 0 && self.may_be_alone() {
            return Pushed::Closed;
        }
        let fds = cargo.descriptors();
        let has_fds = !fds.is_empty();
        let Some(mut writer) = producer.begin(bytes_of(cargo)) else {
            return Pushed::Full;
        };
        if has_fds {
            let tag = self.duct.tags().fetch_add(1, Ordering::AcqRel) + 1;
            match socket::send(&self.socket, &tag.to_ne_bytes(), &fds) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.crowded.store(true, Ordering::Relaxed);
                    return Pushed::Full;
                }
                Err(error) if is_gone(&error) => return Pushed::Closed,
                Err(error) => {
                    let why = format!("its descriptors could not be sent: {error}");
                    return Pushed::Failed(Refused(why));
                }
            }
            writer.extend(&tag.to_ne_bytes());
        }
        writer.extend(&cargo.body);
        let bell = self.duct.data_bell();
        if inherited || bell.load(Ordering::Relaxed) == 0 {
            if let Err(error) = self.ring()
                && is_gone(&error)
            {
                return Pushed::Closed;
            }
            bell.store(1, Ordering::Relaxed);
        }
        writer.commit(kind_of(cargo, has_fds));
        cargo.sent();
        self.looks.store(0, Ordering::Relaxed);
        Pushed::Done
    }

    /// Asks the kernel, which costs more than sending, whether nobody receives any more: once in a tick.
    fn may_be_alone(&self) -> bool {
        let now = Moment::last_tick().to_bits();
        self.asked.swap(now, Ordering::Relaxed) != now && socket::is_hung_up(&self.socket)
    }

    /// Receives, if there is something now.
    pub(crate) fn try_pop(&self) -> Popped {
        let (_guard, inherited) = match self.duct.receive_lock.try_lock() {
            TryLock::Locked(guard) => (guard, false),
            TryLock::Inherited(guard) => (guard, true),
            TryLock::Busy => return Popped::Busy,
        };
        let mut consumer = Consumer::new(self.duct.ring.clone());
        let frame = match consumer.peek() {
            Ok(Some(frame)) => frame,
            Ok(None) => return Popped::Empty,
            // Nobody can make sense of it any more.
            Err(_) => return Popped::Closed,
        };
        let mut body = Vec::with_capacity(frame.len());
        let has_bag = frame.kind() & BAGGAGE != 0 && frame.len() >= TAG_BYTES;
        let skipped = if has_bag { TAG_BYTES } else { 0 };
        consumer.copy(frame, skipped, frame.len() - skipped, &mut body);
        let bag = match has_bag {
            true => {
                let mut tag = Vec::new();
                consumer.copy(frame, 0, TAG_BYTES, &mut tag);
                self.descriptors(&tag)
            }
            false => Vec::new(),
        };
        let delivered = match frame.kind() & LONG {
            0 => Delivered::short(body, bag),
            _ => {
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                Delivered::long(&body, bag, &mut seen)
            }
        };
        if self.duct.joinable {
            self.hold_one();
        }
        let bell = self.duct.space_bell();
        if inherited || bell.load(Ordering::Relaxed) == 0 {
            // It fails only if there is nobody to hear it.
            let _ = self.ring();
            bell.store(1, Ordering::Relaxed);
        }
        consumer.release(frame);
        self.looks.store(0, Ordering::Relaxed);
        Popped::Message(delivered)
    }

    /// Takes the descriptors sent under `tag` out of the socket, and rings of the bell on the way to
    /// them. Those of messages that were never committed are closed.
    fn descriptors(&self, tag: &[u8]) -> Vec<OwnedFd> {
        loop {
            let mut buffer = [0; 2 * TAG_BYTES];
            let mut fds = Vec::new();
            match socket::receive(&self.socket, &mut buffer, &mut fds, false) {
                Ok(Received::Message(TAG_BYTES)) if buffer[..TAG_BYTES] == *tag => return fds,
                Ok(Received::Message(_)) => {}
                Ok(Received::End) | Err(_) => return Vec::new(),
            }
        }
    }

    /// Tells a sender that waits for memory of long messages that some came back.
    pub(crate) fn ring_for_memory(&self) {
        let _ = self.ring();
    }

    pub(super) fn ring(&self) -> io::Result<()> {
        match socket::send(&self.socket, b"!", &[]) {
            // So many have rung and were not heard that one more says nothing.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other,
        }
    }

    /// Looks, holding both locks, whether this side must wait (a sender for `wanted` bytes), and if so
    /// clears its bell: whoever changes that will ring. `None` if somebody else is at it.
    pub(super) fn must_wait(&self, wanted: usize) -> Option<bool> {
        let (_send, orphaned) = match self.duct.send_lock.try_lock() {
            TryLock::Locked(guard) => (guard, false),
            TryLock::Inherited(guard) => (guard, true),
            TryLock::Busy => return None,
        };
        let _receive = match self.duct.receive_lock.try_lock() {
            TryLock::Locked(guard) | TryLock::Inherited(guard) => guard,
            TryLock::Busy => return None,
        };
        let mut producer = Producer::new(self.duct.ring.clone());
        let used = producer.frames();
        let (wait, bell) = match self.side {
            Side::Receive => (used == 0, self.duct.data_bell()),
            Side::Send => {
                let crowded = self.crowded.swap(false, Ordering::Relaxed) && used > 0;
                let full = used >= self.duct.capacity || producer.room() < wanted;
                (crowded || full, self.duct.space_bell())
            }
        };
        if wait {
            self.drain();
            bell.store(0, Ordering::Relaxed);
        }
        if orphaned {
            // What its holder wanted to ring for may be committed.
            self.duct.data_bell().store(0, Ordering::Relaxed);
        }
        Some(wait)
    }

    fn drain(&self) {
        let mut buffer = [0; 2 * TAG_BYTES];
        let mut strays = Vec::new();
        while let Ok(Received::Message(_)) =
            socket::receive(&self.socket, &mut buffer, &mut strays, false)
        {
            strays.clear();
        }
    }

    /// Makes all who wait in this process look.
    pub(crate) fn wake_all(&self) {
        self.hub.wake_all();
    }
}

/// Kinds of frames: bits.
const BAGGAGE: u32 = 1;
const LONG: u32 = 2;

/// How many bytes of a frame's body a message takes.
pub(super) fn bytes_of(cargo: &Cargo) -> usize {
    let tag = if cargo.descriptors().is_empty() {
        0
    } else {
        TAG_BYTES
    };
    tag + cargo.body.len()
}

fn kind_of(cargo: &Cargo, has_fds: bool) -> u32 {
    let baggage = if has_fds { BAGGAGE } else { 0 };
    let long = if cargo.hold.is_some() { LONG } else { 0 };
    baggage | long
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected
    )
}

impl Drop for End {
    fn drop(&mut self) {
        self.count().fetch_sub(1, Ordering::AcqRel);
    }
}

impl Serialize for End {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let memory = baggage::stow(self.duct.memory.as_fd()).map_err(ser::Error::custom)?;
        let socket = baggage::stow(self.socket.as_fd()).map_err(ser::Error::custom)?;
        // Counted while it is on its way, or the other side might think that nobody is left.
        self.count().fetch_add(1, Ordering::AcqRel);
        (memory, socket, self.side == Side::Send).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for End {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (memory, socket, sends) = <(u32, u32, bool)>::deserialize(deserializer)?;
        let memory = baggage::claim(memory).map_err(de::Error::custom)?;
        let socket = baggage::claim(socket).map_err(de::Error::custom)?;
        let duct = Duct::open(memory).map_err(de::Error::custom)?;
        let side = if sends { Side::Send } else { Side::Receive };
        Ok(Self::new(Arc::new(duct), socket, side))
    }
}
