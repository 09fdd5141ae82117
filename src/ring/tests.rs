//! The ring compared with a queue of byte strings.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;
use crate::sys::buffer::StackBuf;

const CAPACITY: usize = if cfg!(miri) { 1 << 12 } else { 1 << 16 };

fn ring(capacity: usize) -> Ring {
    #[cfg(miri)]
    return Ring::private(capacity);
    #[cfg(not(miri))]
    {
        let len = Ring::footprint(capacity);
        let memory = crate::sys::memory::memfd("ring-test", len).unwrap();
        Ring::map(&memory, 0, capacity).unwrap()
    }
}

fn ends() -> (Producer, Consumer) {
    let ring = ring(CAPACITY);
    (Producer::new(ring.clone()), Consumer::new(ring))
}

fn put(producer: &mut Producer, bytes: &[u8]) -> bool {
    let Some(mut writer) = producer.begin(bytes.len()) else {
        return false;
    };
    assert!(writer.extend(bytes));
    writer.commit(7);
    true
}

fn get(consumer: &mut Consumer) -> Option<Vec<u8>> {
    let frame = consumer.peek().unwrap()?;
    assert_eq!(frame.kind(), 7);
    let mut out = Vec::new();
    consumer.copy(frame, 0, frame.len(), &mut out);
    consumer.release(frame);
    Some(out)
}

/// An operation on a ring.
#[derive(Debug, Clone)]
enum Action {
    /// A frame of this many bytes, written in pieces.
    Put(usize),
    /// A frame that is begun and never committed.
    Abandon(usize),
    Get,
    /// Another producer or consumer takes over, as under a channel's locks.
    NextProducer,
    NextConsumer,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let len = || prop_oneof![0..64_usize, 0..5_000_usize, SMALL - 40..SMALL + 8];
    let action = prop_oneof![
        5 => len().prop_map(Action::Put),
        1 => len().prop_map(Action::Abandon),
        5 => Just(Action::Get),
        1 => Just(Action::NextProducer),
        1 => Just(Action::NextConsumer),
    ];
    proptest::collection::vec(action, 0..400)
}

/// The smallest ring on most machines.
const SMALL: usize = 4096;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Starts at any position, so that cursors wrap.
    #[test]
    #[cfg_attr(miri, ignore = "frames cross the end")]
    fn ring_behaves_as_a_queue_of_byte_strings(start: u64, actions in actions()) {
        let capacity = SMALL.max(rustix::param::page_size());
        let ring = ring(capacity);
        ring.head().store(start, Ordering::Relaxed);
        ring.tail().store(start, Ordering::Relaxed);
        let mut producer = Producer::new(ring.clone());
        let mut consumer = Consumer::new(ring.clone());
        let mut model = VecDeque::<Vec<u8>>::new();
        for (n, action) in actions.into_iter().enumerate() {
            let taken: usize = model.iter().map(|bytes| (8 + bytes.len()).next_multiple_of(8)).sum();
            let fits = |len: usize| (8 + len).next_multiple_of(8) <= capacity - taken;
            match action {
                Action::Put(len) => {
                    let bytes: Vec<u8> = (0..len).map(|i| (i * 7 + n) as u8).collect();
                    prop_assert_eq!(put(&mut producer, &bytes), fits(len));
                    model.extend(fits(len).then_some(bytes));
                }
                Action::Abandon(len) => {
                    let begun = producer.begin(len);
                    prop_assert_eq!(begun.is_some(), fits(len));
                    if let Some(mut writer) = begun {
                        prop_assert!(writer.extend(&vec![0xee; len]));
                    }
                }
                Action::Get => prop_assert_eq!(get(&mut consumer), model.pop_front()),
                Action::NextProducer => producer = Producer::new(ring.clone()),
                Action::NextConsumer => consumer = Consumer::new(ring.clone()),
            }
            prop_assert_eq!((producer.frames(), ring.frames()), (model.len(), model.len()));
            prop_assert_eq!(consumer.is_empty(), model.is_empty());
        }
    }

    /// Any overwritten counter or header gives an error or a frame inside the ring.
    #[test]
    #[cfg_attr(miri, ignore = "frames cross the end")]
    fn consumer_of_an_overwritten_ring_stays_inside(head: u64, tail: u64, header: u64) {
        let ring = ring(CAPACITY);
        ring.tail().store(tail, Ordering::Relaxed);
        let mut consumer = Consumer::new(ring.clone());
        ring.head().store(head, Ordering::Relaxed);
        ring.word(Cursor::from_bits(tail), 0).store(header, Ordering::Relaxed);
        if let Ok(Some(frame)) = consumer.peek() {
            let mut out = Vec::new();
            consumer.copy(frame, 0, frame.len(), &mut out);
            prop_assert!(out.len() < CAPACITY);
            consumer.release(frame);
        }
        let mut producer = Producer::new(ring);
        if let Some(mut writer) = producer.begin(100) {
            writer.extend(&[1; 100]);
            writer.commit(1);
        }
    }
}

/// Frames of 64 bytes never cross the end, so that Miri can run this, too: several times around the ring.
#[test]
fn consumer_on_another_thread_reads_what_was_written() {
    let (mut producer, mut consumer) = ends();
    let frames = 3 * CAPACITY as u64 / 64 + 5;
    let writer = std::thread::spawn(move || {
        for number in 0..frames {
            let body = [number as u8; 48];
            loop {
                if let Some(mut writer) = producer.begin(56) {
                    assert!(writer.extend(&number.to_ne_bytes()) && writer.extend(&body));
                    writer.commit(7);
                    break;
                }
                std::thread::yield_now();
            }
        }
    });
    for number in 0..frames {
        let frame = loop {
            match consumer.peek().unwrap() {
                Some(frame) => break frame,
                None => std::thread::yield_now(),
            }
        };
        assert_eq!(consumer.word(frame, 0).load(Ordering::Relaxed), number);
        // Both ways of reading give the same bytes.
        let mut room = StackBuf::new();
        consumer.copy_to(frame, &mut room);
        let mut bytes = Vec::new();
        consumer.copy(frame, 8, 48, &mut bytes);
        assert_eq!(room.bytes()[8..], bytes);
        assert_eq!(bytes, [number as u8; 48]);
        consumer.release(frame);
    }
    writer.join().unwrap();
    assert!(consumer.is_empty());
}

#[test]
fn frame_without_commit_is_not_seen() {
    let (mut producer, mut consumer) = ends();
    let mut writer = producer.begin(100).unwrap();
    assert!(writer.extend(&[1; 100]));
    let _ = writer; // it is never committed
    assert_eq!(get(&mut consumer), None);
    assert!(put(&mut producer, b"after"));
    assert_eq!(get(&mut consumer).unwrap(), b"after");
}

#[test]
fn frame_that_does_not_fit_waits_for_space() {
    let (mut producer, mut consumer) = ends();
    assert!(producer.begin(CAPACITY).is_none());
    let largest = CAPACITY - 8;
    assert!(put(&mut producer, &vec![3; largest]));
    assert!(!put(&mut producer, b""));
    assert!(producer.announce_sleep(0));
    assert_eq!(get(&mut consumer).unwrap().len(), largest);
    assert!(consumer.take_sleeping_producer());
    assert!(!consumer.take_sleeping_producer());
    assert!(put(&mut producer, b""));
    assert_eq!(get(&mut consumer).unwrap(), b"");
}

#[test]
fn sleeping_consumer_is_taken_exactly_once() {
    let (mut producer, mut consumer) = ends();
    assert!(consumer.announce_sleep());
    assert!(put(&mut producer, b"x"));
    assert!(producer.take_sleeping_consumer());
    assert!(!producer.take_sleeping_consumer());
    assert!(!consumer.announce_sleep());
}

#[test]
fn end_succeeds_on_an_empty_ring_and_lasts() {
    let (mut producer, mut consumer) = ends();
    let commit = |producer: &mut Producer| {
        let mut writer = producer.begin(8).unwrap();
        assert!(writer.extend(&[1; 8]));
        writer.commit_unless_ended(7)
    };
    assert!(commit(&mut producer));
    assert!(!consumer.end());
    assert_eq!(get(&mut consumer).unwrap(), [1; 8]);
    assert!(consumer.end() && consumer.end());
    assert!(!commit(&mut producer) && !commit(&mut producer));
    assert_eq!(get(&mut consumer), None);
    assert!(consumer.is_empty() && producer.frames() == 0);
}

/// The later of the two operations fails.
#[test]
fn commit_after_end_fails() {
    let rounds = if cfg!(miri) { 10 } else { 500 };
    for _ in 0..rounds {
        let (mut producer, mut consumer) = ends();
        let writer = std::thread::spawn(move || {
            let commits = (0..100).take_while(|_| {
                let writer = producer.begin(0);
                writer.is_some_and(|writer| writer.commit_unless_ended(7))
            });
            commits.count()
        });
        let mut taken = 0;
        loop {
            while let Some(frame) = consumer.peek().unwrap() {
                consumer.release_loudly(frame);
                taken += 1;
            }
            if taken > 0 && consumer.end() {
                break;
            }
            std::thread::yield_now();
        }
        assert_eq!(writer.join().unwrap(), taken);
        assert!(consumer.is_empty());
    }
}

#[test]
fn impossible_counters_and_lengths_are_errors() {
    let ring = ring(CAPACITY);
    for bad in [CAPACITY as u64 / 8 + 1, u64::MAX, u64::MAX >> 24] {
        let mut consumer = Consumer::new(ring.clone());
        ring.head().store(bad, Ordering::Relaxed);
        assert_eq!(consumer.peek(), Err(Corrupt), "{bad}");
        ring.head().store(0, Ordering::Relaxed);
    }
    let mut consumer = Consumer::new(ring.clone());
    ring.word(Cursor::default(), 0)
        .store(u64::from(u32::MAX), Ordering::Relaxed);
    ring.head().store(8, Ordering::Relaxed);
    assert_eq!(consumer.peek(), Err(Corrupt));
}

#[test]
fn shown_frame_is_found_beyond_the_last_committed_one() {
    let (mut producer, mut consumer) = ends();
    assert!(put(&mut producer, b"whole"));
    let mut writer = producer.begin(64).unwrap();
    writer.show(9);
    assert!(writer.extend(b"half of it"));
    let _ = writer; // it is never committed
    assert_eq!(get(&mut consumer).unwrap(), b"whole");
    let beyond = consumer.beyond().unwrap();
    assert_eq!((beyond.kind(), beyond.len()), (9, 64));
}

#[test]
#[cfg_attr(miri, ignore = "frames cross the end")]
fn cursors_count_across_the_wrap() {
    let ring = ring(CAPACITY);
    let near_the_end = u64::MAX - 3;
    ring.head().store(near_the_end, Ordering::Relaxed);
    ring.tail().store(near_the_end, Ordering::Relaxed);
    let (mut producer, mut consumer) = (Producer::new(ring.clone()), Consumer::new(ring.clone()));
    for n in 0..100_u8 {
        assert!(put(&mut producer, &[n; 40]) && put(&mut producer, b""));
        assert_eq!((producer.frames(), ring.frames()), (2, 2));
        assert_eq!(get(&mut consumer).unwrap(), [n; 40]);
        assert_eq!(get(&mut consumer).unwrap(), b"");
    }
    assert_eq!(producer.frames(), 0);
}

#[test]
#[cfg_attr(miri, ignore = "needs the kernel")]
fn flat_ring_takes_frames_before_its_end_alone() {
    let memory =
        crate::sys::memory::memfd("ring-test", 2 * Ring::flat_footprint(CAPACITY)).unwrap();
    let [requests, replies] = Ring::flat(&memory, CAPACITY).unwrap();
    let [theirs, _] = Ring::flat(&memory, CAPACITY).unwrap();
    let (mut producer, mut consumer) = (Producer::new(requests.clone()), Consumer::new(theirs));
    let half = vec![5; CAPACITY / 2];
    assert!(put(&mut producer, &half) && !put(&mut producer, &half));
    assert_eq!(get(&mut consumer).as_deref(), Some(&half[..]));
    // The beginning has space again, but not for a frame that crosses the end.
    assert!(!put(&mut producer, &half) && put(&mut producer, &half[..100]));
    assert_eq!(get(&mut consumer).as_deref(), Some(&half[..100]));
    assert!(consumer.peek().unwrap().is_none());
    // The other ring is untouched.
    assert!(Consumer::new(replies).is_empty());

    // A possible counter with a length that leads beyond the end.
    let position = requests.head().load(Ordering::Relaxed);
    let writer = producer.begin(half.len() - 200).unwrap();
    let start = writer.commit(7);
    assert_eq!(start, Cursor::from_bits(position));
    requests
        .word(start, 0)
        .store((CAPACITY - 8) as u64, Ordering::Relaxed);
    requests
        .head()
        .store(start.after(CAPACITY).to_bits(), Ordering::Release);
    assert!(matches!(consumer.peek(), Err(Corrupt)));
}
