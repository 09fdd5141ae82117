//! The parent's ends of a child's standard streams.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use crate::sys::reactor::{PipeReader, PipeWriter};

/// The other end of a child's stdin. Dropping it is the end of the child's input.
#[derive(Debug)]
pub struct ChildStdin(Arriving<PipeWriter>);

/// The other end of a child's stdout.
#[derive(Debug)]
pub struct ChildStdout(Arriving<PipeReader>);

/// The other end of a child's stderr.
#[derive(Debug)]
pub struct ChildStderr(Arriving<PipeReader>);

/// A pipe that exists once the child has been started.
#[derive(Debug)]
enum Arriving<P> {
    Coming(oneshot::Receiver<OwnedFd>),
    Here(P),
    /// The stream was not piped, or the child never started.
    Never,
}

/// Hands the pipes over when the child has been started.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    senders: [Option<oneshot::Sender<OwnedFd>>; 3],
}

impl Pipes {
    /// A place to wait for the pipe of standard slot `slot`.
    pub(super) fn expect(&mut self, slot: usize) -> oneshot::Receiver<OwnedFd> {
        let (sender, receiver) = oneshot::channel();
        self.senders[slot] = Some(sender);
        receiver
    }

    pub(super) fn arrive(self, ends: [Option<OwnedFd>; 3]) {
        for (sender, end) in self.senders.into_iter().zip(ends) {
            if let (Some(sender), Some(end)) = (sender, end) {
                // Nobody took it: the end is closed, as if it had been dropped after the start.
                let _ = sender.send(end);
            }
        }
    }
}

impl ChildStdin {
    pub(super) fn new(coming: oneshot::Receiver<OwnedFd>) -> Self {
        Self(Arriving::Coming(coming))
    }
}

impl ChildStdout {
    pub(super) fn new(coming: oneshot::Receiver<OwnedFd>) -> Self {
        Self(Arriving::Coming(coming))
    }
}

impl ChildStderr {
    pub(super) fn new(coming: oneshot::Receiver<OwnedFd>) -> Self {
        Self(Arriving::Coming(coming))
    }
}

impl<P: TryFrom<OwnedFd, Error = io::Error>> Arriving<P> {
    /// The pipe, or `None` if there is none to come.
    fn poll_here(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<&mut P>>> {
        if let Self::Coming(coming) = self {
            *self = match ready!(Pin::new(coming).poll(cx)) {
                Ok(end) => Self::Here(P::try_from(end)?),
                Err(_) => Self::Never,
            };
        }
        Poll::Ready(Ok(match self {
            Self::Here(pipe) => Some(pipe),
            _ => None,
        }))
    }
}

impl Arriving<PipeReader> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match ready!(self.poll_here(cx))? {
            Some(pipe) => Pin::new(pipe).poll_read(cx, buf),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncRead for ChildStdout {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, buf)
    }
}

impl AsyncRead for ChildStderr {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, buf)
    }
}

impl AsyncWrite for ChildStdin {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.0.poll_here(cx))? {
            Some(pipe) => Pin::new(pipe).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // a pipe has no buffer on this side
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.0.poll_here(cx))?;
        self.0 = Arriving::Never;
        Poll::Ready(Ok(()))
    }
}
