//! An object in this process: its memory, its doorbells, and the tasks and threads of this process that wait.
//!
//! All handles of a process to the same object share one local side. What must stay true: no waker is woken or dropped
//! under a lock of this file; a task is registered before it looks for the last time. Never here: what the parties wait
//! for; see `serving` and the objects.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Waker;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use tokio::runtime::{Handle, Id};
use tokio::task::AbortHandle;

use super::object_kind::ObjectKind;
use super::object_memory::{ObjectMemory, Party};
use super::party_word::{PartyState, PartyWord};
use crate::codec::attachments;
use crate::lock::{Holder, SharedLock};
use crate::own_runtime;
use crate::own_runtime::Stay;
use crate::sys::doorbell::Doorbell;
use crate::sys::futex;
use crate::sys::memory;
use crate::sys::reactor::Watched;

/// How many doorbells an object has. Processes that share a doorbell wake each other in vain.
pub(super) const BELLS: usize = 2;

/// The local sides of this process, by the identity of their memory. It is tried and never waited for: a forked copy
/// may have been made while another thread had it. Without it two handles have two local sides, which costs
/// descriptors.
static LOCAL_SIDES: Mutex<BTreeMap<u64, Weak<LocalSide>>> = Mutex::new(BTreeMap::new());

/// An object in this process.
#[derive(Debug)]
pub(super) struct LocalSide {
    pub(super) memory: ObjectMemory,
    pub(super) serving_lock: SharedLock,
    holder: Arc<Holder>,
    bells: [Doorbell; BELLS],
    pub(super) own_bell: u8,
    /// The tasks that wait, by the record of their party.
    tasks: Mutex<BTreeMap<usize, SleepingTask>>,
    /// How many parties of this process sleep.
    sleepers: Arc<AtomicUsize>,
    /// The process in which the watcher knows this, by its epoch.
    pub(super) watched_in: AtomicU64,
    /// To be called when this is gone.
    pub(super) when_gone: OnceLock<fn()>,
    /// What listens to the own doorbell in each runtime that a task waits in.
    listeners: Mutex<Vec<(Id, AbortHandle)>>,
}

/// A task's waker, and what keeps the crate's own runtime driven if the task waits there.
#[derive(Debug)]
struct SleepingTask(Waker, Option<Stay>);

impl LocalSide {
    /// Makes an object.
    pub(super) fn create(
        kind: ObjectKind,
        parameter: u64,
        value_bytes: usize,
    ) -> io::Result<Arc<Self>> {
        let memory = ObjectMemory::create(kind, parameter, value_bytes)?;
        Self::with(memory, [Doorbell::new()?, Doorbell::new()?])
    }

    fn with(memory: ObjectMemory, bells: [Doorbell; BELLS]) -> io::Result<Arc<Self>> {
        let holder = Arc::new(Holder::registered(memory.file())?);
        let identity = memory::identity(memory.file())?;
        let side = Arc::new(Self {
            serving_lock: memory.serving_lock(&holder),
            own_bell: (memory.next_opening() % BELLS as u64) as u8,
            memory,
            holder,
            bells,
            tasks: Mutex::default(),
            sleepers: Arc::default(),
            watched_in: AtomicU64::new(0),
            when_gone: OnceLock::new(),
            listeners: Mutex::default(),
        });
        if let Ok(mut sides) = LOCAL_SIDES.try_lock() {
            sides.retain(|_, side| side.strong_count() > 0);
            sides.insert(identity, Arc::downgrade(&side));
        }
        Ok(side)
    }

    /// The object of this process in `memory`, if there is one.
    fn known(file: &OwnedFd) -> Option<Arc<Self>> {
        let identity = memory::identity(file).ok()?;
        let side = LOCAL_SIDES.try_lock().ok()?.get(&identity)?.upgrade()?;
        // The numbers of files are used again. A file that a living side holds open keeps its number.
        let is_same = memory::identity(side.memory.file()).ok()? == identity;
        is_same.then_some(side)
    }

    /// The object in `file`, which another process sent.
    fn arrived(
        file: OwnedFd,
        bells: [OwnedFd; BELLS],
        kind: ObjectKind,
        value_bytes: usize,
    ) -> io::Result<Arc<Self>> {
        let memory = ObjectMemory::open(file, kind, value_bytes)?;
        if let Some(known) = Self::known(memory.file()) {
            if known.memory.is_like(&memory) {
                return Ok(known);
            }
        }
        let bells = bells.map(Doorbell::from);
        match bells.iter().all(Doorbell::is_intact) {
            true => Self::with(memory, bells),
            false => Err(io::Error::from(io::ErrorKind::InvalidData)),
        }
    }

    /// The number of this process; `None` if this is a forked copy that cannot register now.
    #[inline]
    pub(super) fn number(&self) -> Option<NonZeroU32> {
        self.holder.number_in_kernel()
    }

    /// Whether the process that `number` names exists.
    pub(super) fn is_alive(&self, number: NonZeroU32) -> bool {
        self.holder.is_alive(number)
    }

    /// Notes that a party of this process sleeps no longer.
    pub(super) fn end_sleep(&self) {
        self.sleepers.fetch_sub(1, Ordering::AcqRel);
    }

    /// How many parties of this process sleep.
    pub(super) fn sleepers(&self) -> &Arc<AtomicUsize> {
        &self.sleepers
    }

    /// Has the task woken when the party in the record `index` waits no longer.
    pub(super) fn register(self: &Arc<Self>, index: usize, waker: &Waker) {
        let stay = self.listen();
        let mut tasks = lock(&self.tasks);
        let is_known = tasks
            .get(&index)
            .is_some_and(|SleepingTask(known, _)| known.will_wake(waker));
        if !is_known {
            let replaced = tasks.insert(index, SleepingTask(waker.clone(), stay));
            // Dropping a waker may end a task, which drops its enrolments.
            drop(tasks);
            drop(replaced);
        }
    }

    pub(super) fn deregister(&self, index: usize) {
        let removed = lock(&self.tasks).remove(&index);
        drop(removed);
    }

    /// Wakes the parties whose words were changed.
    pub(super) fn wake(&self, changed: &[Party]) {
        let own = self.number();
        let mut rung = [false; BELLS];
        for party in changed {
            if party.word.is_thread() {
                futex::wake(self.memory.sleeping_place(party.index));
            } else if party.word.number() == own {
                let task = lock(&self.tasks).remove(&party.index);
                if let Some(SleepingTask(waker, _stay)) = task {
                    waker.wake();
                }
            } else {
                rung[usize::from(party.word.bell()) % BELLS] = true;
            }
        }
        for (bell, _) in self.bells.iter().zip(rung).filter(|(_, is_rung)| *is_rung) {
            bell.ring_though_full();
        }
    }

    /// Has the parties of the tasks of this process found, also if another process has overwritten how many records are
    /// in use. A blocked thread does that by itself.
    pub(super) fn expect_own(&self) {
        let last = lock(&self.tasks).keys().next_back().copied();
        if let Some(last) = last {
            self.memory.expect_record(last);
        }
    }

    /// Wakes the parties of this process that wait no longer. What should have woken them may have been killed.
    pub(super) fn wake_own(&self) {
        let is_waiting = |index: usize| {
            let word = PartyWord::from_bits(self.memory.party(index).load(Ordering::Acquire));
            word.number() == self.number() && word.state() == Some(PartyState::Waiting)
        };
        let mut tasks = lock(&self.tasks);
        let changed: Vec<_> = tasks
            .keys()
            .copied()
            .filter(|index| !is_waiting(*index))
            .collect();
        let woken: Vec<_> = changed
            .iter()
            .filter_map(|index| tasks.remove(index))
            .collect();
        drop(tasks);
        for SleepingTask(waker, _stay) in woken {
            waker.wake();
        }
    }

    /// Listens to the own doorbell in the current runtime. Where there is none, in the crate's own, which is driven for
    /// as long as there is the stay that is returned.
    fn listen(self: &Arc<Self>) -> Option<Stay> {
        let (runtime, stay) = match Handle::try_current() {
            Ok(runtime) => (runtime, None),
            Err(_) => {
                let stay = own_runtime::stay().ok()?;
                (stay.runtime().clone(), Some(stay))
            }
        };
        let id = runtime.id();
        let is_known = lock(&self.listeners).iter().any(|(known, _)| *known == id);
        if !is_known {
            // Not under the lock: a runtime that is shutting down drops the task at once. Without a descriptor for it,
            // the watcher wakes the tasks, later.
            if let Some(listening) = self.start_listening(&runtime) {
                lock(&self.listeners).push((id, listening));
            }
        }
        stay
    }

    fn start_listening(self: &Arc<Self>, runtime: &Handle) -> Option<AbortHandle> {
        let bell = self.bells.get(usize::from(self.own_bell))?;
        let _entered = runtime.enter();
        let watched = Watched::new(bell.as_fd().try_clone_to_owned().ok()?).ok()?;
        let listener = Listener {
            side: Arc::downgrade(self),
            runtime: runtime.id(),
        };
        Some(runtime.spawn(listener.listen(watched)).abort_handle())
    }
}

impl Drop for LocalSide {
    fn drop(&mut self) {
        for (_, listening) in lock(&self.listeners).drain(..) {
            listening.abort();
        }
        if let Some(tell) = self.when_gone.get() {
            tell();
        }
    }
}

/// What listens in one runtime. When that runtime ends, the next task that waits in another listens there.
struct Listener {
    side: Weak<LocalSide>,
    runtime: Id,
}

impl Listener {
    async fn listen(self, bell: Watched) {
        while bell.edge().await.is_ok() {
            let Some(side) = self.side.upgrade() else {
                return;
            };
            side.wake_own();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(side) = self.side.upgrade() {
            lock(&side.listeners).retain(|(id, _)| *id != self.runtime);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An object inside a value: the memory and the doorbells travel beside the bytes.
pub(super) fn serialize<S: Serializer>(side: &LocalSide, serializer: S) -> Result<S::Ok, S::Error> {
    let attach = |fd| attachments::attach(fd).map_err(ser::Error::custom);
    let memory = attach(side.memory.file().as_fd())?;
    let [first, second] = &side.bells;
    (memory, attach(first.as_fd())?, attach(second.as_fd())?).serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
    kind: ObjectKind,
    value_bytes: usize,
) -> Result<Arc<LocalSide>, D::Error> {
    let (memory, first, second) = <(u32, u32, u32)>::deserialize(deserializer)?;
    let take = |place| attachments::take(place).map_err(de::Error::custom);
    let (memory, bells) = (take(memory)?, [take(first)?, take(second)?]);
    LocalSide::arrived(memory, bells, kind, value_bytes).map_err(de::Error::custom)
}
