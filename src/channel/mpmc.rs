//! The protocol of a queue: any number of processes have either side.
//!
//! A sender takes the senders' lock, a receiver the receivers' lock. Both locks are only tried, never waited for, and
//! tell the next holder when the last one died. A holder looks whether it still has the lock before it commits. The steps of the protocol are numbered in the documentation of
//! [`channel`](super). What must stay true: nothing is left half done that the next holder of the lock cannot finish.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::attempt::{Attempt, Popped, Pushed};
use super::doorbell;
use super::end::{self, End, Side};
use super::fds::{self, TAG_BYTES};
use super::flavor::{self, Arming, Flavor};
use super::message::Outgoing;
use super::patience::THREAD_PAUSE;
use super::shm::Shm;
use super::unfinished::Unfinished;
use crate::codec::attachments;
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

    fn try_pop(&self, buf: &mut StackBuf) -> Popped {
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
        let shm = self.shm();
        shm.taken_at().store(consumer.position(), Ordering::Release);
        self.unfinished.begin_receive();
        let message = self.end.read_frame(&consumer, frame, buf);
        if shm.space_bell().load(Ordering::Relaxed) == 0 {
            self.ring_for_space();
        }
        if !guard.is_held() {
            return Attempt::Busy;
        }
        consumer.release(frame);
        self.unfinished.finish_receive();
        self.end.patience().succeeded();
        Attempt::Done(message)
    }

    fn arm(&self, wanted: usize) -> Arming {
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
                self.look_for_room(&mut producer, wanted),
                self.shm().space_bell(),
            ),
        };
        match found {
            Arming::Ready => Arming::Ready,
            _ if !senders.is_held() || !receivers.is_held() => Arming::Busy,
            _ if self.is_over() => Arming::Closed,
            Arming::Armed => {
                doorbell::drain(self.socket());
                bell.store(0, Ordering::Relaxed);
                Arming::Armed
            }
            other => other,
        }
    }

    fn block(&self, wanted: usize) -> bool {
        match self.arm(wanted) {
            Arming::Ready => {}
            Arming::Closed => return false,
            Arming::Busy if self.end.has_lost_receivers() => return false,
            // It fails only if the kernel has no memory. Then the caller looks again and again, slowly.
            Arming::Armed => drop(socket::wait_readable(self.socket(), None)),
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
        waiting + self.unfinished.received()
    }

    /// How many messages were received by processes that have ended, and are not done.
    pub(crate) fn lost(&self) -> usize {
        self.unfinished.lost()
    }

    #[inline]
    fn push_plain(&self, guard: &LockGuard<'_>, bytes: &[u8]) -> Pushed {
        let Some(mut producer) = self.end.begin_frame(bytes.len()) else {
            return Attempt::NotNow;
        };
        let mut writer = producer.resume();
        writer.extend(bytes);
        let bell = self.shm().data_bell();
        if bell.load(Ordering::Relaxed) == 0 {
            if let Err(instead) = self.ring_for_data() {
                return instead;
            }
            bell.store(1, Ordering::Relaxed);
        }
        if !guard.is_held() {
            return Attempt::Busy;
        }
        writer.commit(0);
        self.end.patience().succeeded();
        Attempt::Done(Ok(()))
    }

    #[cold]
    fn push_with_fds(&self, guard: &LockGuard<'_>, bytes: &[u8], outgoing: &Outgoing) -> Pushed {
        let Some(mut producer) = self.end.begin_frame(TAG_BYTES + bytes.len()) else {
            return Attempt::NotNow;
        };
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
        writer.commit(end::frame_kind(outgoing));
        self.end.patience().succeeded();
        Attempt::Done(Ok(()))
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
                let without_fds = self.frame_without_fds(&mut consumer);
                self.unfinished.recover(was_taken || without_fds.is_some());
                self.ring_for_space();
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
                let _ = self.ring_for_data();
                false
            }
        }
    }

    /// The first frame, if its descriptors were taken by a receiver that died before it had the message.
    fn frame_without_fds(&self, consumer: &mut Consumer<&Ring>) -> Option<Frame> {
        let frame = consumer.peek().ok()??;
        let tag = end::tag_of(consumer, frame)?;
        let were_taken = self.shm().taken_tag().load(Ordering::Acquire) == tag
            && fds::were_taken(self.socket(), tag);
        were_taken.then_some(frame)
    }

    /// Whether a sender has to wait for room. The doorbell is one for all senders: it may be armed only if no sender
    /// that ever waited would have room now. Otherwise a sender with a smaller message could miss its wake-up.
    fn look_for_room(&self, producer: &mut Producer<&Ring>, wanted: usize) -> Arming {
        let was_socket_full = self.end.take_socket_full();
        if producer.frames() >= self.end.capacity() {
            return Arming::Armed;
        }
        let room = producer.room();
        if room >= wanted {
            return match was_socket_full {
                true => Arming::RetryLater,
                false => Arming::Ready,
            };
        }
        let smallest_wait = self.shm().smallest_wait();
        let smallest = smallest_wait.load(Ordering::Relaxed).min(wanted as u64);
        smallest_wait.store(smallest, Ordering::Relaxed);
        match (room as u64) < smallest {
            true => Arming::Armed,
            false => Arming::RetryLater,
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

    /// Wakes receivers for a message, or says what came of the message instead.
    fn ring_for_data(&self) -> Result<(), Pushed> {
        let last_tag = self.shm().last_tag().load(Ordering::Acquire);
        let rung = doorbell::ring_for_data(self.socket(), last_tag);
        rung.map_err(|error| match socket::is_end(&error) {
            true => self.end.found_peer_gone(),
            // The socket is full of descriptors, which a receiver is about to take with the rings before them; or the
            // kernel has no memory.
            false => self.end.found_socket_full(),
        })
    }

    /// Wakes senders that wait for room, and notes that they were woken.
    fn ring_for_space(&self) {
        // If it failed for want of kernel memory, the next receiver tries again.
        let has_rung = u32::from(self.end.ring().is_ok());
        self.shm().space_bell().store(has_rung, Ordering::Relaxed);
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
        let mpmc = attachments::record_fault(arrived).map_err(de::Error::custom)?;
        mpmc.is_shared.store(true, Ordering::Relaxed);
        Ok(mpmc)
    }
}
