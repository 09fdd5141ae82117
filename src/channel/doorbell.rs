//! The bells, and whether to wait for them.
//!
//! Descriptors go over the same socket as rings for receivers. Whoever takes some out takes out the rings
//! before them, too, although the ring may hold messages that others were to hear of. So descriptors count as
//! a ring for their own message, and the message after them rings again: what is behind the last message
//! with descriptors that was received always has something in the socket.

use std::io;
use std::sync::atomic::Ordering;

use super::end::{End, Side};
use super::fds::{RING_BYTES, TAG_BYTES};
use super::outcome::Pushed;
use crate::ring::{Producer, Ring};
use crate::sys::socket;
use crate::sys::socket::ReceiveResult;

/// What looking under both locks found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is something to do now.
    Go,
    /// There is not, and whoever changes that will ring.
    Wait,
    /// There is not, and nobody rings for it: look again in a while.
    Nap,
    /// Somebody else is at it.
    Busy,
    /// There is not, and it was closed: there never will be.
    Closed,
}

impl End {
    /// Looks, holding both locks, whether this side must wait (a sender for `wanted` bytes), and if so
    /// clears its bell: whoever changes that will ring.
    pub(super) fn must_wait(&self, wanted: usize) -> Verdict {
        if !self.duct.shared {
            return self.must_wait_solo(wanted);
        }
        let Some(_send) = self.lock_senders() else {
            return Verdict::Busy;
        };
        let Some(_receive) = self.lock_receivers() else {
            return Verdict::Busy;
        };
        let mut producer = Producer::new(&self.duct.ring);
        let (verdict, bell) = match self.side {
            Side::Receive if producer.frames() == 0 => (Verdict::Wait, self.duct.data_bell()),
            Side::Receive => (Verdict::Go, self.duct.data_bell()),
            Side::Send => (
                self.look_for_room(&mut producer, wanted),
                self.duct.space_bell(),
            ),
        };
        match verdict {
            Verdict::Go => Verdict::Go,
            _ if self.passage.is_gone() || self.is_over() => Verdict::Closed,
            Verdict::Wait => {
                self.drain();
                bell.store(0, Ordering::Relaxed);
                Verdict::Wait
            }
            other => other,
        }
    }

    /// A sender must leave the bell to others who have room where it has none: they might not have heard
    /// it yet. So it listens only if there is none for anybody who ever waited.
    fn look_for_room(&self, producer: &mut Producer<&Ring>, wanted: usize) -> Verdict {
        let crowded = self.crowded.swap(false, Ordering::Relaxed);
        if producer.frames() >= self.duct.capacity {
            return Verdict::Wait;
        }
        let room = producer.room();
        if room >= wanted {
            return if crowded { Verdict::Nap } else { Verdict::Go };
        }
        let least = self.duct.least_wanted().load(Ordering::Relaxed);
        let least = least.min(wanted as u64);
        self.duct.least_wanted().store(least, Ordering::Relaxed);
        match (room as u64) < least {
            true => Verdict::Wait,
            false => Verdict::Nap,
        }
    }

    fn drain(&self) {
        let mut buffer = [0; 2 * TAG_BYTES];
        let mut strays = Vec::new();
        while let Ok(ReceiveResult::Message(_)) =
            socket::receive(&self.socket, &mut buffer, &mut strays, false)
        {
            strays.clear();
        }
    }

    /// Whether it ended for everybody. Whoever sees this under both locks says so to all: nothing is sent
    /// after a receiver has seen the end.
    fn is_over(&self) -> bool {
        let over = self.duct.closed().load(Ordering::Acquire) != 0 || self.other_side_is_gone();
        if over {
            self.duct.closed().store(1, Ordering::Release);
        }
        over
    }

    /// Rings for receivers, or says what came of the message instead. It says after which descriptors, so
    /// that those can be told that are missing.
    pub(super) fn ring_for_data(&self) -> Result<(), Pushed> {
        let mut bytes = [b'!'; RING_BYTES];
        let tag = self.duct.tags().load(Ordering::Acquire);
        bytes[..TAG_BYTES].copy_from_slice(&tag.to_ne_bytes());
        socket::send(&self.socket, &bytes, &[]).map_err(|error| match socket::is_end(&error) {
            true => self.is_left_alone(),
            // The socket is full of descriptors that are about to be taken, and the rings before them with
            // them; or the kernel is short of memory.
            false => self.has_no_room_in_the_socket(),
        })
    }

    /// Notes what a send was told of before the socket itself shows it.
    pub(super) fn is_left_alone(&self) -> Pushed {
        self.alone.store(true, Ordering::Relaxed);
        Pushed::Closed
    }

    /// Notes that only an emptier ring will make room.
    pub(super) fn has_no_room_in_the_socket(&self) -> Pushed {
        self.crowded.store(true, Ordering::Relaxed);
        Pushed::Full
    }

    /// Tells a sender that waits for memory of long messages that some came back.
    pub(crate) fn ring_for_memory(&self) {
        let _ = self.ring();
    }

    /// Rings for senders that wait for room, and notes that somebody has.
    pub(super) fn ring_for_space(&self) {
        // It fails if there is nobody to hear it; if for want of kernel memory, the next tries again.
        let rung = u32::from(self.ring().is_ok());
        self.duct.space_bell().store(rung, Ordering::Relaxed);
    }

    /// Makes senders look, whatever for.
    pub(super) fn ring(&self) -> io::Result<()> {
        match socket::send(&self.socket, b"!", &[]) {
            // So many have rung and were not heard that one more says nothing.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other,
        }
    }
}
