//! Two processes at one lock are two holders here, each with a registration of its own: a holder knows nothing of the
//! other but what the kernel says.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::holder::Registration;
use super::word::{HolderNumber, LockWord};
use super::*;
use crate::sys::memory;
use crate::sys::memory::Mapping;

const AT: usize = 64;

fn memory() -> OwnedFd {
    memory::memfd("lock-test", 4096).unwrap()
}

/// The lock in `memory` as a process of its own sees it.
fn lock(memory: &OwnedFd) -> SharedLock {
    let mapping = Arc::new(Mapping::whole(memory, 4096).unwrap());
    SharedLock::new(mapping, AT, 0, Arc::new(Holder::unshared(memory).unwrap()))
}

fn overwrite(memory: &OwnedFd, bits: u64) {
    let mapping = Mapping::whole(memory, 4096).unwrap();
    mapping.word(AT).store(bits, Ordering::Relaxed);
}

/// The word of a lock that `registration` has acquired.
fn owned_by(registration: &Registration) -> u64 {
    let free = LockWord::from_bits(41);
    free.acquired_by(registration.number()).to_bits()
}

fn is_busy(lock: &SharedLock) -> bool {
    matches!(lock.try_lock_asking(), TryLock::Busy)
}

fn is_taken_over(lock: &SharedLock) -> bool {
    matches!(lock.try_lock_asking(), TryLock::OwnerDied(_))
}

#[test]
fn lock_has_one_owner_among_the_threads_of_a_process() {
    let memory = memory();
    let lock = Arc::new(lock(&memory));
    let TryLock::Locked(guard) = lock.try_lock() else {
        panic!("it was free");
    };
    let other = Arc::clone(&lock);
    let attempts = std::thread::spawn(move || (0..100).all(|_| is_busy(&other)));
    assert!(attempts.join().unwrap());
    assert!(guard.is_held());
    drop(guard);
    assert!(matches!(lock.try_lock(), TryLock::Locked(_)));
}

#[test]
fn ends_of_a_process_share_a_holder() {
    let memory = memory();
    let first = Holder::of(&memory).unwrap();
    let second = Holder::of(&memory.try_clone().unwrap()).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    let elsewhere = Holder::of(&super::tests::memory()).unwrap();
    assert!(!Arc::ptr_eq(&first, &elsewhere));
}

#[test]
fn lock_has_one_owner_among_processes() {
    let memory = memory();
    let (here, there) = (lock(&memory), lock(&memory));
    let TryLock::Locked(guard) = here.try_lock() else {
        panic!("it was free");
    };
    assert!((0..100).all(|_| is_busy(&there)));
    drop(guard);
    assert!(matches!(there.try_lock(), TryLock::Locked(_)));
}

#[test]
fn lock_of_a_dead_process_is_taken_over_once() {
    let memory = memory();
    let (here, there) = (lock(&memory), Holder::unshared(&memory).unwrap());
    overwrite(&memory, owned_by(there.here().unwrap()));
    assert!(is_busy(&here));
    drop(there);
    let attempts = (0..1000).position(|_| matches!(here.try_lock(), TryLock::OwnerDied(_)));
    assert!(
        attempts.is_some_and(|attempts| attempts < 20),
        "{attempts:?}"
    );
    assert!(matches!(here.try_lock(), TryLock::Locked(_)));
}

#[test]
fn owner_that_was_taken_to_be_dead_notices() {
    let memory = memory();
    let (here, there, third) = (lock(&memory), lock(&memory), lock(&memory));
    let TryLock::Locked(old) = there.try_lock() else {
        panic!("it was free");
    };
    // What closing the owner's descriptor comes to: its number is the number of no process.
    let number = std::num::NonZeroU32::MIN;
    let stranger = HolderNumber::registered(number);
    overwrite(
        &memory,
        LockWord::from_bits(0).acquired_by(stranger).to_bits(),
    );
    let TryLock::OwnerDied(new) = here.try_lock_asking() else {
        panic!("its owner does not exist");
    };
    assert!(!old.is_held());
    drop(old);
    assert!(new.is_held());
    assert!(is_busy(&third));
    drop(new);
    assert!(matches!(third.try_lock(), TryLock::Locked(_)));
}

#[test]
fn word_that_names_its_own_process_is_taken_over_at_once() {
    let memory = memory();
    let holder = Arc::new(Holder::unshared(&memory).unwrap());
    let mapping = Arc::new(Mapping::whole(&memory, 4096).unwrap());
    let here = SharedLock::new(mapping, AT, 0, Arc::clone(&holder));
    overwrite(&memory, owned_by(holder.here().unwrap()));
    assert!(matches!(here.try_lock(), TryLock::OwnerDied(_)));
    assert!(matches!(here.try_lock(), TryLock::Locked(_)));
}

#[test]
fn every_word_that_names_no_process_can_be_locked() {
    let memory = memory();
    let here = lock(&memory);
    let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..1000 {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        // Below 2³¹: an unregistered holder has a second.
        let word = bits & (u64::MAX >> 1);
        overwrite(&memory, word);
        assert!(is_taken_over(&here), "{word:x}");
        assert!(matches!(here.try_lock(), TryLock::Locked(_)));
    }
}

#[test]
fn unregistered_owner_has_one_second() {
    let memory = memory();
    let here = lock(&memory);
    overwrite(&memory, u64::MAX);
    let begin = std::time::Instant::now();
    while is_busy(&here) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let waited = begin.elapsed();
    assert!(waited.as_millis() >= 1000, "{waited:?}");
    assert!(matches!(here.try_lock(), TryLock::Locked(_)));
}

#[test]
fn overwritten_word_of_an_owner_is_not_changed_by_it() {
    let memory = memory();
    let (here, there) = (lock(&memory), lock(&memory));
    let TryLock::Locked(guard) = here.try_lock() else {
        panic!("it was free");
    };
    overwrite(&memory, 7);
    assert!(!guard.is_held());
    let TryLock::Locked(other) = there.try_lock() else {
        panic!("the word says that it is free");
    };
    drop(guard);
    assert!(other.is_held());
}
