//! One to one: pipes between two processes. Neither process ever waits for a lock that the other one holds.

mod bytes;
mod duplex;
mod half;

use std::io;

pub use bytes::{BytePipe, byte_pipe};
pub use duplex::Pipe;
pub use half::{PipeReceiver, PipeSender};

use crate::channel::{self, MOST_MESSAGES};

/// Makes a pipe: two ends, each of which sends what the other receives.
///
/// Ends can be sent to other processes inside arguments, results and messages; sending one moves it. 256 KiB
/// of short messages (up to 64 KiB each) fit into each direction; longer ones travel in memory of their own.
///
/// # Errors
///
/// The kernel has no memory or descriptors left. A pipe takes six descriptors, and one for each direction of an end at
/// which a thread was ever blocked.
///
/// ```
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// async fn double(pipe: procession::Pipe<u32, u32>) {
///     while let Ok(n) = pipe.recv().await {
///         pipe.send(2 * n).await.unwrap();
///     }
/// }
///
/// let (a, b) = procession::pipe::<u32, u32>()?;
/// let doubler = procession::spawn(double, b);
/// a.send(21).await?;
/// assert_eq!(a.recv().await?, 42);
/// drop(a);
/// doubler.await?;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "Pipe")]
#[doc(alias = "Connection")]
pub fn pipe<A, B>() -> io::Result<(Pipe<A, B>, Pipe<B, A>)> {
    let (send_a, receive_a) = channel::create(MOST_MESSAGES, false)?;
    let (send_b, receive_b) = channel::create(MOST_MESSAGES, false)?;
    let a = Pipe::new(PipeSender::new(send_a), PipeReceiver::new(receive_b));
    let b = Pipe::new(PipeSender::new(send_b), PipeReceiver::new(receive_a));
    Ok((a, b))
}

/// Makes one direction of a [`pipe()`]: an end that sends and an end that receives.
///
/// # Errors
///
/// See [`pipe()`]. It takes three descriptors.
pub fn channel<T>() -> io::Result<(PipeSender<T>, PipeReceiver<T>)> {
    let (send, receive) = channel::create(MOST_MESSAGES, false)?;
    Ok((PipeSender::new(send), PipeReceiver::new(receive)))
}
