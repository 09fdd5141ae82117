//! What a receiver of a queue leaves behind if it is killed while it takes a message with descriptors.
//!
//! Runs in a receiver that holds the receivers' lock, after the last holder died.

use std::sync::atomic::Ordering;

use super::end::End;
use super::fds;
use super::frame;
use crate::ring::{Consumer, Frame, Ring};

/// The first frame, if its descriptors were taken by a receiver that died before it had the message.
pub(super) fn frame_without_fds(end: &End, consumer: &mut Consumer<&Ring>) -> Option<Frame> {
    let frame = consumer.peek().ok()??;
    let tag = frame::tag_of(consumer, frame)?;
    let were_taken =
        end.shm().taken_tag().load(Ordering::Acquire) == tag && fds::were_taken(end.socket(), tag);
    were_taken.then_some(frame)
}
