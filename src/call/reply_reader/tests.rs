//! Forged replies, one field at a time.

use std::os::fd::AsFd as _;

use super::*;
use crate::call::envelope::outcome_prefix;
use crate::call::rings::RingLayout;
use crate::ring::{Producer, Ring};
use crate::sys::{memory, socket};

/// A worker's end of its reply ring and control socket, which writes what it likes.
struct Forger {
    ring: Producer<Ring>,
    control: ControlSocket,
}

fn forger() -> (Forger, ReplyReader) {
    let created = RingLayout::Worker.create(0).unwrap();
    let [_, ours] = created.rings;
    let [_, theirs] = RingLayout::Worker.map(&created.memory).unwrap();
    let (a, b) = socket::pair().unwrap();
    let forger = Forger {
        ring: Producer::new(theirs),
        control: ControlSocket::new(b),
    };
    let control = Arc::new(ControlSocket::new(a));
    (forger, ReplyReader::new(Consumer::new(ours), control))
}

impl Forger {
    /// Commits a frame with this head and these bytes behind it, and the checksum of both. Returns the head.
    fn write(&mut self, head: Reply, outcomes: &[u8]) -> Reply {
        let checksum = head.sum(outcomes);
        let head = Reply { checksum, ..head };
        let len = Reply::BYTES + outcomes.len();
        let mut writer = self.ring.begin(len).unwrap();
        writer.extend(&head.to_bytes());
        writer.extend(outcomes);
        writer.commit(envelope::REPLY);
        head
    }
}

/// A reply of one outcome with these bytes as its body.
fn one(sequence: u64, body: &[u8]) -> (Reply, Vec<u8>) {
    let outcomes = [&outcome_prefix(Status::Done, body.len())[..], body].concat();
    let head = Reply {
        sequence,
        task: 7,
        count: 1,
        bytes: outcomes.len() as u32,
        ..Reply::default()
    };
    (head, outcomes)
}

#[test]
fn honest_replies_are_read() {
    let (mut forger, mut reader) = forger();
    let mut bytes = Vec::new();
    for sequence in 1..100 {
        let (head, outcomes) = one(sequence, b"result");
        let head = forger.write(head, &outcomes);
        bytes.clear();
        assert_eq!(reader.next(&mut bytes), Some(head));
        assert_eq!(bytes[Reply::BYTES..], outcomes);
    }
    assert_eq!(reader.next(&mut bytes), None);
    assert_eq!(reader.nonsense(), None);
}

/// Replies with one field that cannot be.
fn forged() -> Vec<(Reply, Vec<u8>)> {
    let (head, outcomes) = one(1, b"result");
    let with = |change: fn(&mut Reply)| {
        let mut changed = head;
        change(&mut changed);
        (changed, outcomes.clone())
    };
    let blob = [outcome_prefix(Status::Blob, 6).to_vec(), vec![1; 6]].concat();
    vec![
        with(|it| it.sequence = 0),
        with(|it| it.sequence = 2),
        with(|it| it.count = 0),
        with(|it| it.count = 2),
        with(|it| it.count = u32::MAX),
        with(|it| it.bytes = 0),
        with(|it| it.bytes = u32::MAX),
        // A blob that is not there, and a head that tells of none that is there.
        with(|it| it.in_blob = true),
        (head, blob),
        // A length beyond the reply, and a status that is none.
        (head, vec![0xff; 10]),
        (head, [&[0xff, 0xff, 0xff, 0x0f][..], &[0; 6]].concat()),
    ]
}

#[test]
fn every_forged_field_ends_the_trust() {
    for (head, outcomes) in forged() {
        let (mut forger, mut reader) = forger();
        forger.write(head, &outcomes);
        let (honest, whole) = one(2, b"result");
        forger.write(honest, &whole);
        let mut bytes = vec![1, 2, 3];
        assert_eq!(reader.next(&mut bytes), None, "{head:?}");
        assert!(reader.nonsense().is_some(), "{head:?}");
        assert_eq!(bytes, [1, 2, 3], "nothing of it is kept: {head:?}");
        assert_eq!(reader.next(&mut bytes), None, "nothing is read after it");
        assert_eq!(reader.salvage(&mut bytes), None);
    }
}

#[test]
fn reply_that_was_overwritten_before_it_was_read_ends_the_trust() {
    let (mut forger, mut reader) = forger();
    let (head, mut outcomes) = one(1, b"result");
    let checksum = head.sum(&outcomes);
    outcomes[5] ^= 1;
    let mut writer = forger.ring.begin(100).unwrap();
    writer.extend(&Reply { checksum, ..head }.to_bytes());
    writer.extend(&outcomes);
    writer.commit(envelope::REPLY);
    assert_eq!(reader.next(&mut Vec::new()), None);
    assert!(reader.nonsense().is_some());
}

#[test]
fn frame_without_a_head_ends_the_trust() {
    let (mut forger, mut reader) = forger();
    let mut writer = forger.ring.begin(8).unwrap();
    writer.extend(&[7; 8]);
    writer.commit(envelope::REPLY);
    assert_eq!(reader.next(&mut Vec::new()), None);
    assert!(reader.nonsense().is_some());
}

#[test]
fn reply_that_lost_salvaged_outcomes_ends_the_trust() {
    let (mut forger, mut reader) = forger();
    let (head, outcomes) = one(1, b"result");
    let mut writer = forger.ring.begin(200).unwrap();
    writer.show(envelope::REPLY);
    writer.extend(&head.to_bytes());
    writer.extend(&outcomes);
    let mut bytes = Vec::new();
    assert_eq!(reader.salvage(&mut bytes).unwrap().count, 1);
    let emptied = Reply {
        count: 0,
        bytes: 0,
        ..head
    };
    forger.write(emptied, &[]);
    assert_eq!(reader.next(&mut bytes), None);
    assert!(reader.nonsense().is_some());
}

#[test]
fn single_process_has_one_outcome() {
    let (head, outcomes) = one(1, b"result");
    let two = [&outcomes[..], &outcomes].concat();
    let doubled = Reply {
        count: 2,
        bytes: two.len() as u32,
        ..head
    };
    for (head, outcomes) in [(doubled, &two), (Reply { first: 1, ..head }, &outcomes)] {
        let (mut forger, mut reader) = forger();
        forger.write(head, outcomes);
        assert!(reader.only_outcome(&mut Vec::new(), 1).is_none());
        assert!(reader.nonsense().is_some());
    }
}

#[test]
fn single_process_that_replies_without_end_is_left() {
    let (mut forger, mut reader) = forger();
    for sequence in 1..100 {
        let empty = Reply {
            sequence,
            ..Reply::default()
        };
        forger.write(empty, &[]);
    }
    assert!(reader.only_outcome(&mut Vec::new(), 1).is_none());
    assert!(reader.nonsense().is_some());
}

#[test]
fn descriptors_that_no_reply_needs_end_the_trust() {
    let (forger, mut reader) = forger();
    let memory = memory::memfd("test", 8192).unwrap();
    for id in 0..200 {
        let message = FromWorker::Attachments { id };
        forger.control.send(&message, &[memory.as_fd()]).unwrap();
    }
    reader.receive_all();
    assert!(reader.nonsense().is_some());
    assert!(reader.blobs.attached() <= MOST_ATTACHMENTS);
}

#[test]
fn message_that_is_none_ends_the_trust() {
    let (a, b) = socket::pair().unwrap();
    let [_, replies] = RingLayout::Worker.create(0).unwrap().rings;
    let control = Arc::new(ControlSocket::new(a));
    let mut reader = ReplyReader::new(Consumer::new(replies), control);
    socket::send(&b, &[3, 0xff, 0xff, 0xff], &[]).unwrap();
    reader.receive_all();
    assert!(reader.nonsense().is_some());
}

#[test]
fn worker_that_sent_its_first_message_was_ready() {
    let (forger, mut reader) = forger();
    assert!(!reader.was_ready());
    forger.control.send(&FromWorker::Ready, &[]).unwrap();
    assert!(reader.was_ready());
}

#[test]
fn result_beyond_the_limit_or_never_written_is_refused() {
    let (_, mut reader) = forger();
    let memory = memory::memfd("test", 100 << 20).unwrap();
    let blob = Some(Arc::new(MappedBlob::map(&memory).unwrap()));
    let why = reader.readable(blob.clone(), 90 << 20).unwrap_err();
    assert!(why.contains("what was written"), "{why}");
    assert!(reader.readable(blob.clone(), 1 << 20).is_ok());
    assert!(reader.readable(blob.clone(), 1 << 40).is_err());
    reader.limit_results(Some(1000));
    let why = reader.readable(blob, 1 << 20).unwrap_err();
    assert!(why.contains("at most 1000"), "{why}");
}

proptest::proptest! {
    /// Whatever a worker writes is a reply, nothing, or the end of the trust.
    #[test]
    fn arbitrary_frames_are_survived(frames: Vec<Vec<u8>>, first in 0_u64..3) {
        let (mut forger, mut reader) = forger();
        let mut bytes = Vec::new();
        for (sequence, frame) in (first..).zip(frames) {
            let (mut head, outcomes) = one(sequence, &frame);
            head.checksum = head.sum(&outcomes);
            let mut raw = head.to_bytes().to_vec();
            raw.extend(outcomes);
            for (at, byte) in frame.iter().take(8).enumerate() {
                let at = usize::from(*byte).wrapping_mul(at + 1) % raw.len();
                raw[at] ^= byte;
            }
            head = Reply::from_bytes(&raw).unwrap();
            let Some(mut writer) = forger.ring.begin(raw.len()) else { break };
            writer.extend(&raw);
            writer.commit(envelope::REPLY);
            if let Some(read) = reader.next(&mut bytes) {
                let found = &bytes[bytes.len() - read.bytes as usize..];
                proptest::prop_assert_eq!(read, head);
                proptest::prop_assert!(envelope::is_whole(&read, found));
            }
        }
    }
}
