//! The channel of a pipe, of which one process at a time holds either side: no locks between processes.
//!
//! Whoever sends or receives takes this process's turn at the end ([`Passage`](crate::wire::passage::Passage)), so
//! that in both processes together there is one producer and one consumer. Neither ever waits for a step of the other:
//! 1. A message is committed by compare-exchange. A receiver that says that there never will be one has ended the ring
//!    before, by compare-exchange, too, when it was empty: one of the two fails.
//! 2. Who wants to sleep empties the socket, clears the flag, and looks again (Dekker, as in `ring`): whoever commits
//!    or releases looks at the flag afterwards, and rings if it is clear. The flag is set before the ring is sent: set
//!    after it, it could hide that the other side went to sleep again.
//! 3. Whoever is killed before it rings has the kernel ring for it: its side has no other holder, so the socket hangs
//!    up.
//! 4. Rings are for everybody of a process who waits. So who has taken some out of the socket, and then finds that
//!    there is something to do, wakes the others. Of the blocked threads one listens to the socket, and wakes the others
//!    when it stops.
//! 5. Descriptors that go ahead of a message are a ring for it, which stays in the socket until the message is taken:
//!    who finds them there, and no message, naps. The next message rings again, because whoever takes descriptors
//!    takes the rings before them.

use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::Duration;

use super::doorbell::Verdict;
use super::end::{End, Popped, Pushed, Side, kind_of};
use super::fds::{RING_BYTES, TAG_BYTES};
use super::message::Cargo;
use super::wait::NAP;
use super::waiters::Waiter;
use crate::ring::{Consumer, Producer};
use crate::sys::buffer::StackBuf;
use crate::sys::socket;
use crate::sys::socket::ReceiveResult;

/// The flag of a side that sleeps, or is about to: whatever it waits for rings.
const ASLEEP: u32 = 0;
/// Of one that was rung for.
const RUNG: u32 = 1;
/// Of a receiver to which descriptors were sent: the message after theirs rings.
const AHEAD: u32 = 2;

/// How often a ring is tried for which the kernel has no memory. This thread may be a runtime's: it does not wait.
const TRIES: u32 = 100;

/// How long a blocked thread listens that others cannot wake, because no descriptor was left for that.
const LONG_NAP: Duration = Duration::from_millis(10);

/// So often a nap of a blocked thread is twice as long as the one before.
const LONGER_NAPS: u32 = 5;

/// What is in the socket after the rings were taken out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inbox {
    Nothing,
    /// Descriptors of a message that has not come yet.
    Descriptors,
    /// Perhaps the end.
    Unknown,
}

impl End {
    /// Sends what `bytes` encode, with what `beside` it has, if it can be done now.
    #[inline]
    pub(super) fn push_solo(&self, bytes: &[u8], beside: Option<&Cargo>) -> Pushed {
        if self.looks.load(Ordering::Relaxed) > 0 && self.len() >= self.duct.capacity {
            return Pushed::Full;
        }
        let Some(_turn) = self.passage.try_turn() else {
            return Pushed::Busy;
        };
        if self.was_closed() || self.is_found_alone() {
            return Pushed::Closed;
        }
        if let Some(cargo) = beside.filter(|cargo| cargo.has_descriptors()) {
            return self.push_laden(bytes, cargo);
        }
        let Some(mut producer) = self.begin(bytes.len()) else {
            return Pushed::Full;
        };
        let mut writer = producer.resume();
        writer.extend(bytes);
        if !writer.commit_unless_ended(0) {
            return Pushed::Closed;
        }
        let bell = self.duct.data_bell();
        if bell.load(Ordering::SeqCst) != RUNG {
            self.ring_solo(bell);
        }
        self.found();
        Pushed::Done
    }

    #[cold]
    fn push_laden(&self, bytes: &[u8], cargo: &Cargo) -> Pushed {
        let Some(mut producer) = self.begin(TAG_BYTES + bytes.len()) else {
            return Pushed::Full;
        };
        let mut writer = producer.resume();
        let tag = self.duct.tags().fetch_add(1, Ordering::AcqRel) + 1;
        let bell = self.duct.data_bell();
        bell.store(AHEAD, Ordering::SeqCst);
        if let Err(instead) = self.send_ahead(tag, cargo) {
            bell.store(ASLEEP, Ordering::SeqCst);
            return instead;
        }
        writer.extend(&tag.to_ne_bytes());
        writer.extend(bytes);
        if !writer.commit_unless_ended(kind_of(cargo)) {
            return Pushed::Closed;
        }
        // Who has heard the descriptors, and found no message yet, need not nap until the end.
        if bell.load(Ordering::SeqCst) == ASLEEP {
            self.ring_solo(bell);
        }
        self.found();
        Pushed::Done
    }

    /// Receives, if there is something now, into `room` what fits there.
    #[inline]
    pub(super) fn pop_solo(&self, room: &mut StackBuf) -> Popped {
        let Some(_turn) = self.passage.try_turn() else {
            return Popped::Busy;
        };
        if self.passage.is_gone() {
            return Popped::Closed;
        }
        let (mut consumer, frame) = match self.peek() {
            Ok(first) => first,
            Err(instead) => return instead,
        };
        let popped = self.take(&consumer, frame, room);
        consumer.release_loudly(frame);
        let bell = self.duct.space_bell();
        if bell.load(Ordering::SeqCst) != RUNG {
            self.ring_solo(bell);
        }
        self.found();
        popped
    }

    /// Wakes the other side, which is asleep or about to be; after what it waits for.
    #[cold]
    fn ring_solo(&self, bell: &AtomicU32) {
        bell.swap(RUNG, Ordering::SeqCst);
        let len = match self.side {
            Side::Send => RING_BYTES,
            Side::Receive => 1,
        };
        for _ in 0..TRIES {
            match socket::send(&self.socket, &[b'!'; RING_BYTES][..len], &[]) {
                Err(error) if error.raw_os_error().is_some_and(is_short) => {
                    std::thread::yield_now();
                }
                Err(error) if socket::is_end(&error) => {
                    self.is_left_alone();
                    return;
                }
                // If the socket is full, there is enough in it to hear.
                _ => return,
            }
        }
        // The next tries again.
        bell.store(ASLEEP, Ordering::SeqCst);
    }

    /// Says whether this side must wait (a sender for `wanted` bytes), and if so has its bell rung by whoever changes
    /// that.
    pub(super) fn must_wait_solo(&self, wanted: usize) -> Verdict {
        let Some(turn) = self.passage.try_turn() else {
            return Verdict::Busy;
        };
        if self.passage.is_gone() {
            return Verdict::Closed;
        }
        let (took, inbox) = self.empty_socket();
        let bell = match self.side {
            Side::Receive => self.duct.data_bell(),
            Side::Send => self.duct.space_bell(),
        };
        bell.store(ASLEEP, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let (verdict, something) = match self.side {
            Side::Receive => self.look_for_message(inbox),
            Side::Send => self.look_for_room_solo(wanted, inbox),
        };
        // Waking may run anything.
        drop(turn);
        if took && something {
            self.hub.wake_all();
        }
        verdict
    }

    /// Takes the rings out of the socket; says whether there were any.
    fn empty_socket(&self) -> (bool, Inbox) {
        let mut took = false;
        let mut buffer = [0; 2 * TAG_BYTES];
        loop {
            match socket::peek(&self.socket, &mut buffer) {
                Ok(ReceiveResult::Message(TAG_BYTES)) => return (took, Inbox::Descriptors),
                Ok(ReceiveResult::Message(_)) => {}
                Ok(ReceiveResult::End) => return (took, Inbox::Unknown),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    return (took, Inbox::Nothing);
                }
                Err(_) => return (took, Inbox::Unknown),
            }
            let _ = socket::receive(&self.socket, &mut buffer, &mut Vec::new(), false);
            took = true;
        }
    }

    fn look_for_message(&self, inbox: Inbox) -> (Verdict, bool) {
        let consumer = Consumer::new(&self.duct.ring);
        if !consumer.is_empty() {
            return (Verdict::Go, true);
        }
        if self.is_over_solo(inbox) {
            // One may have come before the end.
            return match consumer.end() {
                true => (Verdict::Closed, false),
                false => (Verdict::Go, true),
            };
        }
        match inbox {
            // Its sender is at it, or was stopped. The socket is readable, and says nothing.
            Inbox::Descriptors => (Verdict::Nap, false),
            _ => (Verdict::Wait, false),
        }
    }

    fn look_for_room_solo(&self, wanted: usize, inbox: Inbox) -> (Verdict, bool) {
        let crowded = self.crowded.swap(false, Ordering::Relaxed);
        let mut producer = Producer::new(&self.duct.ring);
        let has_room = producer.frames() < self.duct.capacity;
        let room = producer.room();
        let verdict = match has_room && room >= wanted {
            true if !crowded => Verdict::Go,
            _ if self.is_over_solo(inbox) => Verdict::Closed,
            true => Verdict::Nap,
            false => Verdict::Wait,
        };
        (verdict, verdict == Verdict::Go || (has_room && room > 0))
    }

    /// Whether it was closed, or the other side is gone.
    fn is_over_solo(&self, inbox: Inbox) -> bool {
        let over = self.duct.closed().load(Ordering::Acquire) != 0
            // The end of an empty socket is seen by looking into it.
            || (inbox != Inbox::Nothing && self.other_side_is_gone());
        if over {
            self.duct.closed().store(1, Ordering::Release);
        }
        over
    }

    /// Sleeps until there is news, for a sender about room for `wanted` bytes. True if it is closed.
    pub(super) fn block_solo(&self, wanted: usize) -> bool {
        let mut seat = Waiter::default();
        let bell = self.hub.sit_blocked(&mut seat);
        // After this thread is to be woken: whoever listens now wakes it when it stops.
        let listens = self.hub.listen();
        match self.must_wait_solo(wanted) {
            Verdict::Go => {}
            Verdict::Closed => return true,
            Verdict::Busy if self.has_lost_its_receivers() => return true,
            Verdict::Busy => self.stand_by_blocking(),
            Verdict::Nap => {
                let naps = self.refusals.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(NAP * (1 << naps.min(LONGER_NAPS)));
            }
            Verdict::Wait if listens.is_none() => std::thread::park(),
            // They fail only for want of kernel memory; then this loop is a slow one.
            Verdict::Wait => drop(match bell {
                Some(bell) => socket::wait_readable_or_rung(&self.socket, &bell),
                None => socket::wait_readable(&self.socket, Some(LONG_NAP)),
            }),
        }
        // Not to wake itself.
        drop(seat);
        false
    }
}

/// Whether the kernel is short of memory.
fn is_short(error: i32) -> bool {
    matches!(error, libc::ENOBUFS | libc::ENOMEM)
}
