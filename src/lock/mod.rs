//! A lock in memory that several processes share, for which the death of its owner is no obstacle.
//!
//! Runs in every process that has the memory mapped. All of a lock's shared state is one word: the number of the
//! process that owns it, or none, and a generation that every acquisition increments ([`word`]). There is no pointer,
//! no kind and no list in the memory. Whatever value the word has, a process can continue from it.
//!
//! A process holds locks as a *holder* ([`holder`]): it is registered with the kernel under a random number
//! ([`Presence`](crate::sys::presence::Presence)), and the kernel says of each number whether its process exists. The
//! protocol of an attempt ([`shared_lock`]):
//! 1. A thread takes its process's turn at the lock. The turn is a flag in private memory: threads of one process
//!    exclude each other there.
//! 2. It reads the word. If the word names no owner, it replaces it, by compare-exchange, with its own number and the
//!    next generation.
//! 3. If the word names its own process, no thread has acquired the lock: that thread would have the turn. The value is
//!    what another process wrote, so the attempt takes the lock over.
//! 4. If the word names another process, the lock is held. Every few attempts the kernel is asked whether that process
//!    exists. If it does not, the attempt takes the lock over.
//! 5. Taking over is the same compare-exchange, from exactly the value that was judged. The caller is told
//!    ([`TryLock::OwnerDied`]), and repairs what the lock protects.
//! 6. Unlocking removes the owner by compare-exchange from exactly the value that locking stored. If it fails, the lock
//!    was taken over, and nothing was changed.
//!
//! No attempt waits, and an uncontended one makes no system call.
//!
//! Why it survives a kill at every instruction. A process that is killed before its compare-exchange has changed
//! nothing. If it is killed after it, the word names a process that does not exist, until another takes the lock over.
//! If it is killed after unlocking, the lock is free. A compare-exchange changes nothing else, so there is no state in
//! between. The turn dies with the process. A process that is killed during a takeover has taken the lock over and died
//! as its owner, or has not.
//!
//! Why it survives every value of the word: a value without a number is a free lock, whatever its generation. A value
//! with the number of no process is taken over. A value with the number of a process is a held lock for all but that
//! process. It stays held until that process tries the lock or ends. So each process that has an end can keep the
//! others waiting while it runs, as it could by being stopped while it owns the lock. A random value names a process
//! that exists once in 2³¹ times.
//!
//! A process that is taken to be dead and lives: the kernel ends a registration only after all threads of its process
//! have stopped, unless the process itself closes a descriptor that is not its own. The owner notices
//! ([`LockGuard::is_held`]) before it commits what it did under the lock, and its unlocking fails.
//! The generation makes the word of one acquisition differ from all others of the same number.
//!
//! A process that cannot register, because it has no `/proc` or a filter forbids to open files, holds locks as an
//! *unregistered* holder. The kernel knows nothing about it, so a lock that it has held for one second is taken over.
//!
//! Not covered: a thread that ends inside a critical section while its process lives, which only `pthread_exit(3)` and
//! `pthread_cancel(3)` can bring about. The turn is then lost for its process, and others wait until that process ends.
//!
//! Never here: how to wait for a lock, and what a lock protects.

mod holder;
mod shared_lock;
mod word;

#[cfg(test)]
mod tests;

pub(crate) use holder::Holder;
pub(crate) use shared_lock::{LockGuard, SharedLock, TryLock};
