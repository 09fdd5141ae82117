//! Whether a queue has room for a message, and what its sender waits for.
//!
//! Runs in a sender that holds the senders' lock, to send, or both locks, to sleep.

use std::sync::atomic::Ordering;

use super::bounds::Wanted;
use super::bytes_sent;
use super::end::End;
use super::flavor::Arming;
use crate::ring::{Producer, Ring};

/// Whether a sender has to wait for room. The doorbell is one for all senders: it may be armed without a limit of time
/// only if no sender that waits would have room now. Otherwise a sender with a smaller message could miss its wake-up.
pub(super) fn look_for_room(end: &End, producer: &mut Producer<&Ring>, wanted: Wanted) -> Arming {
    if !producer.is_possible() {
        end.found_impossible_position();
        return Arming::Closed;
    }
    let was_socket_full = end.take_socket_full();
    let was_refused = end.take_spill_refused();
    let shm = end.shm();
    if producer.frames() >= end.capacity() {
        return Arming::Armed;
    }
    if !bytes_sent::leave_room(shm, producer, wanted.bytes) {
        return wait_for_bytes(end, producer, wanted.bytes);
    }
    let has_room = producer.room() >= wanted.frame + shm.reserve(wanted.frame);
    match has_room {
        true if was_socket_full => Arming::RetryLater,
        true => Arming::Ready,
        false if was_refused => Arming::RetryLater,
        // The sender sends beside the ring.
        false if end.has_stalled() => Arming::Ready,
        false => Arming::ArmedForAWhile,
    }
}

/// Waits until others are received, in a queue that bounds bytes.
fn wait_for_bytes(end: &End, producer: &mut Producer<&Ring>, bytes: u64) -> Arming {
    let smallest_wait = end.shm().smallest_wait();
    let smallest = smallest_wait.load(Ordering::Relaxed).min(bytes);
    smallest_wait.store(smallest, Ordering::Relaxed);
    match bytes_sent::leave_room(end.shm(), producer, smallest) {
        false => Arming::Armed,
        true => Arming::RetryLater,
    }
}
