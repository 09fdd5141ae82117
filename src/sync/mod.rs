//! Locks and other means by which processes wait for each other, in async code and in threads.
//!
//! What `Lock`, `Semaphore`, `Event`, `Condition` and `Barrier` are in Python's `multiprocessing`, with Tokio's names.
//! Each object lies in anonymous shared memory; its handles are `Clone`, and travel inside arguments, results and
//! messages. Whatever process is killed at whatever moment, no other process hangs: what it held is given back or
//! poisoned, and what it waited for goes to another. Each wait can be a branch of `select!` and can have a timeout
//! (`tokio::time::timeout`); a wait that is dropped gives back what it was given.
//!
//! | type | its holder ends | its waiter ends |
//! |---|---|---|
//! | [`Mutex`], [`RwLock`] | poisoned until `recover`; a reader's end does not poison | the next is called |
//! | [`Semaphore`] | its permits are given back | its permits go to the next |
//! | [`Event`] | | |
//! | [`Condvar`] | | its notification goes to the next |
//! | [`Barrier`] | | [`Broken`] until `reset` |
//! | [`Once`] | the next runs its own | the next runs its own |
//!
//! # Implementation
//!
//! Runs in every process that has a handle. An object is one memory (`object_memory`): words, and a table with a record
//! for each *party*, which is a task or thread that waits, or a holder. A record has one word that says of which
//! process the party is, and how far its request has come (`party_word`). It also has a ticket for the order, and an
//! amount. No record points to another. Each object's state is a word and what the records say; nothing is counted
//! beside them. So the end of a process needs no bookkeeping: its records are not counted any more.
//!
//! A process is registered with the kernel under a random number (`sys/presence.rs`), which is how a record
//! names it. No process can overwrite what the kernel says of a number.
//!
//! The protocol:
//! 1. A party makes its record by compare-exchange of a free one, takes a ticket, and then sets it to *waiting*.
//! 2. A process that changes something has requests *served* (`server`): under a lock, a process reads the table and
//!    decides, from the words and the records alone, which parties can continue. Each decision is one compare-exchange
//!    of one word. Then it wakes those parties: a thread by the futex in its record, a task by the doorbell of its
//!    process.
//! 3. The lock is tried and never waited for. A process counts its call before it tries; the process that serves looks
//!    at the count after it has released the lock, and serves again if it has changed.
//! 4. A party frees its own record. If it had been granted something that it did not use, it has requests served.
//! 5. Before its first sleep, a party has its process notice each death from then on (`watcher`), and has requests
//!    served with a liveness check, which asks the kernel who is alive. Each notice has them served with such a check
//!    again.
//!
//! Why it survives a kill at every instruction. A process that is killed between two steps leaves words each of which
//! was complete. Serving does not depend on where the last server stopped: it begins from the table, and a state that
//! one process has left is a state that another would have decided to leave. What a killed process had not done yet is
//! one of three things: serve, wake, or free its records. Its death is noticed by every process in which a party
//! sleeps. Each of those serves, takes the lock over if the dead process had it (`src/lock`), frees the dead records,
//! and checks which of its own parties wait no longer, so that no wake-up is lost. Where a decision takes several
//! words, their order makes it one:
//! - A mutex's owner is the word that the owner itself stored (`mutex_serving`).
//! - A lock is marked as poisoned before the dead writer's record is freed (`rwlock_serving`).
//! - A notification is passed on before the dead party's record is freed (`condvar_serving`).
//! - A barrier's release is decided by one word, and completed by any process (`barrier_serving`).
//!
//! Why no wake-up is missed: a party's record is waiting before the party reads the object for the last time, and a
//! party that changes the object reads the records after that (both with sequentially consistent order). A mutex does
//! this in one word, because its holder reads no records if none waits: see `mutex_serving`.
//!
//! Why no party starves: requests are granted in the order of their tickets, and a server that has read the table
//! ignores parties that came meanwhile. A mutex may be taken by a party that comes just then, until a party has waited
//! for a millisecond; but not while a task waits.
//!
//! Why a mutex that is kept for tasks does not stay so (`mutex_word`). A task that begins to wait sets a flag in the
//! word, which stays set when the lock is released. From then on only a called party locks, so there is no moment
//! between unlocking and serving in which another could. The flag is decided anew when the next party is called, and
//! cleared when none waits. What is left if a process is killed before that:
//! - It had unlocked, and not served: the lock has no owner, and no party is called.
//! - It had announced itself, and does not wait: the lock is kept for none, or the dead party is called.
//! - It was called, and had not locked: the lock stays kept for it.
//!
//! A party that waited before notices the death, and serves. A party that comes later finds the lock kept, and serves
//! with a liveness check before its first sleep; so does `try_lock`. A process that has locked and is killed is found
//! as the owner.
//!
//! The kernel's notice comes through `inotify(7)`; nothing polls for it. A process in which a party waits also checks a
//! few times a second, for two reasons: no notice tells that a process has overwritten the memory, and the notice of a
//! death comes a moment before the kernel counts the process as gone.
//!
//! Hostile processes: every word is copied, then judged, and has no value that is not handled. An index is a place in
//! the table; no loop depends on a count that another process can move without end. A value is copied out of the memory
//! and back, so no reference leads there. A count of used records that is too low hides parties: each process raises it
//! again for its own sleeping parties before it checks who is alive. A table full of records that no living process has
//! made is emptied by the first party that finds no room. A living process can do this to the processes that share an
//! object with it: hold the object, name another process as its owner, or wake parties for nothing. When it is gone, so
//! is what it held.
//!
//! Never here: a reentrant lock; [`Mutex`] says why.

mod barrier;
mod barrier_serving;
mod condvar;
mod condvar_serving;
mod enrolment;
mod error;
mod event;
mod event_serving;
mod handle;
mod local_side;
mod mutex;
mod mutex_guard;
mod mutex_locking;
mod mutex_serving;
mod mutex_word;
mod object_kind;
mod object_memory;
mod once;
mod once_serving;
mod owned_permit;
mod party_word;
mod permit;
mod rwlock;
mod rwlock_guard;
mod rwlock_serving;
mod semaphore;
mod semaphore_serving;
mod server;
mod serving;
mod value_copy;
mod waiting;
mod watcher;

pub use barrier::{Barrier, BarrierWaitResult};
pub use condvar::Condvar;
pub use error::{AcquireError, Broken, Poisoned, TryAcquireError, TryLockError};
pub use event::Event;
pub use mutex::Mutex;
pub use mutex_guard::MutexGuard;
pub use once::Once;
pub use owned_permit::OwnedSemaphorePermit;
pub use permit::SemaphorePermit;
pub use rwlock::RwLock;
pub use rwlock_guard::{RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::Semaphore;
