//! Processes are killed a little later in their use of an object each time, until they were killed in every phase of
//! it: the others go on. A phase lasts about a microsecond, and the kills are a third of that apart.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use procession::ProcessHandle;
use procession::memory::Shared;
use procession::sync::{Barrier, Condvar, Event, Mutex, Once, RwLock, Semaphore};

use crate::deadline::{until, within};
use crate::executor::block_on;
use crate::leftovers::processes::kill_if_running;
use crate::seconds;

/// The time between the kills of two victims in a row, after each has begun.
const STEP: Duration = Duration::from_nanos(300);

/// After so many steps, the sweep begins again.
const STEPS: u32 = 400;

/// For how long it is tried to kill a victim in the phases that no kill has met.
const MOST_TIME: Duration = Duration::from_secs(60);

/// The phase in which a victim is; 0 before it begins.
type Phase = Shared<AtomicU64>;

/// Starts victims with `spawn` and kills each at another step. After each, `others_go_on`. Each of the `phases` is met.
async fn kill_at_every_step<F>(
    phases: &[u64],
    spawn: impl Fn(Phase) -> ProcessHandle<()>,
    others_go_on: impl Fn() -> F,
) where
    F: Future<Output = ()>,
{
    let begin = Instant::now();
    let mut missing: BTreeSet<_> = phases.iter().copied().collect();
    let goes_on = |is_missing| {
        let time = begin.elapsed();
        time < seconds() / 4 || (is_missing && time < MOST_TIME)
    };
    let mut step = 0;
    while goes_on(!missing.is_empty()) {
        let phase = Phase::new(AtomicU64::new(0)).unwrap();
        let victim = spawn(phase.clone());
        until(|| phase.load(Ordering::Relaxed) != 0).await;
        let moment = Instant::now() + STEP * (step % STEPS);
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        kill_if_running(victim.pid().unwrap());
        assert!(within(victim).await.is_err());
        missing.remove(&phase.load(Ordering::Relaxed));
        within(others_go_on()).await;
        step += 1;
    }
    assert!(missing.is_empty(), "no kill met {missing:?}");
}

const ASKS: u64 = 1;
const HOLDS: u64 = 2;
const ASKS_AGAIN: u64 = 3;
const HOLDS_AGAIN: u64 = 4;

fn enter(phase: &Phase, at: u64) {
    phase.store(at, Ordering::Relaxed);
}

fn lock_and_unlock(mutex: Mutex<[u64; 8]>, phase: Phase) {
    loop {
        enter(&phase, ASKS);
        let mut guard = mutex
            .blocking_lock()
            .unwrap_or_else(|_| mutex.blocking_recover());
        enter(&phase, HOLDS);
        for word in guard.iter_mut() {
            *word += 1;
        }
    }
}

#[procession::test]
async fn mutex_survives_a_kill_in_every_phase_of_its_use() {
    let mutex = Mutex::new([0; 8]).unwrap();
    kill_at_every_step(
        &[ASKS, HOLDS],
        |phase| procession::spawn(lock_and_unlock, (mutex.clone(), phase)),
        || async {
            let value = *mutex.recover().await;
            assert!(value.iter().all(|word| *word == value[0]), "torn");
            drop(mutex.lock().await.unwrap());
        },
    )
    .await;
}

fn write_and_read(lock: RwLock<[u64; 8]>, phase: Phase) {
    loop {
        enter(&phase, ASKS);
        let mut guard = lock
            .blocking_write()
            .unwrap_or_else(|_| lock.blocking_recover());
        enter(&phase, HOLDS);
        for word in guard.iter_mut() {
            *word += 1;
        }
        drop(guard);
        enter(&phase, ASKS_AGAIN);
        let guard = lock.blocking_read();
        enter(&phase, HOLDS_AGAIN);
        drop(guard);
    }
}

#[procession::test]
async fn rwlock_survives_a_kill_in_every_phase_of_its_use() {
    let lock = RwLock::new([0; 8]).unwrap();
    kill_at_every_step(
        &[ASKS, HOLDS, ASKS_AGAIN, HOLDS_AGAIN],
        |phase| procession::spawn(write_and_read, (lock.clone(), phase)),
        || async {
            let value = *lock.recover().await;
            assert!(value.iter().all(|word| *word == value[0]), "torn");
            drop(lock.read().await.unwrap());
            drop(lock.write().await.unwrap());
        },
    )
    .await;
}

fn acquire_and_release(semaphore: Semaphore, phase: Phase) {
    loop {
        enter(&phase, ASKS);
        let permits = semaphore.blocking_acquire_many(2).unwrap();
        enter(&phase, HOLDS);
        drop(permits);
    }
}

#[procession::test]
async fn semaphore_survives_a_kill_in_every_phase_of_its_use() {
    let semaphore = Semaphore::new(3).unwrap();
    kill_at_every_step(
        &[ASKS, HOLDS],
        |phase| procession::spawn(acquire_and_release, (semaphore.clone(), phase)),
        || async {
            drop(semaphore.acquire_many(3).await.unwrap());
            assert_eq!(semaphore.available_permits(), 3);
        },
    )
    .await;
}

/// Two threads of the victim pass a token to and fro.
fn wait_and_notify(token: Mutex<u64>, changed: Condvar, phase: Phase) {
    let pass = |parity: u64| {
        loop {
            let guard = token
                .blocking_lock()
                .unwrap_or_else(|_| token.blocking_recover());
            enter(&phase, ASKS + 2 * parity);
            let waited = changed.blocking_wait_while(guard, |token| *token % 2 != parity);
            let Ok(mut guard) = waited else { continue };
            enter(&phase, HOLDS + 2 * parity);
            *guard += 1;
            drop(guard);
            changed.notify_one();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| pass(0));
        scope.spawn(|| pass(1));
    });
}

/// No value that the victim's threads give the token.
const TOLD: u64 = u64::MAX;

#[procession::test]
async fn condvar_survives_a_kill_in_every_phase_of_its_use() {
    let (token, changed) = (Mutex::new(0).unwrap(), Condvar::new().unwrap());
    kill_at_every_step(
        &[ASKS, HOLDS, ASKS_AGAIN, HOLDS_AGAIN],
        |phase| procession::spawn(wait_and_notify, (token.clone(), changed.clone(), phase)),
        || async {
            drop(token.recover().await);
            let waits = changed.wait_while(token.lock().await.unwrap(), |token| *token != TOLD);
            let tells = async {
                *token.lock().await.unwrap() = TOLD;
                // The victim's parties are dead. This party waits, or was given the notification of a dead party.
                assert!(changed.notify(2) <= 1);
            };
            let (waited, ()) = tokio::join!(waits, tells);
            *waited.unwrap() = 0;
        },
    )
    .await;
}

/// Two threads of the victim meet.
fn meet(barrier: Barrier, phase: Phase) {
    let meet = |at| {
        loop {
            enter(&phase, at);
            let _ = barrier.blocking_wait();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| meet(ASKS));
        scope.spawn(|| meet(ASKS_AGAIN));
    });
}

#[procession::test]
async fn barrier_survives_a_kill_in_every_phase_of_its_use() {
    let barrier = Barrier::new(2).unwrap();
    kill_at_every_step(
        &[ASKS, ASKS_AGAIN],
        |phase| procession::spawn(meet, (barrier.clone(), phase)),
        || async {
            barrier.reset();
            let (first, second) = tokio::join!(barrier.wait(), barrier.wait());
            assert!(first.unwrap().is_leader() != second.unwrap().is_leader());
        },
    )
    .await;
}

fn run_once(once: Once, phase: Phase) {
    enter(&phase, ASKS);
    once.blocking_call_once(|| {
        loop {
            enter(&phase, HOLDS);
        }
    });
}

#[procession::test]
async fn once_survives_a_kill_in_every_phase_of_its_use() {
    let once = Once::new().unwrap();
    kill_at_every_step(
        &[HOLDS],
        |phase| procession::spawn(run_once, (once.clone(), phase)),
        || async { assert!(!once.is_completed()) },
    )
    .await;
    assert!(within(once.call_once(async || ())).await);
}

/// Sets and clears the flag, and counts how often it was set.
fn set_and_clear(event: Event, times_set: Shared<AtomicU64>, phase: Phase) {
    loop {
        enter(&phase, ASKS);
        event.set();
        times_set.fetch_add(1, Ordering::Relaxed);
        enter(&phase, HOLDS);
        event.clear();
    }
}

/// A thread of this process that waits for a flag again and again.
struct WaitingThread {
    waits: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl WaitingThread {
    fn start(event: &Event) -> Self {
        let (waits, is_over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (event, done, ends) = (event.clone(), Arc::clone(&waits), Arc::clone(&is_over));
        std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                event.blocking_wait();
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { waits, is_over }
    }

    /// It waits and is woken, for as long as the flag is set.
    async fn goes_on(&self) {
        let before = self.waits.load(Ordering::Relaxed);
        until(|| self.waits.load(Ordering::Relaxed) > before + 1).await;
    }
}

impl Drop for WaitingThread {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

#[procession::test]
async fn event_survives_a_kill_in_every_phase_of_setting_it() {
    let event = Event::new().unwrap();
    let times_set = Shared::new(AtomicU64::new(0)).unwrap();
    let thread = WaitingThread::start(&event);
    let begun = Cell::new(None);
    kill_at_every_step(
        &[ASKS, HOLDS],
        |phase| {
            event.clear();
            times_set.store(0, Ordering::Relaxed);
            let waiting = event.clone();
            let mut wait = Box::pin(async move { waiting.wait().await });
            assert!((&mut wait).now_or_never().is_none());
            begun.set(Some(wait));
            procession::spawn(set_and_clear, (event.clone(), times_set.clone(), phase))
        },
        || async {
            let wait = begun.take().unwrap();
            // A wait that began before the victim ends if the victim has set the flag, whether or not it could wake it.
            if times_set.load(Ordering::Relaxed) == 0 && !event.is_set() {
                event.set();
            }
            wait.await;
            event.set();
            thread.goes_on().await;
        },
    )
    .await;
    drop(thread);
    event.set();
}

/// One thread of the victim waits, as a thread and as a task, for another one.
fn wait_for_a_thread(event: Event, phase: Phase) {
    let set_and_clear = || {
        loop {
            event.set();
            event.clear();
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(set_and_clear);
        loop {
            enter(&phase, ASKS);
            event.blocking_wait();
            enter(&phase, ASKS_AGAIN);
            block_on(event.wait());
        }
    });
}

#[procession::test]
async fn event_survives_a_kill_in_every_phase_of_waiting_for_it() {
    let event = Event::new().unwrap();
    let thread = WaitingThread::start(&event);
    kill_at_every_step(
        &[ASKS, ASKS_AGAIN],
        |phase| procession::spawn(wait_for_a_thread, (event.clone(), phase)),
        || async {
            event.clear();
            let mut wait = event.wait();
            assert!((&mut wait).now_or_never().is_none());
            event.set();
            wait.await;
            thread.goes_on().await;
            event.clear();
        },
    )
    .await;
    drop(thread);
    event.set();
}
