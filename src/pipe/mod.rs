//! Pipes: from one process to one other, of messages or of bytes.
//!
//! The types here are thin: they choose the flavor of a [`channel`](mod@crate::channel) and name its methods. They run
//! in the process that has the end. What must stay true: no process waits for a lock that another process holds. Never
//! here: sockets and shared memory.

mod bytes;
mod duplex;
mod half;
mod options;

use std::io;

pub use bytes::{BytePipe, byte_pipe};
pub use duplex::Pipe;
pub use half::{PipeReceiver, PipeSender};
pub use options::PipeOptions;

use crate::channel::{MOST_MESSAGES, create, create_within};

/// Makes a pipe: two ends, each of which sends what the other receives.
///
/// Ends can be sent to other processes inside arguments, results and messages. Sending an end moves it. Each direction
/// holds 256 KiB of short messages, of up to 64 KiB each. A longer message has shared memory of its own.
///
/// # Errors
///
/// The kernel has no memory or descriptors left. A pipe takes six descriptors, and another one for each direction of an
/// end at which a thread was ever blocked.
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
    pipe_with(PipeOptions::new())
}

/// Makes a pipe whose messages are as long as `options` say, in both directions.
///
/// All else is as [`pipe()`] says.
///
/// # Errors
///
/// As [`pipe()`].
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use procession::PipeOptions;
///
/// let options = PipeOptions::new().message_limit(1 << 20);
/// let (a, b) = procession::pipe_with::<String, String>(options)?;
/// assert!(a.try_send("x".repeat(2 << 20)).unwrap_err().is_encode());
/// # drop(b);
/// # Ok(())
/// # }
/// ```
pub fn pipe_with<A, B>(options: PipeOptions) -> io::Result<(Pipe<A, B>, Pipe<B, A>)> {
    let (tx_a, rx_a) = channel_with(options.clone())?;
    let (tx_b, rx_b) = channel_with(options)?;
    Ok((Pipe::new(tx_a, rx_b), Pipe::new(tx_b, rx_a)))
}

/// Makes one direction of a [`pipe()`]: an end that sends and an end that receives.
///
/// # Errors
///
/// The kernel has no memory or descriptors left. One direction takes three descriptors, and another one for each end at
/// which a thread was ever blocked.
pub fn channel<T>() -> io::Result<(PipeSender<T>, PipeReceiver<T>)> {
    let (sender, receiver) = create(MOST_MESSAGES)?;
    Ok((PipeSender::new(sender), PipeReceiver::new(receiver)))
}

/// Makes one direction of a [`pipe_with()`]: an end that sends and an end that receives.
///
/// # Errors
///
/// As [`channel()`].
pub fn channel_with<T>(options: PipeOptions) -> io::Result<(PipeSender<T>, PipeReceiver<T>)> {
    let (sender, receiver) = create_within(options.bounds())?;
    Ok((PipeSender::new(sender), PipeReceiver::new(receiver)))
}
