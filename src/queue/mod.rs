//! Many to many: a bounded queue between processes.

mod join;
mod receiver;
mod sender;

pub use join::{Abandoned, NotReceived};
pub use receiver::Receiver;
pub use sender::Sender;

use crate::channel;

/// Makes a queue for at most `capacity` messages, from any number of processes to any number.
///
/// Both ends can be cloned, and sent to other processes inside arguments, results and messages. Each
/// message is received once; those of one sender in the order in which it sent them. Beside the number
/// of messages, 256 KiB of short ones (up to 64 KiB each) bound it; longer ones travel in memory of their own.
///
/// Dropping the last end of a side ends the queue for the other: at once, if no end of that side was ever sent to another
/// process. Otherwise it is the kernel that knows, and not before a program that another thread is starting at that
/// moment is executed: until then it has copies of all descriptors (`fork(2)`).
///
/// # Errors
///
/// `capacity` is 0 or above eight million, or the kernel has no memory or descriptors left. A queue takes
/// three descriptors.
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
    let (send, receive) = channel::create(capacity, true)?;
    Ok((Sender::new(send), Receiver::new(receive)))
}
