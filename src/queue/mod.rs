//! Queues: bounded, from any number of processes to any number.
//!
//! The types here are thin: they choose the flavor of a [`channel`](mod@crate::channel) and name its methods. Joining,
//! which only queues have, is here. They run in every process that has an end. Never here: locks, sockets and shared
//! memory.

mod join;
mod options;
mod receiver;
mod sender;

pub use join::{Abandoned, NotReceived};
pub use options::QueueOptions;
pub use receiver::Receiver;
pub use sender::Sender;

use crate::channel;

/// Makes a queue for at most `capacity` messages, from any number of processes to any number.
///
/// Both ends can be cloned, and sent to other processes inside arguments, results and messages. Each message is
/// received once. The messages of one sender are received in the order in which it sent them.
///
/// The queue takes `capacity` messages of any size, although no process receives: a process that sends no more than
/// that can exit, and be joined, before anything is received. The messages that wait take as much memory as they are
/// long; [`queue_with`] bounds their bytes too. Memory that messages took is given back when they were received. Two
/// limits can make a sender wait earlier:
///
/// - Messages that carry descriptors or ends are bounded by the kernel. The socket of a queue holds a few hundred such
///   messages (`net.core.wmem_max`). All sockets of a user together hold as many descriptors as one process may have
///   open (`RLIMIT_NOFILE`).
/// - Where the kernel has no memory left, or limits the size of files (`RLIMIT_FSIZE`), the queue holds at least 128
///   KiB of messages of up to 64 KiB each.
///
/// Dropping the last end of a side ends the queue for the other side. If no end of that side was ever sent to another
/// process, the other side sees the end at once. Otherwise the other side sees the end when the kernel closes the
/// last copy. A process that another thread is forking at that moment holds copies until it execs (`fork(2)`), so the
/// end may be seen a little later.
///
/// # Errors
///
/// `capacity` is 0 or more than 4,194,303, or the kernel has no memory or descriptors left. A queue takes four
/// descriptors.
///
/// ```
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use futures::TryStreamExt;
///
/// fn produce(tx: procession::Sender<u32>) {
///     for n in 0..3 {
///         tx.blocking_send(n).unwrap();
///     }
/// }
///
/// let (tx, rx) = procession::queue::<u32>(16)?;
/// let producer = procession::spawn(produce, tx);
/// let all: Vec<u32> = rx.try_collect().await?; // until every sender is gone
/// producer.await?;
/// assert_eq!(all, [0, 1, 2]);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "Queue")]
#[doc(alias = "JoinableQueue")]
#[doc(alias = "SimpleQueue")]
pub fn queue<T>(capacity: usize) -> std::io::Result<(Sender<T>, Receiver<T>)> {
    queue_with(QueueOptions::new(capacity))
}

/// Makes a queue that holds as much as `options` say, from any number of processes to any number.
///
/// All else is as [`queue`] says.
///
/// # Errors
///
/// As [`queue`].
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use procession::QueueOptions;
///
/// let (tx, rx) = procession::queue_with::<Vec<u8>>(QueueOptions::new(1024).bytes(64 << 20))?;
/// # drop((tx, rx));
/// # Ok(())
/// # }
/// ```
pub fn queue_with<T>(options: QueueOptions) -> std::io::Result<(Sender<T>, Receiver<T>)> {
    let (sender, receiver) = channel::create_within(options.bounds())?;
    Ok((Sender::new(sender), Receiver::new(receiver)))
}
