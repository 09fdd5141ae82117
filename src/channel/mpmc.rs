//! The protocol of a queue: any number of processes have either side.
//!
//! A sender takes the senders' lock, a receiver the receivers' lock. Both locks are only tried, never waited for, and
//! tell the next holder when the last holder died. A holder looks whether it still has the lock before it commits. The
//! steps of the protocol are numbered in the documentation of [`channel`](super).
//!
//! Must stay true: nothing is left half done that the next holder of the lock cannot finish.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::attempt::{Attempt, Popped, Pushed, Taken};
use super::bounds::Wanted;
use super::bytes_sent;
use super::doorbell;
use super::end::{End, Side};
use super::fds::TAG_BYTES;
use super::flavor::{self, Arming, Flavor};
use super::frame;
use super::message::Outgoing;
use super::mpmc_bell;
use super::mpmc_spill;
use super::orphaned;
use super::patience::{STALL, THREAD_PAUSE};
use super::room;
use super::shm::Shm;
use super::spill;
use super::unfinished::Unfinished;
use crate::codec::error::record_fault;
use crate::lock::{LockGuard, SharedLock, TryLock};
use crate::ring::{Consumer, Frame, Producer, Ring};
use crate::sys::buffer::StackBuf;
use crate::sys::socket;

/// One side of a queue's channel.
#[derive(Debug)]
pub(crate) struct Mpmc {
    end: End,
    send_lock: SharedLock,
    receive_lock: SharedLock,
    unfinished: Unfinished,
    /// Another process has, or had, a copy of the socket.
    is_shared: AtomicBool,
}

impl Drop for Mpmc {
    /// If no other process ever had this side, the side ends now. Without this it would end when the last copy of the
    /// socket is closed, and a process that another thread is forking has copies until it executes its program.
    fn drop(&mut self) {
        if !*self.is_shared.get_mut() {
            self.end.shut_down_if_owner();
        }
    }
}

impl Flavor for Mpmc {
    const ID: u64 = 1;

    const SPILLS: bool = true;

    fn new(end: End) -> io::Result<Self> {
        let shm = end.shm();
        let [send_lock, receive_lock] = shm.locks()?;
        Ok(Self {
            send_lock,
            receive_lock,
            unfinished: Unfinished::new(Arc::clone(shm)),
            is_shared: AtomicBool::new(false),
            end,
        })
    }

    #[inline]
    fn end(&self) -> &End {
        &self.end
    }

    #[inline]
    fn was_closed(&self) -> bool {
        self.end.is_marked_closed()
    }

    fn close(&self) {
        self.end.close();
    }

    fn is_inside(&self, _: &Outgoing) -> bool {
        // What is inside a message is a further end of the queue.
        false
    }

    #[inline]
    fn try_push_bytes(&self, bytes: &[u8], with: Option<&Outgoing>) -> Pushed {
        if self.was_closed() {
            return Attempt::Closed;
        }
        // After a miss, look before taking the lock, which others need.
        if self.end.patience().has_missed() && self.end.len() >= self.end.capacity() {
            return Attempt::NotNow;
        }
        let Some(guard) = self.lock_senders() else {
            return Attempt::Busy;
        };
        // Again under the lock: a receiver that saw the end under both locks expects nothing more.
        if self.was_closed() || self.end.has_found_receivers_gone() {
            return Attempt::Closed;
        }
        match with.filter(|outgoing| outgoing.has_descriptors()) {
            None => self.push_plain(&guard, bytes),
            Some(outgoing) => self.push_with_fds(&guard, bytes, outgoing),
        }
    }

    fn try_spill(
        &self,
        outgoing: &Outgoing,
        most: usize,
        may_commit: impl FnOnce() -> bool,
    ) -> Pushed {
        // Descriptors go over the socket alone.
        if outgoing.has_attachments() {
            return self.end.refuse_spill();
        }
        if self.end.len() >= self.end.capacity() {
            return Attempt::NotNow;
        }
        if outgoing.content().len() > most {
            return Attempt::Elsewhere;
        }
        let Some(guard) = self.lock_senders() else {
            return Attempt::Busy;
        };
        if self.was_closed() || self.end.has_found_receivers_gone() {
            return Attempt::Closed;
        }
        mpmc_spill::push(&self.end, &guard, outgoing, may_commit)
    }

    fn try_pop(&self, buf: &mut StackBuf, most: usize) -> Popped {
        if self.end.patience().has_missed() && self.end.is_empty() {
            return Attempt::NotNow;
        }
        let Some(guard) = self.lock_receivers() else {
            return Attempt::Busy;
        };
        let (mut consumer, frame) = match self.end.peek_frame() {
            Ok(first) => first,
            Err(instead) => return instead,
        };
        if frame::is_spilled(frame) {
            return self.pop_spilled(&guard, &mut consumer, frame, most);
        }
        self.take(&guard, &mut consumer, frame, |consumer| {
            self.end.read_frame(consumer, frame, buf)
        })
    }

    fn arm(&self, wanted: Wanted) -> Arming {
        let Some(senders) = self.lock_senders() else {
            return Arming::Busy;
        };
        let Some(receivers) = self.lock_receivers() else {
            return Arming::Busy;
        };
        let mut producer = Producer::new(self.shm().ring());
        let (found, bell) = match self.end.side() {
            Side::Receive if self.end.is_empty() => (Arming::Armed, self.shm().data_bell()),
            Side::Receive => (Arming::Ready, self.shm().data_bell()),
            Side::Send => (
                room::look_for_room(&self.end, &mut producer, wanted),
                self.shm().space_bell(),
            ),
        };
        if producer.frames() == 0 {
            spill::reset(self.shm());
        }
        match found {
            Arming::Ready => Arming::Ready,
            _ if !senders.is_held() || !receivers.is_held() => Arming::Busy,
            _ if self.is_over() => Arming::Closed,
            Arming::Armed | Arming::ArmedForAWhile => {
                doorbell::drain(self.socket());
                bell.store(0, Ordering::Relaxed);
                found
            }
            other => other,
        }
    }

    fn block(&self, wanted: Wanted) -> bool {
        match self.arm(wanted) {
            Arming::Ready => {}
            Arming::Closed => return false,
            Arming::Busy if self.end.has_lost_receivers() => return false,
            // It fails only if the kernel has no memory. Then the caller looks again and again, slowly.
            Arming::Armed => drop(socket::wait_readable(self.socket(), None)),
            Arming::ArmedForAWhile => drop(socket::wait_readable(self.socket(), Some(STALL))),
            Arming::Busy => self.end.patience().defer_blocking(),
            Arming::RetryLater => std::thread::sleep(THREAD_PAUSE),
        }
        true
    }
}

impl Mpmc {
    /// Marks one message that this process received as done. False if this process received none that is not done.
    pub(crate) fn mark_done(&self) -> bool {
        let is_counted = self.unfinished.mark_done();
        if is_counted && self.unfinished() == 0 {
            let _ = self.end.ring();
        }
        is_counted
    }

    /// How many messages were sent and are not done.
    pub(crate) fn unfinished(&self) -> usize {
        // Taking the lock completes the count of a receiver that died with it.
        drop(self.after_recovery(self.receive_lock.try_lock_asking()));
        // In this order: a message that leaves the ring in between is counted twice. In the other order it would not
        // be counted at all.
        let waiting = self.end.len();
        waiting.saturating_add(self.unfinished.received())
    }

    /// How many messages were received by processes that have ended, and are not done.
    pub(crate) fn lost(&self) -> usize {
        self.unfinished.lost()
    }

    #[inline]
    fn push_plain(&self, guard: &LockGuard<'_>, bytes: &[u8]) -> Pushed {
        let Some(mut producer) = self.end.begin_frame(bytes.len(), bytes.len() as u64) else {
            return Attempt::NotNow;
        };
        let mut writer = producer.resume();
        writer.extend(bytes);
        if let Err(instead) = mpmc_bell::ring_before_commit(&self.end) {
            return instead;
        }
        if !guard.is_held() {
            return Attempt::Busy;
        }
        bytes_sent::count(self.shm(), bytes.len() as u64);
        writer.commit(self.end.frame_kind());
        self.end.patience().succeeded();
        Attempt::Done(Ok(()))
    }

    #[cold]
    fn push_with_fds(&self, guard: &LockGuard<'_>, bytes: &[u8], outgoing: &Outgoing) -> Pushed {
        let len = outgoing.content().len() as u64;
        let Some(mut producer) = self.end.begin_frame(TAG_BYTES + bytes.len(), len) else {
            return Attempt::NotNow;
        };
        // The next message must be able to ring, whether a receiver takes the descriptors or not.
        if !socket::is_half_empty(self.socket()) {
            return self.end.found_socket_full();
        }
        let mut writer = producer.resume();
        let tag = match self.end.send_fds(outgoing) {
            Ok(tag) => tag,
            Err(instead) => return instead,
        };
        writer.extend(&tag.to_ne_bytes());
        writer.extend(bytes);
        // The descriptors are a ring. But the receiver that takes them takes earlier rings too, so the next message
        // rings again.
        self.shm().data_bell().store(0, Ordering::Relaxed);
        if !guard.is_held() {
            return Attempt::Busy;
        }
        bytes_sent::count(self.shm(), len);
        writer.commit(self.end.frame_kind_of(outgoing));
        self.end.patience().succeeded();
        Attempt::Done(Ok(()))
    }

    /// Takes the message in `frame`, which is read by `read`.
    #[inline]
    fn take(
        &self,
        guard: &LockGuard<'_>,
        consumer: &mut Consumer<&Ring>,
        frame: Frame,
        read: impl FnOnce(&Consumer<&Ring>) -> Taken,
    ) -> Popped {
        let shm = self.shm();
        shm.taken_at().store(consumer.position(), Ordering::Release);
        self.unfinished.begin_receive();
        let message = read(consumer);
        if shm.space_bell().load(Ordering::Relaxed) == 0 {
            mpmc_bell::ring_for_space(&self.end);
        }
        if !guard.is_held() {
            return Attempt::Busy;
        }
        consumer.release(frame);
        self.unfinished.finish_receive();
        self.end.patience().succeeded();
        Attempt::Done(message)
    }

    /// Takes a message that is not in the ring. It is copied before it is taken, and its memory is given back after
    /// that.
    #[cold]
    fn pop_spilled(
        &self,
        guard: &LockGuard<'_>,
        consumer: &mut Consumer<&Ring>,
        frame: Frame,
        most: usize,
    ) -> Popped {
        let (place, message) = match mpmc_spill::read(&self.end, consumer, frame, most) {
            Ok(read) => read,
            Err(instead) => return instead,
        };
        let taken = self.take(guard, consumer, frame, |_| Taken::Long(Box::new(message)));
        if let Attempt::Done(_) = taken {
            spill::free(self.shm(), place, consumer.is_empty());
        }
        taken
    }

    /// Takes the senders' lock, if it is free.
    #[inline]
    fn lock_senders(&self) -> Option<LockGuard<'_>> {
        match self.send_lock.try_lock() {
            TryLock::Locked(guard) => Some(guard),
            TryLock::OwnerDied(guard) => {
                // Whatever the dead sender had begun, the next message rings.
                self.shm().data_bell().store(0, Ordering::Relaxed);
                Some(guard)
            }
            TryLock::Busy => None,
        }
    }

    /// Takes the receivers' lock, if it is free, and accounts for the message of a receiver that died with it.
    #[inline]
    fn lock_receivers(&self) -> Option<LockGuard<'_>> {
        self.after_recovery(self.receive_lock.try_lock())
    }

    #[inline]
    fn after_recovery<'a>(&self, attempt: TryLock<'a>) -> Option<LockGuard<'a>> {
        let needs_recovery = self.shm().needs_recovery();
        let guard = match attempt {
            TryLock::Locked(guard) => guard,
            TryLock::OwnerDied(guard) => {
                needs_recovery.store(1, Ordering::Release);
                guard
            }
            TryLock::Busy => return None,
        };
        if needs_recovery.load(Ordering::Acquire) != 0 && self.recover() {
            needs_recovery.store(0, Ordering::Release);
        }
        Some(guard)
    }

    /// Decides whether the dead receiver had taken its message. Taking only its descriptors counts as taking it.
    /// Returns false if this side cannot decide. Needs the receivers' lock.
    fn recover(&self) -> bool {
        let mut consumer = Consumer::new(self.shm().ring());
        let was_taken = consumer.position() != self.shm().taken_at().load(Ordering::Acquire);
        match self.end.side() {
            Side::Receive => {
                let without_fds = orphaned::frame_without_fds(&self.end, &mut consumer);
                self.unfinished.recover(was_taken || without_fds.is_some());
                mpmc_bell::ring_for_space(&self.end);
                if let Some(frame) = without_fds {
                    consumer.release(frame);
                }
                true
            }
            Side::Send if self.end.is_peer_gone() => {
                self.unfinished.recover(was_taken);
                true
            }
            // Only a receiver's end of the socket shows whether descriptors were taken. The ring wakes a receiver.
            Side::Send => {
                let _ = mpmc_bell::ring_for_data(&self.end);
                false
            }
        }
    }

    /// Whether the channel is closed, or the other side is gone. A process that sees this under both locks marks the
    /// channel as closed, so that nothing is sent after a receiver has seen the end.
    fn is_over(&self) -> bool {
        let is_over = self.was_closed() || self.end.is_peer_gone();
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

impl Serialize for Mpmc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.is_shared.store(true, Ordering::Relaxed);
        self.end.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Mpmc {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let arrived = flavor::arrived::<Self>(End::deserialize(deserializer)?)
            .and_then(|end| Self::new(end).map_err(|error| error.to_string()));
        let mpmc = record_fault(arrived).map_err(de::Error::custom)?;
        mpmc.is_shared.store(true, Ordering::Relaxed);
        Ok(mpmc)
    }
}
