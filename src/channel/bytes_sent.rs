//! The count of the bytes that were sent, in a channel that bounds the bytes that wait.
//!
//! Runs in a sender with the senders' lock. Each frame begins with the count before it, so the oldest frame and the
//! count tell how many bytes wait. If a sender is killed after it has counted and before it has committed, the bytes
//! that wait seem to be more, until all that was sent before was received.

use std::sync::atomic::Ordering;

use super::shm::Shm;
use crate::ring::{Producer, Ring};

/// Whether the bytes that wait leave room for a message of `bytes` bytes. A larger message than the bound passes alone.
#[inline]
pub(super) fn leave_room(shm: &Shm, producer: &mut Producer<&Ring>, bytes: u64) -> bool {
    !shm.bounds().has_bytes() || leave_room_within_bound(shm, producer, bytes)
}

fn leave_room_within_bound(shm: &Shm, producer: &mut Producer<&Ring>, bytes: u64) -> bool {
    producer.oldest_word().is_none_or(|before| {
        let sent = shm.sent_bytes().load(Ordering::Relaxed);
        sent.wrapping_sub(before).saturating_add(bytes) <= shm.bounds().bytes
    })
}

/// Writes the count at the beginning of the frame that was begun.
#[inline]
pub(super) fn begin_frame(shm: &Shm, producer: &mut Producer<&Ring>) {
    if shm.bounds().has_bytes() {
        let sent = shm.sent_bytes().load(Ordering::Relaxed);
        producer.resume().extend(&sent.to_ne_bytes());
    }
}

/// Counts a message of `bytes` bytes, which is about to be committed.
#[inline]
pub(super) fn count(shm: &Shm, bytes: u64) {
    if shm.bounds().has_bytes() {
        let sent = shm.sent_bytes();
        let now = sent.load(Ordering::Relaxed).wrapping_add(bytes);
        sent.store(now, Ordering::Relaxed);
    }
}
