//! The doorbells of a queue: both are levels, with a flag in shared memory that says whether the socket has a ring.
//!
//! Runs in a sender with the senders' lock, and in a receiver with the receivers' lock.

use std::sync::atomic::Ordering;

use super::attempt::Pushed;
use super::doorbell;
use super::end::End;
use crate::sys::socket;

/// Wakes receivers for the message that is about to be committed, unless they were woken for an earlier one. Says what
/// came of the message instead, if they cannot be woken.
#[inline]
pub(super) fn ring_before_commit(end: &End) -> Result<(), Pushed> {
    let bell = end.shm().data_bell();
    if bell.load(Ordering::Relaxed) == 0 {
        ring_for_data(end)?;
        bell.store(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Wakes receivers for a message, or says what came of the message instead.
pub(super) fn ring_for_data(end: &End) -> Result<(), Pushed> {
    let last_tag = end.shm().last_tag().load(Ordering::Acquire);
    let rung = doorbell::ring_for_data(end.socket(), last_tag);
    rung.map_err(|error| match socket::is_end(&error) {
        true => end.found_peer_gone(),
        // Descriptors leave half of the socket to rings. It is full if hundreds of senders were killed; or the kernel
        // has no memory.
        false => end.found_socket_full(),
    })
}

/// Wakes senders that wait for room, and notes that they were woken.
pub(super) fn ring_for_space(end: &End) {
    // If it failed for want of kernel memory, the next receiver tries again.
    let has_rung = u32::from(end.ring().is_ok());
    end.shm().space_bell().store(has_rung, Ordering::Relaxed);
}
