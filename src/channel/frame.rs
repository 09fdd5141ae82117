//! What a frame of the ring is: the bits of its kind, and what lies before the message.
//!
//! A frame has, in this order: how many bytes were sent before it, if the channel bounds bytes; the tag of its
//! descriptors, if it has any; the message, or where the message is. What must stay true: a frame was written by another
//! process, so nothing here relies on its length.

use std::sync::atomic::Ordering;

use super::bounds::SUM_BYTES;
use super::fds::TAG_BYTES;
use super::spill::SpillPlace;
use crate::ring::{Consumer, Frame, Ring};

/// Descriptors were sent ahead of the frame, under a tag.
pub(super) const HAS_FDS: u32 = 1;

/// The message is in the shared memory that is its first descriptor.
pub(super) const IS_LONG: u32 = 2;

/// The message is in the unmapped part of the channel's memory.
pub(super) const IS_SPILLED: u32 = 4;

/// The channel bounds bytes.
pub(super) const HAS_SUM: u32 = 8;

/// The descriptors are in a bundle.
pub(super) const HAS_BUNDLE: u32 = 16;

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

/// The place of a message in the unmapped part. `None` if the frame cannot name one.
pub(super) fn place_of(consumer: &Consumer<&Ring>, frame: Frame) -> Option<SpillPlace> {
    SpillPlace::of(consumer, frame, sum_len(frame))
}

/// The bytes before the message.
pub(super) fn before_body(frame: Frame) -> usize {
    let tag = match frame.kind() & HAS_FDS {
        0 => 0,
        _ => TAG_BYTES,
    };
    (sum_len(frame) + tag).min(frame.len())
}

fn sum_len(frame: Frame) -> usize {
    match frame.kind() & HAS_SUM {
        0 => 0,
        _ => SUM_BYTES,
    }
}
