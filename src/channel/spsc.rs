//! The protocol of a pipe: each side is in one process at a time, so there is no lock between processes.
//!
//! A task or thread that sends or receives takes a use guard of its process's end ([`MoveState`]). So the two processes
//! together have one producer and one consumer. Neither ever waits for a step of the other:
//! 1. A message is committed by compare-exchange. A receiver that reports the end has ended the ring before, by
//!    compare-exchange too, when the ring was empty. One of the two fails.
//! 2. A side that is about to sleep takes the rings out of the socket, sets its doorbell's state to sleeping, and looks
//!    again (Dekker, as in `ring`). The other side looks at the state after it has committed or released, and rings if
//!    the side sleeps. It sets the state to rung before it rings: afterwards, it could overwrite a later sleep.
//! 3. For a process that is killed before it rings, the kernel rings: no other process has its side, so the socket
//!    hangs up.
//! 4. A ring is for all tasks and threads that wait in a process. A waiter that has taken rings out of the socket, and
//!    then finds something to do, wakes the others. Of the blocked threads one polls the socket, and wakes the others
//!    when it stops.
//! 5. Descriptors ahead of a message are a ring for it, which stays in the socket until the message is taken. A waiter
//!    that finds descriptors there, and no message, retries later. The next message rings again, because a receiver
//!    that takes descriptors takes the rings before them.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::attempt::{Attempt, Popped, Pushed};
use super::bounds::Wanted;
use super::doorbell::{self, Inbox};
use super::end::{End, Side};
use super::fds::{DATA_RING_BYTES, TAG_BYTES};
use super::flavor::{self, Arming, Flavor};
use super::message::Outgoing;
use super::patience::THREAD_PAUSE;
use super::shm::Shm;
use super::waiters::Waiter;
use crate::codec::attachments;
use crate::codec::error::record_fault;
use crate::codec::move_state::MoveState;
use crate::ring::{Consumer, Producer};
use crate::sys::buffer::StackBuf;
use crate::sys::socket;

/// The doorbell's state of a side that sleeps, or is about to.
const SLEEPS: u32 = 0;

/// The state of a side that was rung for.
const RUNG: u32 = 1;

/// The state of a receiver to which descriptors were sent. The message after them rings.
const HAS_SENT_FDS: u32 = 2;

/// How often a ring is tried for which the kernel has no memory. The thread may be a runtime's, so it does not sleep.
const RING_ATTEMPTS: u32 = 100;

/// How long a blocked thread polls the socket if other threads cannot wake it, for want of a descriptor.
const UNWAKEABLE_POLL: Duration = Duration::from_millis(10);

/// How often the pause of a blocked thread doubles.
const PAUSE_DOUBLINGS: u32 = 5;

/// One side of a pipe's channel.
#[derive(Debug)]
pub(crate) struct Spsc {
    end: End,
    /// Whether the end is here or was sent to another process.
    move_state: Arc<MoveState>,
    /// How often this side had arrived in another process, when it arrived here.
    moves: u32,
}

impl Drop for Spsc {
    /// No other process has this side, so it ends now. Without this it would end when the last copy of the socket is
    /// closed, and a process that another thread is forking has copies until it executes its program.
    fn drop(&mut self) {
        if self.move_state.is_here() {
            self.end.shut_down_if_owner();
        }
    }
}

impl Flavor for Spsc {
    const ID: u64 = 2;

    /// A pipe has no capacity: its sender waits for room in the ring.
    const SPILLS: bool = false;

    fn new(end: End) -> io::Result<Self> {
        Ok(Self::arrived(end, 0))
    }

    #[inline]
    fn end(&self) -> &End {
        &self.end
    }

    #[inline]
    fn was_closed(&self) -> bool {
        self.end.is_marked_closed() || self.move_state.is_gone()
    }

    fn close(&self) {
        if !self.move_state.is_gone() {
            self.end.close();
        }
    }

    fn is_inside(&self, outgoing: &Outgoing) -> bool {
        outgoing.moves(&self.move_state)
    }

    #[inline]
    fn try_push_bytes(&self, bytes: &[u8], with: Option<&Outgoing>) -> Pushed {
        if self.end.patience().has_missed() && self.end.len() >= self.end.capacity() {
            return Attempt::NotNow;
        }
        let Some(_guard) = self.move_state.try_use() else {
            return Attempt::Busy;
        };
        if self.was_closed() || self.end.has_found_receivers_gone() {
            return Attempt::Closed;
        }
        match with.filter(|outgoing| outgoing.has_descriptors()) {
            None => self.push_plain(bytes),
            Some(outgoing) => self.push_with_fds(bytes, outgoing),
        }
    }

    fn try_spill(&self, _: &Outgoing, _: usize, _: impl FnOnce() -> bool) -> Pushed {
        Attempt::NotNow
    }

    fn try_pop(&self, buf: &mut StackBuf, _most: usize) -> Popped {
        if self.move_state.is_gone() {
            return Attempt::Closed;
        }
        if self.end.patience().has_missed() && self.end.is_empty() {
            return Attempt::NotNow;
        }
        let Some(_guard) = self.move_state.try_use() else {
            return Attempt::Busy;
        };
        if self.move_state.is_gone() {
            return Attempt::Closed;
        }
        let (mut consumer, frame) = match self.end.peek_frame() {
            Ok(first) => first,
            Err(instead) => return instead,
        };
        let message = self.end.read_frame(&consumer, frame, buf);
        consumer.release_loudly(frame);
        let bell = self.shm().space_bell();
        if bell.load(Ordering::SeqCst) != RUNG {
            self.ring_for_other_side(bell);
        }
        self.end.patience().succeeded();
        Attempt::Done(message)
    }

    fn arm(&self, wanted: Wanted) -> Arming {
        let Some(guard) = self.move_state.try_use() else {
            return Arming::Busy;
        };
        if self.move_state.is_gone() {
            return Arming::Closed;
        }
        let (took_rings, inbox) = doorbell::take_rings(self.socket());
        let bell = match self.end.side() {
            Side::Receive => self.shm().data_bell(),
            Side::Send => self.shm().space_bell(),
        };
        bell.store(SLEEPS, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let (arming, wakes_others) = match self.end.side() {
            Side::Receive => self.look_for_message(inbox),
            Side::Send => self.look_for_room(wanted.frame, inbox),
        };
        // Before others are woken: a waker may run any code.
        drop(guard);
        if took_rings && wakes_others {
            self.end.wake_all();
        }
        arming
    }

    fn block(&self, wanted: Wanted) -> bool {
        let waiters = self.end.waiters();
        let mut waiter = Waiter::default();
        let doorbell = waiters.register_thread(&mut waiter);
        // After the registration: a thread that polls now wakes this thread when it stops.
        let poll_turn = waiters.take_poll_turn();
        match self.arm(wanted) {
            Arming::Ready => {}
            Arming::Closed => return false,
            Arming::Busy if self.end.has_lost_receivers() => return false,
            Arming::Busy => self.end.patience().defer_blocking(),
            Arming::RetryLater | Arming::ArmedForAWhile => {
                let doublings = self.end.patience().count_refusal().min(PAUSE_DOUBLINGS);
                std::thread::sleep(THREAD_PAUSE * (1 << doublings));
            }
            Arming::Armed if poll_turn.is_none() => std::thread::park(),
            // They fail only if the kernel has no memory. Then the caller looks again and again, slowly.
            Arming::Armed => drop(match doorbell {
                Some(doorbell) => socket::wait_readable_or_rung(self.socket(), &doorbell),
                None => socket::wait_readable(self.socket(), Some(UNWAKEABLE_POLL)),
            }),
        }
        // Before the turn ends, which wakes all waiters: this thread is awake.
        drop(waiter);
        true
    }
}

impl Spsc {
    fn arrived(end: End, moves: u32) -> Self {
        Self {
            end,
            move_state: Arc::default(),
            moves,
        }
    }

    #[inline]
    fn push_plain(&self, bytes: &[u8]) -> Pushed {
        let Some(mut producer) = self.end.begin_frame(bytes.len(), 0) else {
            return Attempt::NotNow;
        };
        let mut writer = producer.resume();
        writer.extend(bytes);
        if !writer.commit_unless_ended(0) {
            return Attempt::Closed;
        }
        let bell = self.shm().data_bell();
        if bell.load(Ordering::SeqCst) != RUNG {
            self.ring_for_other_side(bell);
        }
        self.end.patience().succeeded();
        Attempt::Done(Ok(()))
    }

    #[cold]
    fn push_with_fds(&self, bytes: &[u8], outgoing: &Outgoing) -> Pushed {
        let Some(mut producer) = self.end.begin_frame(TAG_BYTES + bytes.len(), 0) else {
            return Attempt::NotNow;
        };
        let mut writer = producer.resume();
        let bell = self.shm().data_bell();
        bell.store(HAS_SENT_FDS, Ordering::SeqCst);
        let tag = match self.end.send_fds(outgoing) {
            Ok(tag) => tag,
            Err(instead) => {
                bell.store(SLEEPS, Ordering::SeqCst);
                return instead;
            }
        };
        writer.extend(&tag.to_ne_bytes());
        writer.extend(bytes);
        if !writer.commit_unless_ended(self.end.frame_kind_of(outgoing)) {
            return Attempt::Closed;
        }
        // A receiver that was woken by the descriptors, and found no message yet, retries later. This ring wakes it
        // sooner.
        if bell.load(Ordering::SeqCst) == SLEEPS {
            self.ring_for_other_side(bell);
        }
        self.end.patience().succeeded();
        Attempt::Done(Ok(()))
    }

    /// Wakes the other side, which sleeps or is about to. After the commit or release that it waits for.
    #[cold]
    fn ring_for_other_side(&self, bell: &AtomicU32) {
        bell.swap(RUNG, Ordering::SeqCst);
        let len = match self.end.side() {
            Side::Send => DATA_RING_BYTES,
            Side::Receive => 1,
        };
        for _ in 0..RING_ATTEMPTS {
            match socket::send(self.socket(), &[b'!'; DATA_RING_BYTES][..len], &[]) {
                Err(error) if error.raw_os_error().is_some_and(is_out_of_memory) => {
                    std::thread::yield_now();
                }
                Err(error) if socket::is_end(&error) => {
                    self.end.found_peer_gone();
                    return;
                }
                // If the socket is full, what is in it wakes the other side.
                _ => return,
            }
        }
        // The next message or release tries again.
        bell.store(SLEEPS, Ordering::SeqCst);
    }

    /// What a receiver waits for, and whether others that wait here have something to do.
    fn look_for_message(&self, inbox: Inbox) -> (Arming, bool) {
        let consumer = Consumer::new(self.shm().ring());
        if !consumer.is_empty() {
            return (Arming::Ready, true);
        }
        if self.is_over(inbox) {
            // A message may have been committed before the end.
            return match consumer.end() {
                true => (Arming::Closed, false),
                false => (Arming::Ready, true),
            };
        }
        match inbox {
            // The sender is about to commit, or was stopped. The socket stays readable, so it says nothing new.
            Inbox::Descriptors | Inbox::Flooded => (Arming::RetryLater, false),
            _ => (Arming::Armed, false),
        }
    }

    /// What a sender waits for, and whether others that wait here may have something to do.
    fn look_for_room(&self, wanted: usize, inbox: Inbox) -> (Arming, bool) {
        let was_socket_full = self.end.take_socket_full();
        let mut producer = Producer::new(self.shm().ring());
        if !producer.is_possible() {
            self.end.found_impossible_position();
            return (Arming::Closed, false);
        }
        let has_place = producer.frames() < self.end.capacity();
        let room = producer.room();
        let arming = match has_place && room >= wanted {
            true if !was_socket_full => Arming::Ready,
            _ if self.is_over(inbox) => Arming::Closed,
            true => Arming::RetryLater,
            false => Arming::Armed,
        };
        let wakes_others = arming == Arming::Ready || (has_place && room > 0);
        (arming, wakes_others)
    }

    /// Whether the channel is closed, or the other side is gone.
    fn is_over(&self, inbox: Inbox) -> bool {
        let is_over = self.end.is_marked_closed()
            // An empty socket has not hung up: the end would be in it.
            || (inbox != Inbox::Empty && self.end.is_peer_gone());
        if is_over {
            self.end.mark_closed();
        }
        is_over
    }

    #[inline]
    fn shm(&self) -> &Shm {
        self.end.shm()
    }

    #[inline]
    fn socket(&self) -> &OwnedFd {
        self.end.socket()
    }
}

/// Whether the kernel has no memory for a socket message.
fn is_out_of_memory(error: i32) -> bool {
    matches!(error, libc::ENOBUFS | libc::ENOMEM)
}

impl Serialize for Spsc {
    /// Moves the end: once the value was sent, the end is closed here.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.move_state
            .wake_when_moved(|| self.end.waiters().waker());
        attachments::attach_end(&self.move_state, "an end of a pipe")
            .map_err(ser::Error::custom)?;
        (&self.end, self.moves).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Spsc {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (end, moves) = <(End, u32)>::deserialize(deserializer)?;
        let arrived = flavor::arrived::<Self>(end).and_then(|end| {
            let moves = count_move(&end, moves)?;
            Ok(Self::arrived(end, moves))
        });
        record_fault(arrived).map_err(de::Error::custom)
    }
}

/// Counts the arrival of an end that had moved `moves` times when it was sent. An end that was sent twice, as an
/// argument of two tasks, arrives once: two processes with the same side would overwrite each other's frames.
fn count_move(end: &End, moves: u32) -> Result<u32, String> {
    let counter = match end.side() {
        Side::Send => end.shm().sender_moves(),
        Side::Receive => end.shm().receiver_moves(),
    };
    let now = moves.wrapping_add(1);
    match counter.compare_exchange(moves, now, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Ok(now),
        Err(_) => Err("an end of a pipe was sent twice, and has arrived elsewhere".to_owned()),
    }
}
