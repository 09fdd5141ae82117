//! Locks between processes: ours, and the mutex of the C library in shared memory, which is the floor.
//!
//! # Safety
//!
//! The mutex lies in memory that is mapped for as long as the program runs and that `fork`ed children inherit.
//! `pthread_mutex_init(3)` is called once, before any other use.
#![allow(unsafe_code)]

use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use procession::spawn;
use procession::sync::{Event, Mutex};
use serde::{Deserialize, Serialize};

use crate::{runtime, stopwatch};

pub(crate) fn uncontended() -> Vec<f64> {
    let mutex = Mutex::new(0_u64).expect("there is memory");
    stopwatch::rates(|times| add_blocking(&mutex, times))
}

pub(crate) fn uncontended_awaited() -> Vec<f64> {
    let mutex = Mutex::new(0_u64).expect("there is memory");
    stopwatch::rates(|times| runtime::on_this_thread(add(&mutex, times)))
}

/// Two processes, each half of the times.
pub(crate) fn two_processes() -> Vec<f64> {
    runtime::on_this_thread(async {
        let mutex = Mutex::new(0_u64).expect("there is memory");
        stopwatch::rates_awaited(|times| {
            let mutex = mutex.clone();
            async move {
                let begin = Event::new().expect("there is memory");
                let half = times / 2;
                let other = spawn(add_when, (mutex.clone(), begin.clone(), half));
                begin.set();
                add_blocking(&mutex, half);
                other.await.expect("it only adds");
            }
        })
        .await
    })
}

/// From the unlocking in one process to the locking in another, which waits for the lock.
pub(crate) fn hand_over() -> Vec<f64> {
    runtime::on_this_thread(async {
        let stage = Stage::new();
        let other = spawn(receive, stage.clone());
        let mut samples = Vec::with_capacity(HAND_OVERS);
        for _ in 0..HAND_OVERS {
            samples.push(stage.hand_over().await);
        }
        other.abort();
        samples
    })
}

const HAND_OVERS: usize = 500;

/// After so many yields of the processor the other process, which has said that it begins to wait, waits at the lock. A
/// sleep would measure processors that sleep, too.
const UNTIL_IT_WAITS: usize = 100;

/// What both processes have.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stage {
    /// When the lock was given, and how many nanoseconds later it was had.
    lock: Mutex<[u64; 2]>,
    begin: Event,
    begun: Event,
    done: Event,
}

impl Stage {
    fn new() -> Self {
        let event = || Event::new().expect("there is memory");
        Self {
            lock: Mutex::new([0; 2]).expect("there is memory"),
            begin: event(),
            begun: event(),
            done: event(),
        }
    }

    /// The seconds that a hand-over takes.
    async fn hand_over(&self) -> f64 {
        let mut lock = self.lock.lock().await.expect("the other lives");
        self.begin.set();
        take(&self.begun).await;
        for _ in 0..UNTIL_IT_WAITS {
            std::thread::yield_now();
        }
        lock[0] = nanoseconds();
        drop(lock);
        take(&self.done).await;
        let lock = self.lock.lock().await.expect("the other lives");
        lock[1] as f64 / 1e9
    }
}

async fn receive(stage: Stage) {
    loop {
        take(&stage.begin).await;
        stage.begun.set();
        let mut lock = stage.lock.lock().await.expect("the other lives");
        lock[1] = nanoseconds() - lock[0];
        drop(lock);
        stage.done.set();
    }
}

async fn take(event: &Event) {
    event.wait().await;
    event.clear();
}

/// The clock that both processes have.
fn nanoseconds() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a place for a time.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

async fn add(mutex: &Mutex<u64>, times: u64) {
    for _ in 0..times {
        *mutex.lock().await.expect("no holder dies") += 1;
    }
}

fn add_blocking(mutex: &Mutex<u64>, times: u64) {
    for _ in 0..times {
        *mutex.blocking_lock().expect("no holder dies") += 1;
    }
}

fn add_when(mutex: Mutex<u64>, begin: Event, times: u64) {
    begin.blocking_wait();
    add_blocking(&mutex, times);
}

/// The mutex of the C library, and what it guards.
#[derive(Debug)]
struct RawMutex(ptr::NonNull<Guarded>);

#[repr(C)]
struct Guarded {
    mutex: libc::pthread_mutex_t,
    value: AtomicU64,
}

impl RawMutex {
    fn new() -> Self {
        let (rights, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a fresh range chosen by the kernel; nothing existing is replaced.
        let memory = unsafe { libc::mmap(ptr::null_mut(), 4096, rights, flags, -1, 0) };
        assert_ne!(memory, libc::MAP_FAILED, "there is memory");
        let guarded = ptr::NonNull::new(memory.cast::<Guarded>()).expect("it was mapped");
        // SAFETY: zero is a value of the attributes until they are initialised below.
        let mut attributes: libc::pthread_mutexattr_t = unsafe { mem::zeroed() };
        // SAFETY: a place for attributes.
        unsafe { libc::pthread_mutexattr_init(&raw mut attributes) };
        let shared = libc::PTHREAD_PROCESS_SHARED;
        // SAFETY: the attributes were initialised.
        unsafe { libc::pthread_mutexattr_setpshared(&raw mut attributes, shared) };
        // SAFETY: the mapping is large enough, aligned, and lives as long as the program.
        let mutex = unsafe { &raw mut (*guarded.as_ptr()).mutex };
        // SAFETY: nothing else uses the mutex yet.
        unsafe { libc::pthread_mutex_init(mutex, &raw const attributes) };
        Self(guarded)
    }

    fn add(&self, times: u64) {
        // SAFETY: the mapping lives as long as the program.
        let mutex = unsafe { &raw mut (*self.0.as_ptr()).mutex };
        // SAFETY: likewise; the value is an atomic, which every process may change.
        let value = unsafe { &(*self.0.as_ptr()).value };
        for _ in 0..times {
            // SAFETY: it was initialised.
            unsafe { libc::pthread_mutex_lock(mutex) };
            value.store(value.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            // SAFETY: this thread has locked it.
            unsafe { libc::pthread_mutex_unlock(mutex) };
        }
    }
}

pub(crate) fn raw_uncontended() -> Vec<f64> {
    let mutex = RawMutex::new();
    stopwatch::rates(|times| mutex.add(times))
}

pub(crate) fn raw_two_processes() -> Vec<f64> {
    let mutex = RawMutex::new();
    stopwatch::rates(|times| {
        // SAFETY: this program has one thread here, and the copy calls nothing but the mutex and `_exit`.
        let copy = unsafe { libc::fork() };
        mutex.add(times / 2);
        if copy == 0 {
            // SAFETY: ends the copy.
            unsafe { libc::_exit(0) };
        }
        // SAFETY: waits for the copy, and stores nothing.
        unsafe { libc::waitpid(copy, ptr::null_mut(), 0) };
    })
}
