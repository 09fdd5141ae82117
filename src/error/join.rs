//! The error of every awaited outcome.
//!
//! Made in the parent, also for a failure in a child. Must stay true: `Display` writes one line.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::reason::Reason;
use super::{CrashReport, PanicReport};
use crate::sys::exit_cause::ExitCause;

/// Why a copy of the application gets no outcomes of the original's.
pub(crate) const ELSEWHERE: &str =
    "it belongs to the process that this one was forked from; make another pool or process here";

/// What went wrong with a task or a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The function panicked. Its worker is not affected. [`JoinError::panic`] has the message.
    ///
    /// A panic that aborts (`panic = "abort"`, or in a function that cannot unwind) is one too. It ends the process,
    /// and [`JoinError::signal`] is `SIGABRT`.
    Panicked,
    /// A signal ended the process: a fault, an abort, or a kill from outside. [`JoinError::signal`] has its number.
    ///
    /// So does the end of a task that cannot give an outcome though its process lives. The process is killed, and the
    /// error says why: the task closed all descriptors, replaced its process by another program (`exec`), or ended its
    /// thread. Of an abort, for example after a failed `assert` in C, the process's stderr says why.
    Crashed,
    /// The process exited before the function returned, for example by `std::process::exit`.
    /// [`JoinError::exit_code`] has the status.
    Exited,
    /// The task ran longer than its time limit, and its worker was killed. Or it waited longer than its
    /// [`queue_timeout`](crate::Run::queue_timeout); then [`JoinError::started`] is false.
    TimedOut,
    /// The task or process was aborted, or its pool was terminated.
    Cancelled,
    /// An allocation beyond the memory limit failed, and ended the process.
    MemoryExceeded,
    /// The arguments or the result could not be serialised.
    Encode,
    /// The arguments or the result could not be deserialised.
    Decode,
    /// No process could be started. The function did not run.
    Spawn,
    /// The pool takes no more tasks, or the Tokio runtime that drove the pool or process was shut down. Or the pool or
    /// process belongs to the process that this one was forked from (`fork(2)`).
    Closed,
}

/// The error of a task or a process that gave no value.
///
/// [`JoinError::kind`] and the `is_` methods say what went wrong. `Display` writes one line: the task, what went
/// wrong, the process id, and for a panic its message and location.
///
/// ```
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = procession::Pool::with_workers(1)?;
/// let error = pool.run(|| -> u32 { std::process::exit(3) }, ()).await.unwrap_err();
/// assert!(error.is_exited());
/// assert_eq!(error.exit_code(), Some(3));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct JoinError(pub(super) Box<Details>);

#[derive(Clone, Debug)]
pub(super) struct Details {
    pub(super) kind: ErrorKind,
    pub(super) task: &'static str,
    /// The place of the item in its map's input.
    pub(super) item: Option<usize>,
    pub(super) started: bool,
    pub(super) pid: Option<u32>,
    pub(super) signal: Option<i32>,
    pub(super) exit_code: Option<i32>,
    pub(super) panic: Option<PanicReport>,
    pub(super) crash: Option<CrashReport>,
    pub(super) reason: Option<Reason>,
}

impl JoinError {
    /// An error of `task`, which is not known to have started.
    #[cold]
    pub(crate) fn new(kind: ErrorKind, task: &'static str) -> Self {
        Self(Box::new(Details {
            kind,
            task,
            item: None,
            started: false,
            pid: None,
            signal: None,
            exit_code: None,
            panic: None,
            crash: None,
            reason: None,
        }))
    }

    /// An error of `task`, whose outcome is in the process that this process is a copy of.
    #[cold]
    pub(crate) fn elsewhere(task: &'static str) -> Self {
        Self::new(ErrorKind::Closed, task).because(ELSEWHERE)
    }

    pub(crate) fn because(mut self, reason: impl Into<String>) -> Self {
        self.0.reason = Some(Reason(reason.into()));
        self
    }

    pub(crate) fn in_process(mut self, pid: u32) -> Self {
        self.0.pid = Some(pid);
        self
    }

    pub(crate) fn after_start(mut self, started: bool) -> Self {
        self.0.started = started;
        self
    }

    pub(crate) fn with_panic(mut self, report: PanicReport) -> Self {
        self.0.panic = Some(report);
        self
    }

    pub(crate) fn with_crash(mut self, report: Option<CrashReport>) -> Self {
        self.0.crash = report;
        self
    }

    /// Adds what the process has left about its end.
    pub(crate) fn with_cause(self, cause: Option<ExitCause>) -> Self {
        match cause {
            Some(ExitCause::Disconnected) => self.because(
                "descriptors were closed that connect its process with the application, as by closing all there are",
            ),
            Some(ExitCause::ThreadEnded) => self.because(
                "the thread that ran it ended without a return, as by `pthread_exit` or a filter of system calls",
            ),
            Some(ExitCause::Replaced) => {
                self.because("it replaced its process by another program (`exec`)")
            }
            Some(ExitCause::OutOfMemory) | None => self,
        }
    }

    /// The same error for another task.
    pub(crate) fn about(mut self, task: &'static str) -> Self {
        self.0.task = task;
        self
    }

    /// The same error for the item at this place in the input of its map.
    pub(crate) fn of_item(mut self, item: Option<usize>) -> Self {
        self.0.item = item;
        self
    }

    pub(crate) fn with_status(mut self, status: std::process::ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        self.0.signal = status.signal();
        self.0.exit_code = status.code();
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the function panicked.
    pub fn is_panic(&self) -> bool {
        self.kind() == ErrorKind::Panicked
    }

    /// Whether a signal ended the process.
    pub fn is_crashed(&self) -> bool {
        self.kind() == ErrorKind::Crashed
    }

    /// Whether the process exited before the function returned.
    pub fn is_exited(&self) -> bool {
        self.kind() == ErrorKind::Exited
    }

    /// Whether the task ran longer than its time limit.
    pub fn is_timed_out(&self) -> bool {
        self.kind() == ErrorKind::TimedOut
    }

    /// Whether the task or process was aborted, or its pool was terminated.
    pub fn is_cancelled(&self) -> bool {
        self.kind() == ErrorKind::Cancelled
    }

    /// Whether the memory limit was exceeded.
    pub fn is_memory_exceeded(&self) -> bool {
        self.kind() == ErrorKind::MemoryExceeded
    }

    /// Whether the arguments or the result could not be serialised.
    pub fn is_encode(&self) -> bool {
        self.kind() == ErrorKind::Encode
    }

    /// Whether the arguments or the result could not be deserialised.
    pub fn is_decode(&self) -> bool {
        self.kind() == ErrorKind::Decode
    }

    /// Whether no process could be started.
    pub fn is_spawn(&self) -> bool {
        self.kind() == ErrorKind::Spawn
    }

    /// Whether the pool takes no more tasks, or the runtime was shut down.
    pub fn is_closed(&self) -> bool {
        self.kind() == ErrorKind::Closed
    }

    /// The report of the panic, if the function panicked.
    pub fn panic(&self) -> Option<&PanicReport> {
        self.0.panic.as_ref()
    }

    /// The report of the crash, if the process was ended by `SIGSEGV`, `SIGBUS`, `SIGILL`, `SIGFPE`, `SIGABRT` or
    /// `SIGSYS`.
    ///
    /// ```
    /// # #[procession::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let error = procession::spawn(|| -> u32 { std::process::abort() }, ()).await.unwrap_err();
    /// let crash = error.crash().expect("it was ended by SIGABRT");
    /// assert!(crash.backtrace().is_some_and(|calls| calls.contains("abort")));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "faulthandler")]
    pub fn crash(&self) -> Option<&CrashReport> {
        self.0.crash.as_ref()
    }

    /// The number of the signal that ended the process, if a signal did.
    pub fn signal(&self) -> Option<i32> {
        self.0.signal
    }

    /// The status with which the process exited, if it exited.
    pub fn exit_code(&self) -> Option<i32> {
        self.0.exit_code
    }

    /// The id of the process that ran the function, if there was one.
    pub fn pid(&self) -> Option<u32> {
        self.0.pid
    }

    /// The function's path, as [`std::any::type_name`] gives it.
    pub fn task(&self) -> &str {
        self.0.task
    }

    /// The place of the item in the input of its [`Map`](crate::Map), counted from 0; `None` if it was no item of a
    /// map.
    ///
    /// So the failure of an awaited map, or an outcome that came [`unordered`](crate::Map::unordered), says which item
    /// it is about. [`retry_if`](crate::PoolBuilder::retry_if) sees it too.
    ///
    /// ```
    /// # #[procession::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = procession::Pool::with_workers(2)?;
    /// let divisors = [2, 0, 3];
    /// let error = pool.map(|n: u32| 6 / n, divisors).await.unwrap_err();
    /// assert_eq!(error.item(), Some(1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn item(&self) -> Option<usize> {
        self.0.item
    }

    /// Whether the function may have run.
    ///
    /// If false, the function certainly did not run, and it is safe to call it again.
    pub fn started(&self) -> bool {
        self.0.started
    }

    fn write_outcome(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind {
            ErrorKind::Panicked => f.write_str("panicked"),
            ErrorKind::Crashed => match self.0.signal {
                Some(signal) => write!(f, "crashed: its process was ended by {}", Signal(signal)),
                None => f.write_str("crashed: its process ended"),
            },
            ErrorKind::Exited => match self.0.exit_code {
                Some(code) => write!(f, "did not return: its process exited with status {code}"),
                None => f.write_str("did not return: its process exited"),
            },
            ErrorKind::TimedOut if self.0.started => {
                f.write_str("was stopped: it ran longer than its time limit")
            }
            ErrorKind::TimedOut => f.write_str("did not start in time"),
            ErrorKind::Cancelled => f.write_str("was cancelled"),
            ErrorKind::MemoryExceeded => f.write_str("exceeded its memory limit"),
            ErrorKind::Encode => f.write_str("has a value that cannot be serialised"),
            ErrorKind::Decode => f.write_str("has a value that cannot be deserialised"),
            ErrorKind::Spawn => match (self.0.exit_code, self.0.signal) {
                (Some(code), _) => write!(
                    f,
                    "did not run: its process exited early with status {code}"
                ),
                (None, Some(signal)) => write!(
                    f,
                    "did not run: its process was ended early by {}",
                    Signal(signal)
                ),
                (None, None) => f.write_str("did not run: its process could not be started"),
            },
            ErrorKind::Closed if self.0.reason.is_some() => f.write_str("has no outcome"),
            ErrorKind::Closed => f.write_str("was not run: the pool is closed"),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task `{}` ", self.0.task)?;
        if let Some(item) = self.0.item {
            write!(f, "(item {item}) ")?;
        }
        self.write_outcome(f)?;
        if let Some(panic) = &self.0.panic {
            write!(f, " {panic}")?;
        }
        if let Some(crash) = &self.0.crash {
            match (crash.is_stack_overflow(), crash.address()) {
                (true, _) => f.write_str(" because its stack was full")?,
                (false, Some(address)) => write!(f, " at address {address:#x}")?,
                (false, None) => {}
            }
        }
        if let Some(reason) = &self.0.reason {
            write!(f, ": {reason}")?;
        }
        match self.0.pid {
            Some(pid) => write!(f, " (pid {pid})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinError")
            .field("kind", &self.0.kind)
            .field("task", &self.0.task)
            .field("item", &self.0.item)
            .field("started", &self.0.started)
            .field("pid", &self.0.pid)
            .field("signal", &self.0.signal)
            .field("exit_code", &self.0.exit_code)
            .field("panic", &self.0.panic)
            .field("crash", &self.0.crash)
            .field("reason", &self.0.reason.as_ref().map(|it| &it.0))
            .finish()
    }
}

/// `Display` is complete without the source, which is its last part: the [`PanicReport`], or the reason.
impl std::error::Error for JoinError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match (&self.0.panic, &self.0.reason) {
            (Some(panic), _) => Some(panic),
            (None, Some(reason)) => Some(reason),
            (None, None) => None,
        }
    }
}

/// Displays a signal by name and number.
struct Signal(i32);

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            libc::SIGHUP => "SIGHUP",
            libc::SIGINT => "SIGINT",
            libc::SIGQUIT => "SIGQUIT",
            libc::SIGILL => "SIGILL",
            libc::SIGTRAP => "SIGTRAP",
            libc::SIGABRT => "SIGABRT",
            libc::SIGBUS => "SIGBUS",
            libc::SIGFPE => "SIGFPE",
            libc::SIGKILL => "SIGKILL",
            libc::SIGUSR1 => "SIGUSR1",
            libc::SIGSEGV => "SIGSEGV",
            libc::SIGUSR2 => "SIGUSR2",
            libc::SIGPIPE => "SIGPIPE",
            libc::SIGALRM => "SIGALRM",
            libc::SIGTERM => "SIGTERM",
            libc::SIGXCPU => "SIGXCPU",
            libc::SIGXFSZ => "SIGXFSZ",
            libc::SIGSYS => "SIGSYS",
            other => return write!(f, "signal {other}"),
        };
        write!(f, "{name} (signal {})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    #[test]
    fn display_names_task_signal_and_process() {
        let status = std::process::ExitStatus::from_raw(libc::SIGSEGV);
        let error = JoinError::new(ErrorKind::Crashed, "app::parse")
            .with_status(status)
            .in_process(42)
            .after_start(true);
        assert_eq!(
            error.to_string(),
            "task `app::parse` crashed: its process was ended by SIGSEGV (signal 11) (pid 42)"
        );
        assert!(error.is_crashed() && error.started() && error.signal() == Some(11));
    }

    #[test]
    fn panic_of_two_lines_is_displayed_on_one() {
        let error = JoinError::new(ErrorKind::Panicked, "app::parse").with_panic(PanicReport {
            message: "two\nlines".to_owned(),
            location: "src/a.rs:10:5".to_owned(),
            backtrace: None,
        });
        assert_eq!(
            error.to_string(),
            "task `app::parse` panicked at src/a.rs:10:5: two lines"
        );
    }
}
