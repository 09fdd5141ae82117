//! Waiting for a descriptor in the async runtime. No other file names the runtime's reactor types.
//!
//! # Safety
//!
//! `AsyncFd::register` requires that the descriptor stays open and the same while it is registered: [`Watched`] owns it
//! and never gives it out.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

use super::process_mark::LocalFd;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

use super::socket;

/// Checks that the current runtime can wait for descriptors and for time.
///
/// # Errors
///
/// There is no runtime, or it lacks a driver. The message says which.
pub(crate) fn check_runtime() -> io::Result<()> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(io::Error::other(
            "there is no Tokio runtime here; call this from inside one",
        ));
    }
    thread_local! {
        // The runtime that passed the check last. The check costs a registration.
        static FIT: Cell<Option<tokio::runtime::Id>> = const { Cell::new(None) };
    }
    let here = tokio::runtime::Handle::current().id();
    if FIT.get() == Some(here) {
        return Ok(());
    }
    // Tokio offers no query for its drivers: a missing driver panics. The panic's message goes to stderr once.
    let fit = std::panic::catch_unwind(|| {
        drop(tokio::time::sleep(Duration::ZERO));
        pipe::pipe().map(drop)
    });
    match fit {
        Ok(opened) => {
            opened?;
            FIT.set(Some(here));
            Ok(())
        }
        Err(_) => Err(io::Error::other(
            "the Tokio runtime here has no I/O or no time driver; build it with `enable_all`",
        )),
    }
}

/// Whether `error` means that the runtime is shutting down.
pub(crate) fn is_shutdown(error: &io::Error) -> bool {
    // A registration fails with an error that has no type of its own.
    let inner = error.get_ref();
    inner.is_some_and(|error| error.to_string().contains("is being shutdown"))
}

thread_local! {
    /// Whether this is the thread of the crate's own runtime.
    static IS_OWN_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Makes this thread that of the crate's own runtime: what was registered with another runtime and is polled here is
/// registered here.
pub(crate) fn set_own_thread() {
    IS_OWN_THREAD.set(true);
}

/// Whether this is the thread of the crate's own runtime.
#[inline]
pub(crate) fn is_own_thread() -> bool {
    IS_OWN_THREAD.get()
}

/// A descriptor registered with the runtime that was current when it was made, and with the crate's own runtime once it
/// was polled there.
#[derive(Debug)]
pub(crate) struct Watched {
    first: AsyncFd<LocalFd>,
    is_first_own: bool,
    /// A duplicate, registered with the crate's own runtime.
    own: OnceLock<AsyncFd<LocalFd>>,
}

impl Watched {
    /// Registers `fd` for reading with the current runtime.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        check_runtime()?;
        Ok(Self {
            first: register(fd)?,
            is_first_own: is_own_thread(),
            own: OnceLock::new(),
        })
    }

    #[inline]
    fn registered(&self) -> io::Result<&AsyncFd<LocalFd>> {
        match self.is_first_own || !is_own_thread() {
            true => Ok(&self.first),
            false => self.registered_with_own(),
        }
    }

    #[cold]
    fn registered_with_own(&self) -> io::Result<&AsyncFd<LocalFd>> {
        if self.own.get().is_none() {
            // Only one thread polls it here.
            let duplicate = self.first.get_ref().as_fd().try_clone_to_owned()?;
            let _ = self.own.set(register(duplicate)?);
        }
        self.own
            .get()
            .ok_or_else(|| io::Error::other("not registered"))
    }

    /// Ready once for every edge since the last call: a ring of a doorbell, the exit of a process.
    ///
    /// # Errors
    ///
    /// The runtime is shutting down.
    pub(crate) fn poll_edge(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.registered()?.poll_read_ready(cx))?.clear_ready();
        Poll::Ready(Ok(()))
    }

    /// Resolves once for every edge since the last call.
    ///
    /// Cancel safe. Fails when the runtime is shutting down.
    pub(crate) async fn edge(&self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_edge(cx)).await
    }

    /// Waits until the descriptor is readable, and does not read from it.
    ///
    /// Cancel safe. Fails when the runtime is shutting down.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        // At each poll: it may be polled in another runtime than before.
        std::future::poll_fn(|cx| {
            ready!(self.registered()?.poll_read_ready(cx))?.retain_ready();
            Poll::Ready(Ok(()))
        })
        .await
    }
}

/// A socket whose other end will be closed.
#[derive(Debug)]
pub(crate) struct HangUp(AsyncFd<Arc<LocalFd>>);

impl HangUp {
    /// Registers `socket` with the current runtime, which is not told of messages.
    pub(crate) fn new(socket: Arc<LocalFd>) -> io::Result<Self> {
        check_runtime()?;
        // SAFETY: the `AsyncFd` keeps the `LocalFd`, which no code can change, so it stays open until it is
        // deregistered.
        let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::PRIORITY) };
        registered.map(Self).map_err(|error| error.into_parts().1)
    }

    /// Resolves when the other end is closed in all processes.
    ///
    /// Cancel safe. Fails when the runtime is shutting down.
    pub(crate) async fn wait(&self) -> io::Result<()> {
        loop {
            let mut guard = self.0.ready(Interest::PRIORITY).await?;
            if socket::is_hung_up(self.0.get_ref().as_fd()) {
                return Ok(());
            }
            guard.clear_ready();
        }
    }
}

fn register(fd: OwnedFd) -> io::Result<AsyncFd<LocalFd>> {
    let fd = LocalFd::new(fd);
    // SAFETY: the `LocalFd` moves into the `AsyncFd`, which is private to a `Watched` and never lent mutably, so it
    // stays open and unreplaced until it is deregistered.
    let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    registered.map_err(|error| error.into_parts().1)
}

/// The reading end of a pipe to a child.
#[derive(Debug)]
pub(crate) struct PipeReader(pipe::Receiver);

impl TryFrom<OwnedFd> for PipeReader {
    type Error = io::Error;

    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self(pipe::Receiver::from_owned_fd(fd)?))
    }
}

impl PipeReader {
    /// Reads what is in the pipe now, also if the runtime was not told of it yet. Never waits.
    pub(crate) fn read_now(&self, space: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| {
            rustix::io::read(&self.0, &mut *space)
        })?)
    }
}

impl AsyncRead for PipeReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

/// The writing end of a pipe to a child.
#[derive(Debug)]
pub(crate) struct PipeWriter(pipe::Sender);

impl TryFrom<OwnedFd> for PipeWriter {
    type Error = io::Error;

    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self(pipe::Sender::from_owned_fd(fd)?))
    }
}

impl PipeWriter {
    pub(crate) fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }
}

/// One end of a pair of stream sockets. Its first use registers it with the runtime.
#[derive(Debug)]
pub(crate) enum ByteSocket {
    Idle(std::os::unix::net::UnixStream),
    Registered(UnixStream),
}

impl ByteSocket {
    /// The socket; registers it with the current runtime if it is not registered yet.
    pub(crate) fn registered(&mut self) -> io::Result<&mut UnixStream> {
        if let Self::Idle(socket) = self {
            check_runtime()?;
            *self = Self::Registered(UnixStream::from_std(socket.try_clone()?)?);
        }
        match self {
            Self::Registered(socket) => Ok(socket),
            Self::Idle(_) => Err(io::Error::other("not registered")),
        }
    }
}

impl TryFrom<std::os::unix::net::UnixStream> for ByteSocket {
    type Error = io::Error;

    fn try_from(socket: std::os::unix::net::UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self::Idle(socket))
    }
}

impl AsFd for ByteSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            ByteSocket::Idle(socket) => socket.as_fd(),
            ByteSocket::Registered(socket) => socket.as_fd(),
        }
    }
}
