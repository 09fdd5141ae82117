//! What a frame of the ring is: the bits of its kind, and what lies before the message.
//!
//! A frame has, in this order: how many bytes were sent before it, if the channel bounds bytes; the tag of its
//! descriptors, if it has any; the message, or where the message is. What must stay true: a frame was written by
//! another process, so nothing here relies on its length.

use std::sync::atomic::Ordering;

use super::bounds::{Bounds, SUM_BYTES};
use super::fds::TAG_BYTES;
use super::shm::LONGEST_INLINE;
use super::spill::SpillPlace;
use crate::ring::{Consumer, Frame, Ring};
use crate::transfer::nonsense::Nonsense;

/// Descriptors were sent ahead of the frame, under a tag.
pub(super) const HAS_FDS: u32 = 1;

/// The message is in the shared memory that is its first descriptor.
pub(super) const IS_LONG: u32 = 2;

/// The descriptors are in a bundle.
pub(super) const HAS_BUNDLE: u32 = 4;

/// The message is in the unmapped part of the channel's memory.
pub(super) const IS_SPILLED: u32 = 8;

/// The channel bounds bytes.
pub(super) const HAS_SUM: u32 = 16;

/// The body of a frame whose message is long: the length of the message.
const LONG_BODY_BYTES: usize = 8;

/// Whether all of the frame is a message, which a process of this program may have sent.
#[inline]
pub(super) fn is_plain(frame: Frame, bounds: Bounds) -> bool {
    frame.kind() == 0 && !bounds.has_bytes() && frame.len() <= LONGEST_INLINE
}

/// Whether a process of this program may have written the frame.
pub(super) fn check(frame: Frame, bounds: Bounds, spills: bool) -> Result<(), Nonsense> {
    let has = |bit: u32| frame.kind() & bit != 0;
    if has(HAS_SUM) != bounds.has_bytes() {
        return Err(Nonsense("a frame counts bytes as no sender does"));
    }
    let beside_spilled = HAS_SUM | IS_SPILLED;
    let is_possible = match has(IS_SPILLED) {
        true => spills && frame.kind() & !beside_spilled == 0,
        false => has(HAS_FDS) || frame.kind() & !HAS_SUM == 0,
    };
    if !is_possible || frame.kind() > (HAS_SUM | IS_SPILLED | HAS_BUNDLE | IS_LONG | HAS_FDS) {
        return Err(Nonsense("a frame is of a kind that does not exist"));
    }
    let before = sum_len(frame) + tag_len(frame);
    let is_right = match frame.len().checked_sub(before) {
        None => false,
        // Its place is checked where it is read.
        Some(_) if has(IS_SPILLED) => true,
        Some(body) if has(IS_LONG) => body == LONG_BODY_BYTES,
        Some(body) => body <= LONGEST_INLINE,
    };
    match is_right {
        true => Ok(()),
        false => Err(Nonsense("a frame has a length that its kind cannot have")),
    }
}

/// The tag of the descriptors that were sent ahead of `frame`, if there are any.
pub(super) fn tag_of(consumer: &Consumer<&Ring>, frame: Frame) -> Option<u64> {
    let at = sum_len(frame);
    let has_fds = frame.kind() & HAS_FDS != 0 && frame.len() >= at + TAG_BYTES;
    has_fds.then(|| consumer.word(frame, at).load(Ordering::Relaxed))
}

/// Whether the message is in the unmapped part of the channel's memory.
#[inline]
pub(super) fn is_spilled(frame: Frame) -> bool {
    frame.kind() & IS_SPILLED != 0
}

/// Whether the descriptors are in a bundle.
pub(super) fn has_bundle(frame: Frame) -> bool {
    frame.kind() & HAS_BUNDLE != 0
}

/// The place of a message in the unmapped part. `None` if the frame cannot name one.
pub(super) fn place_of(consumer: &Consumer<&Ring>, frame: Frame) -> Option<SpillPlace> {
    SpillPlace::of(consumer, frame, sum_len(frame))
}

/// The bytes before the message.
pub(super) fn before_body(frame: Frame) -> usize {
    (sum_len(frame) + tag_len(frame)).min(frame.len())
}

fn tag_len(frame: Frame) -> usize {
    match frame.kind() & HAS_FDS {
        0 => 0,
        _ => TAG_BYTES,
    }
}

fn sum_len(frame: Frame) -> usize {
    match frame.kind() & HAS_SUM {
        0 => 0,
        _ => SUM_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::end::End;

    fn is_nonsense(bounds: Bounds, spills: bool, kind: u32, len: usize) -> bool {
        let (sender, receiver) = End::pair(bounds, 1, spills).unwrap();
        let mut producer = crate::ring::Producer::new(sender.shm().ring());
        let mut writer = producer.begin(len).unwrap();
        writer.extend(&vec![0; len]);
        writer.commit(kind);
        receiver.peek_frame().is_err() && receiver.tell_nonsense().is_some()
    }

    #[test]
    fn frames_that_no_sender_writes_end_the_channel() {
        let plain = Bounds::of_items(4);
        let counted = Bounds { bytes: 9, ..plain };
        for (bounds, spills, kind, len) in [
            (plain, true, 32, 8),
            (plain, true, u32::MAX, 8),
            (plain, true, HAS_SUM, 16),
            (plain, true, IS_LONG, 8),
            (plain, true, HAS_BUNDLE, 8),
            (plain, true, HAS_FDS, 7),
            (plain, true, HAS_FDS | IS_LONG, 8),
            (plain, true, HAS_FDS | IS_LONG, 24),
            (plain, true, HAS_FDS | IS_SPILLED, 24),
            (plain, true, 0, LONGEST_INLINE + 1),
            (plain, true, HAS_FDS, LONGEST_INLINE + 9),
            (plain, false, IS_SPILLED, 16),
            (counted, true, 0, 16),
            (counted, true, HAS_SUM, 7),
            (counted, true, HAS_SUM | HAS_FDS, 15),
        ] {
            assert!(is_nonsense(bounds, spills, kind, len), "{kind} {len}");
        }
    }

    #[test]
    fn frames_that_senders_write_are_received() {
        let plain = Bounds::of_items(4);
        let counted = Bounds { bytes: 9, ..plain };
        for (bounds, kind, len) in [
            (plain, 0, 0),
            (plain, 0, LONGEST_INLINE),
            (plain, HAS_FDS, LONGEST_INLINE + 8),
            (plain, HAS_FDS | HAS_BUNDLE, 8),
            (plain, HAS_FDS | IS_LONG, 16),
            (plain, HAS_FDS | IS_LONG | HAS_BUNDLE, 16),
            (plain, IS_SPILLED, 16),
            (counted, HAS_SUM, 8),
            (counted, HAS_SUM | HAS_FDS, 16 + LONGEST_INLINE),
            (counted, HAS_SUM | IS_SPILLED, 24),
        ] {
            assert!(!is_nonsense(bounds, true, kind, len), "{kind} {len}");
        }
    }
}
