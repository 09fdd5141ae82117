//! The options of a process, and its start.
//!
//! Runs in the parent.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use super::handle::ProcessHandle;
use super::state::ProcessState;
use super::stdio::{ChildStderr, ChildStdin, ChildStdout, PipeSenders};
use super::supervisor;
use super::supervisor::SpawnRequest;
use crate::call::single::Single;
use crate::spawn::{
    ChildSource, ChildSpec, StartMethod, StdioSpec, Surroundings, surroundings_setters,
};
use crate::task::{Call, Task};

/// Runs `f` in a process of its own, with the default options of [`Process::builder`].
///
/// Must be called inside a Tokio runtime. It does not fail and does not block: if the process cannot be started, the
/// handle resolves to [`ErrorKind::Spawn`](crate::ErrorKind::Spawn).
///
/// ```
/// # #[procession::main]
/// # async fn main() -> Result<(), procession::JoinError> {
/// let sum = procession::spawn(|a: u64, b: u64| a + b, (1, 2)).await?;
/// assert_eq!(sum, 3);
/// # Ok(())
/// # }
/// ```
pub fn spawn<F, M, A>(f: F, args: A) -> ProcessHandle<F::Output>
where
    F: Task<M, A>,
{
    Process::builder().spawn(f, args)
}

/// The namespace of [`Process::builder`]; it has no values.
///
/// The running process is a [`ProcessHandle`].
#[derive(Debug)]
pub enum Process {}

impl Process {
    /// Returns a builder with the default options.
    pub fn builder() -> ProcessBuilder {
        ProcessBuilder {
            spec: ChildSpec::default(),
            surroundings: Surroundings::default(),
            start_method: StartMethod::default(),
            stdin: None,
            stdout: None,
            stderr: None,
            kill_on_drop: false,
            result_limit: None,
        }
    }
}

/// The options of a process. Made by [`Process::builder`]; later calls override earlier ones.
///
/// ```
/// use procession::Process;
///
/// # #[procession::main]
/// # async fn main() -> Result<(), procession::JoinError> {
/// let greeting = Process::builder()
///     .name("greeter")
///     .env("WHOM", "world")
///     .spawn(|| format!("hello {}", std::env::var("WHOM").unwrap_or_default()), ());
/// assert_eq!(greeting.await?, "hello world");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `spawn`"]
pub struct ProcessBuilder {
    spec: ChildSpec,
    surroundings: Surroundings,
    start_method: StartMethod,
    stdin: Option<Stdio>,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
    kill_on_drop: bool,
    result_limit: Option<u64>,
}

impl ProcessBuilder {
    /// Names the process. By default its name is the path of its function. `ps` and `top` show the name.
    ///
    /// The child is told the first 10,000 bytes of a longer name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.spec.name = Some(name.into());
        self
    }

    /// Sets how the process is started. See [`StartMethod`].
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.start_method = method;
        self
    }

    surroundings_setters!("the process", "the handle resolves to");

    /// Sets the child's stdin. By default it is `/dev/null`.
    ///
    /// A child cannot read from the application's terminal: it gets `EIO`. See [`StartMethod`].
    pub fn stdin(mut self, stream: impl Into<Stdio>) -> Self {
        self.stdin = Some(stream.into());
        self
    }

    /// Sets the child's stdout. By default it is the application's.
    pub fn stdout(mut self, stream: impl Into<Stdio>) -> Self {
        self.stdout = Some(stream.into());
        self
    }

    /// Sets the child's stderr. By default it is the application's.
    pub fn stderr(mut self, stream: impl Into<Stdio>) -> Self {
        self.stderr = Some(stream.into());
        self
    }

    /// Sets the child's nice increment (`nice(1)`), relative to the application. By default 0.
    ///
    /// An increment that the system refuses, such as a negative one without the right to it, is ignored.
    pub fn nice(mut self, nice: i32) -> Self {
        self.surroundings.nice = nice;
        self
    }

    /// Limits how long the result may be, in bytes as it is encoded.
    ///
    /// A longer result is not read, and the handle resolves to [`ErrorKind::Decode`](crate::ErrorKind::Decode): a child
    /// must not be able to fill the application's memory. By default the limit is 4 GiB, or half of the machine's
    /// memory if that is less. Results of up to 64 KiB are always read.
    pub fn result_limit(mut self, bytes: u64) -> Self {
        self.result_limit = Some(bytes);
        self
    }

    /// Limits how much processor time the process may use, rounded up to seconds.
    ///
    /// Beyond the limit the kernel ends the process with SIGXCPU, and the handle resolves to
    /// [`ErrorKind::Crashed`](crate::ErrorKind::Crashed).
    #[doc(alias = "RLIMIT_CPU")]
    pub fn cpu_time_limit(mut self, time: Duration) -> Self {
        self.surroundings.cpu_time = Some(time);
        self
    }

    /// Sets whether the process outlives the application. By default it does not.
    ///
    /// A detached process leads a session of its own, so closing the terminal does not end it. While the application
    /// and its runtime live, the handle gives the outcome and can abort the process. Afterwards the process runs until
    /// its function returns, and its outcome is lost. By default it writes to the application's stdout and stderr.
    #[doc(alias = "daemon")]
    #[doc(alias = "setsid")]
    pub fn detach(mut self, detach: bool) -> Self {
        self.spec.detached = detach;
        self
    }

    /// Sets whether dropping the handle kills the process. By default a drop detaches the process.
    pub fn kill_on_drop(mut self, kill: bool) -> Self {
        self.kill_on_drop = kill;
        self
    }

    /// Runs `f` with `args` in a process of its own.
    ///
    /// Must be called inside a Tokio runtime. It does not fail and does not block: if the process cannot be started,
    /// the handle resolves to [`ErrorKind::Spawn`](crate::ErrorKind::Spawn). The runtime supervises the process: when
    /// the runtime shuts down, the process is killed, unless it was built with [`detach`](Self::detach).
    ///
    /// `f` runs on the main thread. Afterwards the process exits normally: thread-local destructors run (at most
    /// 100 ms), then `atexit` handlers. If the destructors exceed the limit, the handlers are skipped. Other threads
    /// are not waited for.
    pub fn spawn<F, M, A>(self, f: F, args: A) -> ProcessHandle<F::Output>
    where
        F: Task<M, A>,
    {
        let _ = f; // zero-sized: its type is the function
        let job = Arc::new(Single::<F::Call>::new(F::arguments(args)));
        let state = Arc::new(ProcessState::new());
        let mut spec = self.spec;
        spec.surroundings = self.surroundings;
        let name = spec
            .name
            .get_or_insert_with(|| <F::Call as Call>::name().to_owned())
            .clone();
        let mut pipes = PipeSenders::default();
        let stdin = self.stdin.is_some().then(|| pipes.expect(0));
        let stdout = self.stdout.is_some().then(|| pipes.expect(1));
        let stderr = self.stderr.is_some().then(|| pipes.expect(2));
        let background = supervisor::begin(SpawnRequest {
            job: Arc::clone(&job) as _,
            state: Arc::clone(&state),
            source: ChildSource::of(self.start_method),
            spec,
            result_limit: self.result_limit,
            streams: StdioSpec {
                stdin: self.stdin,
                stdout: self.stdout,
                stderr: self.stderr,
            },
            pipes,
        });
        ProcessHandle {
            job,
            state,
            background,
            name,
            kill_on_drop: self.kill_on_drop,
            stdin: stdin.map(ChildStdin::new),
            stdout: stdout.map(ChildStdout::new),
            stderr: stderr.map(ChildStderr::new),
        }
    }
}
