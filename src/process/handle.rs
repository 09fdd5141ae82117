//! Awaiting and steering one process.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::state::Stage;
use super::stdio::{ChildStderr, ChildStdin, ChildStdout};
use crate::abort::{Abort as _, AbortHandle};
use crate::call::job::Awaited;
use crate::error::JoinError;

/// A function that runs in a process of its own. Awaiting it gives the function's result.
///
/// It resolves when the process has ended and has been reaped, so that nothing is left of it.
/// Dropping the handle detaches: the process goes on until it returns or the application ends, unless it
/// was built with `kill_on_drop(true)`.
///
/// # Cancel safety
///
/// Cancel safe: awaiting `&mut handle` in a `select!` that another branch wins loses nothing.
#[must_use = "dropping a process's handle detaches it; await it to have its result"]
pub struct ProcessHandle<R> {
    pub(super) job: Arc<dyn Awaited<R>>,
    pub(super) stage: Arc<Stage>,
    pub(super) name: String,
    pub(super) kill_on_drop: bool,
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
}

impl<R> ProcessHandle<R> {
    /// The process's number; `None` until it has started, or if it never did.
    #[doc(alias = "ident")]
    pub fn pid(&self) -> Option<u32> {
        self.stage.pid()
    }

    /// The name it was given, or the path of its function.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether awaiting it would give its outcome at once.
    #[doc(alias = "is_alive")]
    pub fn is_finished(&self) -> bool {
        self.job.slot().is_set()
    }

    /// Kills the process (SIGKILL) and everything in its group. Awaiting it then gives
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled), unless it had returned before. Does nothing
    /// to a process that is gone.
    #[doc(alias = "kill")]
    pub fn abort(&self) {
        self.stage.abort();
    }

    /// The right to abort it, apart from this handle.
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle::new(Arc::clone(&self.stage) as _)
    }

    /// Asks the process to end (SIGTERM). Does nothing to a process that is gone.
    pub fn terminate(&self) {
        self.signal(libc::SIGTERM);
    }

    /// Interrupts the process (SIGINT). Does nothing to a process that is gone.
    pub fn interrupt(&self) {
        self.signal(libc::SIGINT);
    }

    /// Sends the process a signal by number. One sent before the process has started is sent when it
    /// has. Does nothing to a process that is gone, or for a number that is no signal.
    #[doc(alias = "send_signal")]
    pub fn signal(&self, signal: i32) {
        self.stage.signal(signal);
    }

    /// The other end of the process's stdin, once, if its builder was told to pipe it.
    ///
    /// A stream that was given anything else than [`Stdio::piped`](std::process::Stdio::piped) cannot be
    /// told from a piped one before the process has started; writing to its end is an error, and the
    /// ends of such outputs are at their end at once.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.stdin.take()
    }

    /// The other end of the process's stdout, once, if its builder was told to pipe it.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.stdout.take()
    }

    /// The other end of the process's stderr, once, if its builder was told to pipe it.
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.stderr.take()
    }

    /// Resolves when the process has ended, with its exit status. Independent of this handle.
    ///
    /// # Errors
    ///
    /// The process never started, or its end could not be observed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    #[doc(alias = "sentinel")]
    #[doc(alias = "exitcode")]
    pub fn exited(
        &self,
    ) -> impl Future<Output = io::Result<ExitStatus>> + Send + Unpin + 'static + use<R> {
        let mut end = self.stage.watch_end();
        Box::pin(async move {
            let gone = || io::Error::other("nobody watches the process any more");
            let known = end.wait_for(Option::is_some).await.map_err(|_| gone())?;
            match &*known {
                Some(Ok(status)) => Ok(*status),
                Some(Err(why)) => Err(io::Error::other(why.to_string())),
                None => Err(gone()),
            }
        })
    }
}

impl<R> Future for ProcessHandle<R> {
    type Output = Result<R, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.job.slot().poll(cx)
    }
}

impl<R> Drop for ProcessHandle<R> {
    fn drop(&mut self) {
        if self.kill_on_drop {
            self.abort();
        }
    }
}

impl<R> fmt::Debug for ProcessHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessHandle")
            .field("name", &self.name)
            .field("pid", &self.pid())
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}
