//! Messages of a queue that do not fit its ring, because as much waits there already or the socket has no room for
//! their descriptor.
//!
//! The queue takes them all the same, as long as it holds fewer messages than its capacity: their bytes go into the
//! unmapped part of the channel's memory ([`spill`](super::spill)). Runs in a sender with the senders' lock, and in a
//! receiver with the receivers' lock. Never here: those locks, and when a sender stops waiting for room in the ring.

use super::attempt::{Attempt, Popped, Pushed};
use super::bytes_sent;
use super::end::End;
use super::frame;
use super::message::{Incoming, Outgoing};
use super::mpmc_bell;
use super::spill;
use super::spill::SpillPlace;
use crate::lock::LockGuard;
use crate::ring::{Consumer, Frame, Ring};
use crate::transfer::nonsense::Nonsense;

/// Sends `outgoing` beside the ring. `may_commit` is asked last: if it refuses, nothing is sent.
pub(super) fn push(
    end: &End,
    guard: &LockGuard<'_>,
    outgoing: &Outgoing,
    may_commit: impl FnOnce() -> bool,
) -> Pushed {
    let content = outgoing.content();
    let len = content.len() as u64;
    let frame = end.shm().bounds().place_frame() - end.shm().bounds().sum_len();
    let Some(mut producer) = end.begin_frame(frame, len) else {
        return Attempt::NotNow;
    };
    // The size of files is limited, or the kernel has no memory.
    let Ok(place) = spill::write(end.shm(), content) else {
        return end.refuse_spill();
    };
    if let Err(instead) = mpmc_bell::ring_before_commit(end) {
        return instead;
    }
    if !guard.is_held() {
        return Attempt::Busy;
    }
    if !may_commit() {
        return Attempt::Closed;
    }
    let mut writer = producer.resume();
    writer.extend(&place.to_bytes());
    spill::keep(end.shm(), place);
    bytes_sent::count(end.shm(), len);
    writer.commit(end.frame_kind() | frame::IS_SPILLED);
    Attempt::Done(Ok(()))
}

/// The place of the message in `frame` and the message, if it has at most `most` bytes.
pub(super) fn read(
    end: &End,
    consumer: &Consumer<&Ring>,
    frame: Frame,
    most: usize,
) -> Result<(SpillPlace, Incoming), Popped> {
    let place = frame::place_of(consumer, frame);
    let place = place.ok_or_else(|| {
        end.found_nonsense(Nonsense("a frame names a message elsewhere and no place"))
    })?;
    if let Err(why) = end.shm().bounds().check_length(place.len()) {
        return Ok((place, Incoming::faulty(why)));
    }
    if place.len() > most as u64 {
        return Err(Attempt::Elsewhere);
    }
    match spill::read(end.shm(), place) {
        Ok(Some(bytes)) => Ok((place, Incoming::short(bytes, None))),
        Ok(None) => Err(end.found_nonsense(Nonsense("a frame names a place where no message is"))),
        Err(error) => Ok((place, Incoming::faulty(format!("its memory: {error}")))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::bounds::Bounds;
    use super::*;

    #[test]
    fn frame_that_names_nonsense_is_not_received() {
        for (place, len) in [
            (0_u64, 8_u64),
            (u64::MAX, 8),
            (1 << 40, 8),
            (1 << 40, 1 << 30),
        ] {
            let (sender, receiver) = End::pair(Bounds::of_items(4), 1, true).unwrap();
            let mut producer = sender.begin_frame(16, 0).unwrap();
            let mut writer = producer.resume();
            writer.extend(&place.to_ne_bytes());
            writer.extend(&len.to_ne_bytes());
            writer.commit(frame::IS_SPILLED);
            let (consumer, frame) = receiver.peek_frame().unwrap();
            let read = read(&receiver, &consumer, frame, usize::MAX);
            assert!(matches!(read, Err(Attempt::Closed)), "{place} {len}");
            assert!(receiver.tell_nonsense().is_some() && receiver.tell_nonsense().is_none());
        }
    }

    #[test]
    fn frame_too_short_for_a_place_is_not_received() {
        let (sender, receiver) = End::pair(Bounds::of_items(4), 1, true).unwrap();
        let mut producer = sender.begin_frame(8, 0).unwrap();
        producer.resume().extend(&[1; 8]);
        producer.resume().commit(frame::IS_SPILLED);
        let (consumer, frame) = receiver.peek_frame().unwrap();
        let read = read(&receiver, &consumer, frame, usize::MAX);
        assert!(matches!(read, Err(Attempt::Closed)));
        assert!(sender.nonsense().is_some());
    }
}
