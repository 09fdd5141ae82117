//! The memory of messages that do not fit the ring: the part of the channel's memory that is not mapped.
//!
//! A sender writes each message behind the last committed message. A frame in the ring says where the message is and
//! how long it is. A receiver copies it and gives its memory back. What must stay true:
//! - A sender moves the end before it commits, so nothing that was committed is overwritten. What a killed sender had
//!   written lies behind the end, or between two messages.
//! - A receiver gives memory back only after it has released the frame, up to the end of that message. So the memory
//!   that a killed receiver left is given back with the next message.
//! - The end moves back to the beginning only while the ring is empty and both locks are held.
//! - A place that was read from shared memory is checked against the memory before it is used.
//!
//! Never here: the locks.

use std::io;
use std::sync::atomic::Ordering;

use super::bounds::PLACE_BYTES;
use super::message::Content;
use super::shm::Shm;
use crate::ring::{Consumer, Frame, Ring};
use crate::sys::memory::SharedBytes;
use crate::sys::unmapped;

/// As many bytes are given back at a time, unless no further message waits.
const FREED_AT_ONCE: u64 = 64 * 1024;

/// The bytes of a blob are copied in pieces of this length, which stay in the processor's cache.
const PIECE_BYTES: usize = 128 * 1024;

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpillPlace {
    at: u64,
    len: u64,
}

impl SpillPlace {
    /// The place that a frame names behind its first `skipped` bytes. `None` if the frame cannot name one.
    pub(super) fn of(consumer: &Consumer<&Ring>, frame: Frame, skipped: usize) -> Option<Self> {
        if frame.len() != skipped + PLACE_BYTES {
            return None;
        }
        let word = |at: usize| consumer.word(frame, skipped + at).load(Ordering::Relaxed);
        let (at, len) = (word(0), word(8));
        Some(Self { at, len })
    }

    pub(super) fn to_bytes(self) -> [u8; PLACE_BYTES] {
        let mut bytes = [0; PLACE_BYTES];
        bytes[..8].copy_from_slice(&self.at.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.len.to_ne_bytes());
        bytes
    }

    /// The bytes of the message.
    pub(super) fn len(self) -> u64 {
        self.len
    }

    fn end(self) -> u64 {
        self.at.saturating_add(self.len)
    }
}

/// Writes a message, which no receiver sees before its frame is committed. Needs the senders' lock.
pub(super) fn write(shm: &Shm, content: Content<'_>) -> io::Result<SpillPlace> {
    let end = shm.spill_end().load(Ordering::Relaxed);
    let at = end.max(shm.spill_start());
    // Not 0 any more, so that the next reset gives back what this sender leaves if it is killed.
    shm.spill_end().store(at, Ordering::Relaxed);
    let len = content.len() as u64;
    let written = match content {
        Content::Here(bytes) => unmapped::write(shm, at, bytes),
        Content::InBlob(bytes) => copy(shm, at, bytes),
    };
    if let Err(error) = written {
        let _ = unmapped::give_back(shm, at..at.saturating_add(len));
        return Err(error);
    }
    Ok(SpillPlace { at, len })
}

fn copy(shm: &Shm, at: u64, mut bytes: SharedBytes<'_>) -> io::Result<()> {
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    let mut position = at;
    while bytes.len() > 0 {
        piece.clear();
        bytes.take(bytes.len().min(PIECE_BYTES), &mut piece);
        unmapped::write(shm, position, &piece)?;
        position = position.saturating_add(piece.len() as u64);
    }
    Ok(())
}

/// Keeps the message at `place` from being overwritten. Needs the senders' lock.
pub(super) fn keep(shm: &Shm, place: SpillPlace) {
    shm.spill_end().store(place.end(), Ordering::Release);
}

/// Copies the message at `place`. `None` if no message can be there.
///
/// # Errors
///
/// There is no memory for it.
pub(super) fn read(shm: &Shm, place: SpillPlace) -> io::Result<Option<Vec<u8>>> {
    let Ok(len) = usize::try_from(place.len) else {
        return Ok(None);
    };
    match place.at >= shm.spill_start() {
        true => unmapped::read(shm, place.at, len),
        false => Ok(None),
    }
}

/// Gives back the memory of the messages up to `place`, which was released. Needs the receivers' lock.
pub(super) fn free(shm: &Shm, place: SpillPlace, is_last: bool) {
    let freed = shm.spill_freed();
    let start = freed.load(Ordering::Relaxed).max(shm.spill_start());
    let end = unmapped::page_start(place.end());
    let bytes = end.saturating_sub(start);
    if bytes >= FREED_AT_ONCE || (is_last && bytes > 0) {
        // It fails only if the kernel has no memory. Then the reset gives it back.
        let _ = unmapped::give_back(shm, start..end);
        freed.store(end, Ordering::Relaxed);
    }
}

/// Gives back all memory, if there is any. Needs both locks, and an empty ring.
pub(super) fn reset(shm: &Shm) {
    let end = shm.spill_end();
    if end.load(Ordering::Relaxed) == 0 {
        return;
    }
    let start = shm.spill_start();
    if unmapped::give_back_from(shm, start).is_ok() {
        // In this order: what lies before `freed` is not given back again.
        shm.spill_freed().store(start, Ordering::Relaxed);
        end.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::super::bounds::Bounds;
    use super::*;
    use std::os::fd::AsFd as _;

    fn shm() -> Shm {
        Shm::create(Bounds::of_items(4), 1, true).unwrap()
    }

    fn blocks(shm: &Shm) -> i64 {
        rustix::fs::fstat(shm.as_fd()).unwrap().st_blocks
    }

    #[test]
    fn memory_of_a_message_is_given_back() {
        let shm = shm();
        let before = blocks(&shm);
        let (first, second) = (vec![1; 100_000], vec![2; 100]);
        let at = write(&shm, Content::Here(&first)).unwrap();
        // Not committed, so the next message overwrites it.
        assert_eq!(write(&shm, Content::Here(&first)).unwrap(), at);
        keep(&shm, at);
        let behind = write(&shm, Content::Here(&second)).unwrap();
        keep(&shm, behind);
        assert_eq!(read(&shm, at).unwrap(), Some(first));
        free(&shm, at, false);
        assert_eq!(read(&shm, behind).unwrap(), Some(second));
        free(&shm, behind, true);
        reset(&shm);
        assert_eq!(blocks(&shm), before);
        assert_eq!(
            write(&shm, Content::Here(&[3])).unwrap().at,
            shm.spill_start()
        );
    }

    #[test]
    fn places_outside_are_not_read() {
        let shm = shm();
        keep(&shm, write(&shm, Content::Here(&[1; 5000])).unwrap());
        let start = shm.spill_start();
        for (at, len) in [
            (0, 8),
            (start - 1, 8),
            (start, 5001),
            (start, u64::MAX),
            (u64::MAX, 1),
            (start + 5000, 1),
        ] {
            let place = SpillPlace { at, len };
            assert_eq!(read(&shm, place).unwrap(), None, "{place:?}");
        }
    }

    /// A corrupted process writes anything into the shared words.
    #[test]
    fn words_that_are_nonsense_harm_nothing() {
        let shm = shm();
        let kept = shm.ring().released();
        for nonsense in [1, shm.spill_start() - 1, u64::MAX - 1, u64::MAX] {
            shm.spill_end().store(nonsense, Ordering::Relaxed);
            shm.spill_freed().store(nonsense, Ordering::Relaxed);
            let written = write(&shm, Content::Here(&[7; 100]));
            assert!(written.is_err() || written.is_ok_and(|it| it.at >= shm.spill_start()));
            let place = SpillPlace {
                at: nonsense,
                len: nonsense,
            };
            free(&shm, place, true);
            reset(&shm);
        }
        assert_eq!(shm.ring().released(), kept);
    }
}
