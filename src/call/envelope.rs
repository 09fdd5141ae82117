//! The layout of requests and replies in the two rings, and the atomic word that decides who has an item.
//!
//! Both processes use this file; it does no I/O and holds no state.
//!
//! ```text
//! request   span | started | task | token | blob | blob_len | flags | attachments    64 bytes
//!           if the flag TRACED is set: the trace context, 64 bytes
//!           then, unless blob is set, for every item: length (4 bytes), encoded arguments
//! reply     published | sequence | task | first + flags | run_nanos | checksum       48 bytes
//!           then for every outcome: status and length (4 bytes), body
//! ```
//!
//! A single call is a request of one item; a batch of a map has many. A reply holds the outcomes of consecutive
//! items of one request. The last reply of a request has the flag `LAST`.
//!
//! Must stay true:
//!
//! 1. **The span decides.** Its low half is `next`, its high half `limit`. The worker claims item `next` by adding
//!    one to the word; the claim holds if `next` was below `limit`. The parent revokes all unclaimed items by
//!    lowering `limit` to `next`. Both are one atomic operation on one word, so every item is either claimed or
//!    revoked, and never both.
//! 2. **An item is claimed before its arguments are decoded.** An item that was not claimed had no effect, so the
//!    parent may send it to another worker.
//! 3. **`published` grows only.** It counts the whole outcomes of a reply that is not committed yet, and their bytes.
//!    The parent salvages those when the worker has died, or is busy with a long item.
//! 4. **An outcome in a blob is the only one of its reply**, and the reply has the flag `IN_BLOB` before the outcome
//!    is published.

use std::sync::atomic::{AtomicU64, Ordering};

use super::checksum;

/// Kind of a frame in the request ring: a [`Request`] and its items.
pub(crate) const REQUEST: u32 = 1;

/// Kind of a frame in the request ring: the worker exits after the requests before this frame.
pub(crate) const STOP: u32 = 2;

/// Kind of a frame in the reply ring: a [`Reply`] and its outcomes. The only kind there.
pub(crate) const REPLY: u32 = 1;

/// The largest body of a frame, in bytes. A ring holds four, so that the producer writes while the consumer reads.
/// A value that does not fit travels in a blob.
pub(crate) const LONGEST_BODY: usize = 64 * 1024;

/// The bytes of data in each of a worker's two rings.
pub(crate) const WORKER_RING_BYTES: usize = 4 * LONGEST_BODY;

/// The bytes of data in each of the two rings of a single-task process: a largest frame, and the `STOP` or the end of
/// a reply behind it.
pub(crate) const SINGLE_RING_BYTES: usize = 2 * LONGEST_BODY;

/// The bytes before every item: its length and, in a reply, its [`Status`].
pub(crate) const ITEM_PREFIX: usize = 4;

/// Flag of a request: the worker stamps the start of every item, because the task has a time limit.
pub(crate) const TIMED: u64 = 1;

/// Flag of a request: the worker commits every outcome at once. The parent sets it while a slow request runs.
pub(crate) const EAGER: u64 = 2;

/// Flag of a request: a trace context follows the head.
pub(crate) const TRACED: u64 = 4;

/// Flag of a request: its items name cached values.
pub(crate) const NAMES_CACHED: u64 = 1 << 8;

/// Where in the flags of a request the place of its first item in the input of its map begins.
pub(crate) const PLACE_SHIFT: u32 = 16;

/// The head of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Request {
    pub(crate) items: u32,
    pub(crate) task: u64,
    /// The function's place in the image's table.
    pub(crate) token: u64,
    /// The id of the blob that holds the only item, or 0.
    pub(crate) blob: u64,
    pub(crate) blob_len: u64,
    /// [`TIMED`], [`EAGER`], [`TRACED`] and [`NAMES_CACHED`], and from [`PLACE_SHIFT`] on the place of its first item.
    pub(crate) flags: u64,
    /// The id under which its attachments come over the control socket, or 0.
    pub(crate) attachments: u64,
}

impl Request {
    /// Where the span is.
    pub(crate) const SPAN: usize = 0;
    /// Where the worker writes the [`Moment`](crate::sys::clock::Moment) at which the running item started; 0 between
    /// items.
    pub(crate) const STARTED: usize = 8;
    pub(crate) const FLAGS: usize = 48;
    pub(crate) const BYTES: usize = 64;

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        words_to_bytes([
            pair(0, self.items),
            0,
            self.task,
            self.token,
            self.blob,
            self.blob_len,
            self.flags,
            self.attachments,
        ])
    }

    /// Reads a head, or `None` if there are too few bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let words: [u64; 8] = bytes_to_words(bytes)?;
        Some(Self {
            items: high(words[0]),
            task: words[2],
            token: words[3],
            blob: words[4],
            blob_len: words[5],
            flags: words[6],
            attachments: words[7],
        })
    }
}

/// The head of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reply {
    /// One more than that of the reply before. Tells a reply being written from what the ring held there a lap ago.
    pub(crate) sequence: u64,
    pub(crate) task: u64,
    /// The index of the first item that has an outcome here.
    pub(crate) first: u32,
    /// Whether the request has no further reply.
    pub(crate) last: bool,
    /// Whether its attachments come over the control socket, under its sequence number.
    pub(crate) has_attachments: bool,
    /// Whether its only outcome is in a blob.
    pub(crate) in_blob: bool,
    /// Whether the worker begins nothing more, and exits.
    pub(crate) leaves: bool,
    /// The time its items took together.
    pub(crate) run_nanos: u64,
    /// The number of outcomes.
    pub(crate) count: u32,
    /// The bytes of the outcomes.
    pub(crate) bytes: u32,
    /// That of the head and the outcomes, written by the commit.
    pub(crate) checksum: u64,
}

const LAST: u32 = 1;
const HAS_ATTACHMENTS: u32 = 2;
const IN_BLOB: u32 = 4;
const LEAVES: u32 = 8;

impl Reply {
    /// Where the word is that counts whole outcomes and their bytes.
    pub(crate) const PUBLISHED: usize = 0;
    pub(crate) const SEQUENCE: usize = 8;
    /// Where `first` and the flags are.
    pub(crate) const FLAGS: usize = 24;
    pub(crate) const BYTES: usize = 48;

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        words_to_bytes([
            published(self.count, self.bytes),
            self.sequence,
            self.task,
            self.flags_word(),
            self.run_nanos,
            self.checksum,
        ])
    }

    /// The checksum of a reply with this head and these outcomes.
    #[inline]
    pub(crate) fn sum(&self, outcomes: &[u8]) -> u64 {
        let words = [
            published(self.count, self.bytes),
            self.sequence,
            self.task,
            self.flags_word(),
            self.run_nanos,
        ];
        checksum::of(words, outcomes)
    }

    /// Reads a head, or `None` if there are too few bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let words: [u64; 6] = bytes_to_words(bytes)?;
        let (count, bytes) = read_published(words[0]);
        let flags = high(words[3]);
        Some(Self {
            sequence: words[1],
            task: words[2],
            first: low(words[3]),
            last: flags & LAST != 0,
            has_attachments: flags & HAS_ATTACHMENTS != 0,
            in_blob: flags & IN_BLOB != 0,
            leaves: flags & LEAVES != 0,
            run_nanos: words[4],
            count,
            bytes,
            checksum: words[5],
        })
    }

    /// The word at [`Reply::FLAGS`].
    pub(crate) fn flags_word(self) -> u64 {
        let flag = |is_set: bool, bit: u32| if is_set { bit } else { 0 };
        let flags = flag(self.last, LAST)
            | flag(self.has_attachments, HAS_ATTACHMENTS)
            | flag(self.in_blob, IN_BLOB)
            | flag(self.leaves, LEAVES);
        pair(self.first, flags)
    }
}

/// The word at [`Reply::PUBLISHED`] for `count` outcomes of `bytes` bytes together.
#[inline]
pub(crate) fn published(count: u32, bytes: u32) -> u64 {
    pair(count, bytes)
}

/// The count and the bytes in a published word.
#[inline]
pub(crate) fn read_published(word: u64) -> (u32, u32) {
    (low(word), high(word))
}

/// What an outcome's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// The encoded result.
    Done,
    /// An encoded panic report.
    Panicked,
    /// A text: why the result could not be encoded.
    EncodeFailed,
    /// A text: why the arguments could not be decoded.
    DecodeFailed,
    /// The id of the blob that holds the encoded result, and the result's length.
    Blob,
    /// Empty: the worker's table of functions has no such place.
    Unknown,
}

/// The bits of an outcome's prefix that hold the length of its body.
const LENGTH_BITS: u32 = 28;

/// The prefix of an outcome whose body has `len` bytes.
pub(crate) fn outcome_prefix(status: Status, len: usize) -> [u8; ITEM_PREFIX] {
    debug_assert!(len < 1 << LENGTH_BITS);
    ((status as u32) << LENGTH_BITS | len as u32).to_le_bytes()
}

/// Takes the next outcome off `rest`, or `None` if the bytes there are not an outcome.
#[inline]
pub(crate) fn next_outcome<'a>(rest: &mut &'a [u8]) -> Option<(Status, &'a [u8])> {
    let prefix = u32::from_le_bytes(*rest.first_chunk::<ITEM_PREFIX>()?);
    let status = match prefix >> LENGTH_BITS {
        0 => Status::Done,
        1 => Status::Panicked,
        2 => Status::EncodeFailed,
        3 => Status::DecodeFailed,
        4 => Status::Blob,
        5 => Status::Unknown,
        _ => return None,
    };
    let len = (prefix & ((1 << LENGTH_BITS) - 1)) as usize;
    let body = rest.get(ITEM_PREFIX..ITEM_PREFIX + len)?;
    *rest = &rest[ITEM_PREFIX + len..];
    Some((status, body))
}

/// Whether `bytes` are exactly the outcomes that `head` counts, as far as their prefixes say.
pub(crate) fn is_whole(head: &Reply, mut bytes: &[u8]) -> bool {
    let mut blobs = 0;
    for _ in 0..head.count {
        match next_outcome(&mut bytes) {
            Some((status, _)) => blobs += u32::from(status == Status::Blob),
            None => return false,
        }
    }
    let expected = u32::from(head.in_blob);
    bytes.is_empty() && blobs == expected && (blobs == 0 || head.count == 1)
}

/// Claims the next item of a span, in the worker: its index, or `None` if no item is left.
///
/// A claim that fails has increased `next` beyond `limit`, which changes nothing: everything else that reads a span
/// takes the smaller of the two.
#[inline]
pub(crate) fn claim(span: &AtomicU64) -> Option<u32> {
    let before = span.fetch_add(1, Ordering::AcqRel);
    (low(before) < high(before)).then(|| low(before))
}

/// Revokes every unclaimed item of a span, in the parent. Returns how many items were claimed before.
pub(crate) fn revoke(span: &AtomicU64) -> u32 {
    let mut now = span.load(Ordering::Acquire);
    loop {
        let claimed = low(now).min(high(now));
        let shortened = pair(low(now), claimed);
        match span.compare_exchange(now, shortened, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return claimed,
            Err(changed) => now = changed,
        }
    }
}

/// How many items of a span were claimed.
pub(crate) fn claimed(span: &AtomicU64) -> u32 {
    let now = span.load(Ordering::Acquire);
    low(now).min(high(now))
}

fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

fn low(pair: u64) -> u32 {
    pair as u32
}

fn high(pair: u64) -> u32 {
    (pair >> 32) as u32
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
    fn span_item_is_claimed_or_revoked_and_never_both() {
        let span = AtomicU64::new(pair(0, 5));
        assert_eq!((claim(&span), claim(&span)), (Some(0), Some(1)));
        assert_eq!(revoke(&span), 2);
        assert_eq!(claim(&span), None);
        assert_eq!(claimed(&span), 2);
        assert_eq!(revoke(&span), 2);
    }

    #[test]
    fn span_without_items_left_stays_so() {
        let span = AtomicU64::new(pair(0, 1));
        assert_eq!(claim(&span), Some(0));
        assert_eq!(claim(&span), None);
        assert_eq!(revoke(&span), 1);
        assert_eq!(claimed(&span), 1);
    }

    #[test]
    fn outcome_is_read_back_and_other_bytes_are_refused() {
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

    #[test]
    fn heads_are_read_back() {
        let request = Request {
            items: 3,
            task: 4,
            token: 5,
            blob: 6,
            blob_len: 7,
            flags: TIMED,
            attachments: 8,
        };
        assert_eq!(Request::from_bytes(&request.to_bytes()), Some(request));
        assert_eq!(Request::from_bytes(&request.to_bytes()[1..]), None);
        for bits in 0..16 {
            let reply = Reply {
                sequence: 1,
                task: 2,
                first: 3,
                last: bits & 1 != 0,
                has_attachments: bits & 2 != 0,
                in_blob: bits & 4 != 0,
                leaves: bits & 8 != 0,
                run_nanos: 4,
                count: 5,
                bytes: 6,
                checksum: 7,
            };
            assert_eq!(Reply::from_bytes(&reply.to_bytes()), Some(reply));
        }
    }
}
