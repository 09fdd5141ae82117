//! How requests and replies lie in the rings.
//!
//! A request is a header and items: the arguments of one call each. A single call is a request of
//! one item; a batch of a map has many. A reply is a header and the outcomes of some of a request's
//! items, in order; the last reply of a request says so.
//!
//! The request's first word is the **span**: `next` in its low half, `limit` in its high half. The worker
//! claims item `next` by adding one, if it was below `limit`. The parent takes back what was not
//! claimed by lowering `limit`. Both are one atomic operation, so every item is either claimed or taken
//! back, never both: this is the `queued → claimed` and `queued → revoked` of the design, for
//! one item or many.
//!
//! A reply's first word is **published**: the number of outcomes and of their bytes that are whole so
//! far. It lets the parent salvage what a killed worker had finished and not yet committed.

use std::sync::atomic::{AtomicU64, Ordering};

/// Kinds of frames in the request ring.
pub(crate) const TASK: u32 = 1;
/// The worker ends after what came before.
pub(crate) const STOP: u32 = 2;

/// Kinds of frames in the reply ring.
pub(crate) const REPLY: u32 = 1;

/// The longest body of a frame, in bytes. A ring holds four of them, so that one side can write while
/// the other reads; a value that does not fit travels in a parcel.
pub(crate) const LONGEST_BODY: usize = 64 * 1024;

/// The bytes of data in each of a worker's two rings.
pub(crate) const RING_BYTES: usize = 4 * LONGEST_BODY;

/// The bytes before an item that say how long it is and, in a reply, what it is.
pub(crate) const ITEM_PREFIX: usize = 4;

/// The bytes of data in each of the two rings of a process that runs one task: a longest frame and what goes behind
/// it, the word to stop or the end of a reply.
pub(crate) const ONCE_BYTES: usize = 2 * LONGEST_BODY;

/// Every item's start is stamped, because somebody limits its time.
pub(crate) const TIMED: u64 = 1;

/// Every outcome is committed at once: the parent has found the request to be slow. Set while it runs.
pub(crate) const EAGER: u64 = 2;

/// The head of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) items: u32,
    pub(crate) task: u64,
    pub(crate) token: u64,
    /// The parcel that holds the only item, or 0.
    pub(crate) parcel: u64,
    pub(crate) parcel_len: u64,
    pub(crate) flags: u64,
    /// The number under which its descriptors come over the control socket, or 0.
    pub(crate) baggage: u64,
}

impl Request {
    pub(crate) const SPAN: usize = 0;
    /// When the item that runs was started, or 0: a moment, written by the worker.
    pub(crate) const STARTED: usize = 8;
    /// [`TIMED`] and [`EAGER`].
    pub(crate) const FLAGS: usize = 48;
    pub(crate) const BYTES: usize = 64;

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let words = [
            span(0, self.items),
            0,
            self.task,
            self.token,
            self.parcel,
            self.parcel_len,
            self.flags,
            self.baggage,
        ];
        words_to_bytes(words)
    }

    /// Reads a head back, or `None` if there are not enough bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let words: [u64; 8] = bytes_to_words(bytes)?;
        Some(Self {
            items: limit(words[0]),
            task: words[2],
            token: words[3],
            parcel: words[4],
            parcel_len: words[5],
            flags: words[6],
            baggage: words[7],
        })
    }
}

/// The head of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reply {
    /// One more than that of the reply before: tells a reply from what lay there a lap ago.
    pub(crate) sequence: u64,
    pub(crate) task: u64,
    /// The index of the first item it tells about.
    pub(crate) first: u32,
    pub(crate) last: bool,
    /// Whether its descriptors come over the control socket, under its sequence number.
    pub(crate) baggage: bool,
    /// How long the items took together.
    pub(crate) run_nanos: u64,
    /// Outcomes and their bytes.
    pub(crate) count: u32,
    pub(crate) bytes: u32,
}

impl Reply {
    pub(crate) const PUBLISHED: usize = 0;
    pub(crate) const SEQUENCE: usize = 8;
    pub(crate) const FLAGS: usize = 24;
    pub(crate) const BYTES: usize = 40;

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        words_to_bytes([
            span(self.count, self.bytes),
            self.sequence,
            self.task,
            flags_word(self.first, self.last, self.baggage),
            self.run_nanos,
        ])
    }

    /// Reads a head back, or `None` if there are not enough bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let words: [u64; 5] = bytes_to_words(bytes)?;
        Some(Self {
            count: next(words[0]),
            bytes: limit(words[0]),
            sequence: words[1],
            task: words[2],
            first: next(words[3]),
            last: limit(words[3]) & LAST != 0,
            baggage: limit(words[3]) & BAGGAGE != 0,
            run_nanos: words[4],
        })
    }
}

/// What an outcome in a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// The encoded result.
    Done,
    /// An encoded panic report.
    Panicked,
    /// The result could not be encoded; a text says why.
    EncodeFailed,
    /// The arguments could not be decoded; a text says why.
    DecodeFailed,
    /// The encoded result is in a parcel: its number and length.
    Elsewhere,
    /// The worker's table has no such function.
    Unknown,
}

const LENGTH_BITS: u32 = 28;

/// An item's prefix in a reply.
pub(crate) fn outcome_prefix(status: Status, len: usize) -> [u8; ITEM_PREFIX] {
    debug_assert!(len < 1 << LENGTH_BITS);
    ((status as u32) << LENGTH_BITS | len as u32).to_le_bytes()
}

/// Takes the next outcome off `rest`, or `None` if what is there cannot be one.
#[inline]
pub(crate) fn next_outcome<'a>(rest: &mut &'a [u8]) -> Option<(Status, &'a [u8])> {
    let prefix = u32::from_le_bytes(*rest.first_chunk::<ITEM_PREFIX>()?);
    let status = match prefix >> LENGTH_BITS {
        0 => Status::Done,
        1 => Status::Panicked,
        2 => Status::EncodeFailed,
        3 => Status::DecodeFailed,
        4 => Status::Elsewhere,
        5 => Status::Unknown,
        _ => return None,
    };
    let len = (prefix & ((1 << LENGTH_BITS) - 1)) as usize;
    let body = rest.get(ITEM_PREFIX..ITEM_PREFIX + len)?;
    *rest = &rest[ITEM_PREFIX + len..];
    Some((status, body))
}

/// Where a span's `next` stands.
pub(crate) fn next(span: u64) -> u32 {
    span as u32
}

/// Where a span ends.
pub(crate) fn limit(span: u64) -> u32 {
    (span >> 32) as u32
}

fn span(next: u32, limit: u32) -> u64 {
    u64::from(next) | u64::from(limit) << 32
}

/// Claims the next item of a span: its index, or `None` if nothing is left.
#[inline]
pub(crate) fn claim(word: &AtomicU64) -> Option<u32> {
    let before = word.fetch_add(1, Ordering::AcqRel);
    (next(before) < limit(before)).then(|| next(before))
}

/// Takes back every item that was not claimed. Returns the index of the first of them.
pub(crate) fn take_back(word: &AtomicU64) -> u32 {
    let mut now = word.load(Ordering::Acquire);
    loop {
        let kept = next(now).min(limit(now));
        let shortened = span(next(now), kept);
        match word.compare_exchange(now, shortened, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return kept,
            Err(changed) => now = changed,
        }
    }
}

/// How many items of a span were claimed.
pub(crate) fn claimed(word: &AtomicU64) -> u32 {
    let now = word.load(Ordering::Acquire);
    next(now).min(limit(now))
}

/// The published word for so many outcomes of so many bytes.
#[inline]
pub(crate) fn published(count: u32, bytes: u32) -> u64 {
    span(count, bytes)
}

const LAST: u32 = 1;
const BAGGAGE: u32 = 2;

/// The word of a reply that says where it begins, whether it is its request's last and whether it has
/// descriptors.
pub(crate) fn flags_word(first: u32, last: bool, baggage: bool) -> u64 {
    let last = if last { LAST } else { 0 };
    let baggage = if baggage { BAGGAGE } else { 0 };
    span(first, last | baggage)
}

fn words_to_bytes<const N: usize, const B: usize>(words: [u64; N]) -> [u8; B] {
    let mut bytes = [0; B];
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

fn bytes_to_words<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let mut words = [0; N];
    for (index, word) in words.iter_mut().enumerate() {
        *word = u64::from_ne_bytes(*bytes.get(index * 8..)?.first_chunk()?);
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_claimed_or_taken_back_and_never_both() {
        let word = AtomicU64::new(span(0, 5));
        assert_eq!((claim(&word), claim(&word)), (Some(0), Some(1)));
        assert_eq!(take_back(&word), 2);
        assert_eq!(claim(&word), None);
        assert_eq!(claimed(&word), 2);
        assert_eq!(take_back(&word), 2);
    }

    #[test]
    fn a_span_that_is_used_up_stays_so() {
        let word = AtomicU64::new(span(0, 1));
        assert_eq!(claim(&word), Some(0));
        assert_eq!(claim(&word), None);
        assert_eq!(take_back(&word), 1);
        assert_eq!(claimed(&word), 1);
    }

    #[test]
    fn outcomes_are_read_back_and_nonsense_is_refused() {
        let mut bytes = outcome_prefix(Status::Panicked, 3).to_vec();
        bytes.extend(b"abc");
        let mut rest = &bytes[..];
        assert_eq!(
            next_outcome(&mut rest),
            Some((Status::Panicked, &b"abc"[..]))
        );
        assert_eq!(next_outcome(&mut rest), None);
        assert_eq!(next_outcome(&mut &bytes[..6]), None);
        assert_eq!(next_outcome(&mut &[0xff; 8][..]), None);
    }
}
