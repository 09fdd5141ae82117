//! The handle of one process: awaits, signals and aborts it.
//!
//! Lives in the parent.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt as _;

use super::state::ProcessState;
use super::stdio::{ChildStderr, ChildStdin, ChildStdout};
use crate::abort::{Abort as _, AbortHandle};
use crate::background::Background;
use crate::call::single::Awaited;
use crate::error::{ELSEWHERE, JoinError};

/// A function in a process of its own. Made by [`spawn`](crate::spawn()) and
/// [`Process::builder`](crate::Process::builder).
///
/// Awaiting the handle gives the function's result, once the process has ended and has been reaped. It can be awaited
/// in any runtime or executor. If the runtime in which the process was spawned is not driven meanwhile, a thread of
/// this crate supervises the process from then on. It notices this after 100 ms, or within about a second if the
/// runtime stops later.
///
/// Dropping the handle detaches the process: it continues until its function returns or the application ends. With
/// [`kill_on_drop(true)`](crate::ProcessBuilder::kill_on_drop) the drop kills it.
///
/// # Errors
///
/// A [`JoinError`] of any [`kind`](JoinError::kind) except [`TimedOut`](crate::ErrorKind::TimedOut).
///
/// # Cancel safety
///
/// Cancel safe: awaiting `&mut handle` in a `select!` that another branch wins loses nothing.
///
/// # Panics
///
/// If it is polled after it has resolved.
#[must_use = "dropping a process's handle detaches it; await it to have its result"]
pub struct ProcessHandle<R> {
    pub(super) job: Arc<dyn Awaited<R>>,
    pub(super) state: Arc<ProcessState>,
    /// The future that supervises the process; `None` if there never was one.
    pub(super) background: Option<Arc<Background>>,
    pub(super) name: String,
    pub(super) kill_on_drop: bool,
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
}

impl<R> ProcessHandle<R> {
    /// The process id. `None` until the process has started, or if it never did.
    #[doc(alias = "ident")]
    pub fn pid(&self) -> Option<u32> {
        self.state.pid()
    }

    /// The name given to the builder, or else the path of the function.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether awaiting the handle would give the outcome at once.
    #[doc(alias = "is_alive")]
    pub fn is_finished(&self) -> bool {
        self.job.slot().is_set()
    }

    /// Kills the process and everything that it has started (SIGKILL), also what leads a process group or a session of
    /// its own. If the process has children, this happens on another thread a moment later.
    ///
    /// What has become a daemon is killed too. Detached processes
    /// ([`ProcessBuilder::detach`](crate::ProcessBuilder::detach)) are left alone. A process that ends by itself, by a
    /// crash for example, takes its process group along; what has left that is found no longer.
    ///
    /// Awaiting the handle then gives [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled), unless the function
    /// had already returned. Does nothing if the process has ended.
    #[doc(alias = "kill")]
    pub fn abort(&self) {
        self.state.abort();
    }

    /// A handle that can abort the process. Dropping this `ProcessHandle` does not affect it.
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle::new(Arc::clone(&self.state) as _)
    }

    /// Asks the process to terminate (SIGTERM). Does nothing if the process has ended.
    pub fn terminate(&self) {
        self.signal(libc::SIGTERM);
    }

    /// Interrupts the process (SIGINT). Does nothing if the process has ended.
    pub fn interrupt(&self) {
        self.signal(libc::SIGINT);
    }

    /// Sends a signal to the process, by number.
    ///
    /// If the process has not started, the signal is sent at its start. Does nothing if the process has ended or if
    /// the number is not a signal's.
    #[doc(alias = "send_signal")]
    pub fn signal(&self, signal: i32) {
        self.state.signal(signal);
    }

    /// Takes the writing end of the process's stdin. `None` unless the builder set stdin, and at every later call.
    ///
    /// Whether stdin was set to [`Stdio::piped`](std::process::Stdio::piped) or to another value is known only when
    /// the process has started. If it was not piped, writing to the end fails.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.stdin.take()
    }

    /// Takes the reading end of the process's stdout. `None` unless the builder set stdout, and at every later call.
    ///
    /// Whether stdout was set to [`Stdio::piped`](std::process::Stdio::piped) or to another value is known only when
    /// the process has started. If it was not piped, reading from the end gives EOF.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.stdout.take()
    }

    /// Takes the reading end of the process's stderr. `None` unless the builder set stderr, and at every later call.
    ///
    /// Whether stderr was set to [`Stdio::piped`](std::process::Stdio::piped) or to another value is known only when
    /// the process has started. If it was not piped, reading from the end gives EOF.
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.stderr.take()
    }

    /// Resolves to the exit status when the process has ended.
    ///
    /// The future does not borrow the handle, and dropping either does not affect the other.
    ///
    /// # Errors
    ///
    /// The process never started, its status was taken by other code of this program, or the runtime that supervised
    /// the process was shut down.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future changes nothing about the process.
    #[doc(alias = "sentinel")]
    #[doc(alias = "exitcode")]
    pub fn exited(
        &self,
    ) -> impl Future<Output = io::Result<ExitStatus>> + Send + Unpin + 'static + use<R> {
        let (mut end, mark) = (self.state.end(), self.state.mark());
        let background = self.background.clone();
        poll_fn(move |cx| {
            if !mark.is_here() {
                return Poll::Ready(Err(io::Error::other(ELSEWHERE)));
            }
            let polled = end.poll_unpin(cx);
            if polled.is_pending() {
                expect(background.as_ref());
            }
            polled.map(|end| match end {
                Ok(Ok(status)) => Ok(status),
                Ok(Err(why)) => Err(io::Error::other(why.to_string())),
                Err(_) => Err(io::Error::other("the process has no supervisor any more")),
            })
        })
    }
}

impl<R> Future for ProcessHandle<R> {
    type Output = Result<R, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = self.job.poll_outcome(cx);
        if outcome.is_pending() {
            expect(self.background.as_ref());
        }
        outcome
    }
}

/// Notes that the current task waits for the process, until it is not supervised any more.
fn expect(background: Option<&Arc<Background>>) {
    if let Some(background) = background {
        background.expect(|| {
            let background = Arc::downgrade(background);
            move || background.upgrade().is_some_and(|it| it.is_running())
        });
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
