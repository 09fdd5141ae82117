//! The ring against what a queue of byte strings should do.

use std::collections::VecDeque;

use super::*;
use crate::sys::mapping;

const CAPACITY: usize = 1 << 16;

fn ends() -> (Producer, Consumer) {
    let memory = mapping::memfd("ring-test", Ring::footprint(CAPACITY)).unwrap();
    let ring = Ring::map(&memory, 0, CAPACITY).unwrap();
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

#[test]
fn frames_come_out_as_they_went_in_over_many_laps() {
    let (mut producer, mut consumer) = ends();
    let mut model = VecDeque::new();
    let mut seed = 1_u64;
    for round in 0..200_000_u64 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let len = (seed >> 33) as usize % 3000;
        let bytes = vec![round as u8; len];
        if put(&mut producer, &bytes) {
            model.push_back(bytes);
        } else {
            assert_eq!(get(&mut consumer), model.pop_front());
        }
        if seed.is_multiple_of(3) {
            assert_eq!(get(&mut consumer), model.pop_front());
        }
    }
    while let Some(expected) = model.pop_front() {
        assert_eq!(get(&mut consumer), Some(expected));
    }
    assert_eq!(get(&mut consumer), None);
}

#[test]
fn what_was_not_committed_never_was() {
    let (mut producer, mut consumer) = ends();
    let mut writer = producer.begin(100).unwrap();
    assert!(writer.extend(&[1; 100]));
    let _ = writer; // it is never committed
    assert_eq!(get(&mut consumer), None);
    assert!(put(&mut producer, b"after"));
    assert_eq!(get(&mut consumer).unwrap(), b"after");
}

#[test]
fn a_frame_that_does_not_fit_is_refused_until_there_is_space() {
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
fn a_sleeping_consumer_is_taken_exactly_once() {
    let (mut producer, mut consumer) = ends();
    assert!(consumer.announce_sleep());
    assert!(put(&mut producer, b"x"));
    assert!(producer.take_sleeping_consumer());
    assert!(!producer.take_sleeping_consumer());
    assert!(!consumer.announce_sleep());
}

#[test]
fn counters_and_lengths_that_cannot_be_are_errors() {
    use std::sync::atomic::Ordering;
    let memory = mapping::memfd("ring-test", Ring::footprint(CAPACITY)).unwrap();
    let ring = Ring::map(&memory, 0, CAPACITY).unwrap();
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
fn a_shown_frame_is_found_beyond_the_last_committed_one() {
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
fn cursors_count_across_the_end_of_their_numbers() {
    let memory = mapping::memfd("ring-test", Ring::footprint(CAPACITY)).unwrap();
    let ring = Ring::map(&memory, 0, CAPACITY).unwrap();
    let near_the_end = u64::MAX - 3;
    ring.head()
        .store(near_the_end, std::sync::atomic::Ordering::Relaxed);
    ring.tail()
        .store(near_the_end, std::sync::atomic::Ordering::Relaxed);
    let (mut producer, mut consumer) = (Producer::new(ring.clone()), Consumer::new(ring.clone()));
    for n in 0..100_u8 {
        assert!(put(&mut producer, &[n; 40]) && put(&mut producer, b""));
        assert_eq!((producer.frames(), ring.frames()), (2, 2));
        assert_eq!(get(&mut consumer).unwrap(), [n; 40]);
        assert_eq!(get(&mut consumer).unwrap(), b"");
    }
    assert_eq!(producer.frames(), 0);
}
