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
use crate::ring::{Consumer, Frame, Ring};

/// Sends `outgoing` beside the ring. `may_commit` is asked last: if it refuses, nothing is sent.
pub(super) fn push(end: &End, outgoing: &Outgoing, may_commit: impl FnOnce() -> bool) -> Pushed {
    let bytes = outgoing.bytes();
    let frame = end.shm().bounds().place_frame() - end.shm().bounds().sum_len();
    let Some(mut producer) = end.begin_frame(frame, bytes.len() as u64) else {
        return Attempt::NotNow;
    };
    // The size of files is limited, or the kernel has no memory.
    let Ok(place) = spill::write(end.shm(), &bytes) else {
        return end.refuse_spill();
    };
    if let Err(instead) = mpmc_bell::ring_before_commit(end) {
        return instead;
    }
    if !may_commit() {
        return Attempt::Closed;
    }
    let mut writer = producer.resume();
    writer.extend(&place.to_bytes());
    spill::keep(end.shm(), place);
    bytes_sent::count(end.shm(), bytes.len() as u64);
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
    // A corrupt ring cannot be read by any process any more.
    let place = frame::place_of(consumer, frame).ok_or(Attempt::Closed)?;
    if place.len() > most as u64 {
        return Err(Attempt::Elsewhere);
    }
    match spill::read(end.shm(), place) {
        Ok(Some(bytes)) => Ok((place, Incoming::short(bytes, None))),
        Ok(None) => Err(Attempt::Closed),
        Err(error) => Ok((place, Incoming::faulty(format!("its memory: {error}")))),
    }
}
