//! The parent's ends of a child's standard streams.
//!
//! Lives in the parent. A handle gives these ends out before the child has started, so each first waits for its pipe,
//! which the supervisor delivers.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use crate::sys::reactor::{PipeReader, PipeWriter};

/// The writing end of a child's stdin.
///
/// Writing waits until the child has started. If stdin was not piped, or the child never started, writing fails
/// with [`io::ErrorKind::BrokenPipe`]. Dropping it, or shutting it down, ends the child's input.
#[pin_project]
#[derive(Debug)]
pub struct ChildStdin(#[pin] PipeEnd<PipeWriter>);

/// The reading end of a child's stdout.
///
/// Reading waits until the child has started, and gives EOF when no process has the pipe open for writing any
/// more. If stdout was not piped, or the child never started, reading gives EOF. Dropping it closes the pipe: the
/// child's next write fails.
#[pin_project]
#[derive(Debug)]
pub struct ChildStdout(#[pin] PipeEnd<PipeReader>);

/// The reading end of a child's stderr.
///
/// It behaves as [`ChildStdout`] does.
#[pin_project]
#[derive(Debug)]
pub struct ChildStderr(#[pin] PipeEnd<PipeReader>);

/// One end of a pipe that exists once the child has started.
#[pin_project(project = PipeEndProjection)]
#[derive(Debug)]
enum PipeEnd<P> {
    Expected(#[pin] oneshot::Receiver<OwnedFd>),
    Open(#[pin] P),
    /// The stream was not piped, the child never started, or the end was shut down.
    None,
}

/// Delivers the pipes to the handle's ends when the child has started.
#[derive(Debug, Default)]
pub(super) struct PipeSenders {
    senders: [Option<oneshot::Sender<OwnedFd>>; 3],
}

impl PipeSenders {
    /// The receiver of the pipe of standard slot `slot`.
    pub(super) fn expect(&mut self, slot: usize) -> oneshot::Receiver<OwnedFd> {
        let (sender, receiver) = oneshot::channel();
        self.senders[slot] = Some(sender);
        receiver
    }

    pub(super) fn deliver(self, pipes: [Option<OwnedFd>; 3]) {
        for (sender, pipe) in self.senders.into_iter().zip(pipes) {
            if let (Some(sender), Some(pipe)) = (sender, pipe) {
                // A pipe whose end was dropped is closed, as it would be after the start.
                let _ = sender.send(pipe);
            }
        }
    }
}

impl ChildStdin {
    pub(super) fn new(pipe: oneshot::Receiver<OwnedFd>) -> Self {
        Self(PipeEnd::Expected(pipe))
    }
}

impl ChildStdout {
    pub(super) fn new(pipe: oneshot::Receiver<OwnedFd>) -> Self {
        Self(PipeEnd::Expected(pipe))
    }
}

impl ChildStderr {
    pub(super) fn new(pipe: oneshot::Receiver<OwnedFd>) -> Self {
        Self(PipeEnd::Expected(pipe))
    }
}

impl<P: TryFrom<OwnedFd, Error = io::Error>> PipeEnd<P> {
    /// The open pipe, or `None` if there is no pipe to wait for.
    fn poll_open(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Pin<&mut P>>>> {
        if let PipeEndProjection::Expected(expected) = self.as_mut().project() {
            let pipe = ready!(expected.poll(cx));
            // Not `Expected` any more, also if the next line fails: a received pipe is not received again.
            self.set(Self::None);
            if let Ok(pipe) = pipe {
                self.set(Self::Open(P::try_from(pipe)?));
            }
        }
        Poll::Ready(Ok(match self.project() {
            PipeEndProjection::Open(pipe) => Some(pipe),
            _ => None,
        }))
    }
}

impl AsyncRead for PipeEnd<PipeReader> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(self.poll_open(cx))? {
            Some(pipe) => pipe.poll_read(cx, buf),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncRead for ChildStdout {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.project().0.poll_read(cx, buf)
    }
}

impl AsyncRead for ChildStderr {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.project().0.poll_read(cx, buf)
    }
}

impl AsyncWrite for ChildStdin {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.project().0.poll_open(cx))? {
            Some(pipe) => pipe.poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // the parent's side of a pipe has no buffer
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut end = self.project().0;
        ready!(end.as_mut().poll_open(cx))?;
        end.set(PipeEnd::None);
        Poll::Ready(Ok(()))
    }
}
