//! Saying how a process is to be started.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use super::handle::ProcessHandle;
use super::state::Stage;
use super::stdio::{ChildStderr, ChildStdin, ChildStdout, Pipes};
use super::supervisor;
use super::supervisor::Order;
use crate::call::job::Single;
use crate::spawn::{ChildSource, ChildSpec, StartMethod, StdioSpec};
use crate::sys::limits;
use crate::task::{Call, Task};

/// Runs `f` in a process of its own, with the defaults of [`Process::builder`].
///
/// Never fails by itself: a process that could not be started resolves with
/// [`ErrorKind::Spawn`](crate::ErrorKind::Spawn). Must be called inside a Tokio runtime.
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

/// One function in one process of its own: see [`Process::builder`].
#[derive(Debug)]
pub enum Process {}

impl Process {
    /// Starts saying how a process is to be started.
    pub fn builder() -> ProcessBuilder {
        ProcessBuilder {
            spec: ChildSpec::default(),
            start_method: StartMethod::default(),
            stdin: None,
            stdout: None,
            stderr: None,
            kill_on_drop: false,
        }
    }
}

/// How a process is to be started. The last word on everything counts.
#[derive(Debug)]
#[must_use = "a builder does nothing until `spawn`"]
pub struct ProcessBuilder {
    spec: ChildSpec,
    start_method: StartMethod,
    stdin: Option<Stdio>,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
    kill_on_drop: bool,
}

impl ProcessBuilder {
    /// What the process is called; by default the path of its function. `ps` and `top` show it too.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.spec.name = Some(name.into());
        self
    }

    /// How the process comes to be.
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.start_method = method;
        self
    }

    /// Sets a variable of the child's environment, which is otherwise the application's at the time
    /// of the spawn.
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        let variable = (key.into(), Some(value.into()));
        self.spec.environment.push(variable);
        self
    }

    /// Sets several variables of the child's environment.
    pub fn envs<I, K, V>(mut self, variables: I) -> Self
    where
        I: IntoIterator<Item = (K, V)>,
        K: Into<OsString>,
        V: Into<OsString>,
    {
        for (key, value) in variables {
            self = self.env(key, value);
        }
        self
    }

    /// Removes a variable from the child's environment.
    pub fn env_remove(mut self, key: impl Into<OsString>) -> Self {
        self.spec.environment.push((key.into(), None));
        self
    }

    /// Gives the child nothing of the application's environment, only what is set from here on.
    pub fn env_clear(mut self) -> Self {
        self.spec.environment.clear();
        self.spec.clear_environment = true;
        self
    }

    /// The child's working directory; by default the application's. A directory that does not exist is
    /// an [`ErrorKind::Spawn`](crate::ErrorKind::Spawn).
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.spec.directory = Some(directory.into());
        self
    }

    /// The child's stdin; by default `/dev/null`.
    pub fn stdin(mut self, stream: impl Into<Stdio>) -> Self {
        self.stdin = Some(stream.into());
        self
    }

    /// The child's stdout; by default the application's.
    pub fn stdout(mut self, stream: impl Into<Stdio>) -> Self {
        self.stdout = Some(stream.into());
        self
    }

    /// The child's stderr; by default the application's.
    pub fn stderr(mut self, stream: impl Into<Stdio>) -> Self {
        self.stderr = Some(stream.into());
        self
    }

    /// How far the child steps back for others, as `nice(1)`: 0 is the application's own priority, 19
    /// the furthest. What the system refuses is not done.
    pub fn nice(mut self, nice: i32) -> Self {
        self.spec.nice = nice;
        self
    }

    /// The processors the process may run on, by number; by default those the application may run on. If it
    /// may run on none of them, that is an [`ErrorKind::Spawn`](crate::ErrorKind::Spawn).
    pub fn cpu_affinity(mut self, processors: impl IntoIterator<Item = usize>) -> Self {
        let number = |processor| u32::try_from(processor).unwrap_or(u32::MAX);
        let processors = processors.into_iter().map(number).collect();
        self.spec.processors = Some(processors);
        self
    }

    /// How much memory the process may take, in bytes, beyond the few mebibytes it has when it starts. All
    /// private memory counts that it may write to, touched or not; memory shared with others does not.
    ///
    /// Beyond it allocations fail. In Rust that ends the process, unless it was asked for by `try_reserve`: the
    /// outcome is [`ErrorKind::MemoryExceeded`](crate::ErrorKind::MemoryExceeded).
    #[doc(alias = "RLIMIT_DATA")]
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.spec.memory_limit = Some(bytes);
        self
    }

    /// How much processor time the process may use, rounded up to seconds. Beyond it the kernel ends it with
    /// SIGXCPU, which is an [`ErrorKind::Crashed`](crate::ErrorKind::Crashed).
    #[doc(alias = "RLIMIT_CPU")]
    pub fn cpu_time_limit(self, time: Duration) -> Self {
        let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
        self.limit(limits::CPU_TIME, seconds.max(1))
    }

    /// How many descriptors the process may have open.
    #[doc(alias = "RLIMIT_NOFILE")]
    pub fn descriptor_limit(self, descriptors: u64) -> Self {
        self.limit(limits::DESCRIPTORS, descriptors)
    }

    /// How large the process may make a file, in bytes. Beyond it the kernel ends it with SIGXFSZ, which is an
    /// [`ErrorKind::Crashed`](crate::ErrorKind::Crashed).
    #[doc(alias = "RLIMIT_FSIZE")]
    pub fn file_size_limit(self, bytes: u64) -> Self {
        self.limit(limits::FILE_SIZE, bytes)
    }

    /// How large a core dump the process may leave, in bytes; 0 is none.
    #[doc(alias = "RLIMIT_CORE")]
    pub fn core_size_limit(self, bytes: u64) -> Self {
        self.limit(limits::CORE_SIZE, bytes)
    }

    /// The last word on each kind counts. No limit is ever raised above the application's own.
    fn limit(mut self, kind: u32, amount: u64) -> Self {
        self.spec.limits.retain(|(other, _)| *other != kind);
        self.spec.limits.push((kind, amount));
        self
    }

    /// Lets the process outlive the application: it ends when its function returns, and not before.
    ///
    /// As long as the application and its runtime live, the handle gives the outcome and can abort it as ever.
    /// Afterwards the outcome is lost. The process leads a session of its own, so that closing the terminal
    /// does not end it. What the application writes to is its output too, unless it is given another.
    #[doc(alias = "daemon")]
    #[doc(alias = "setsid")]
    pub fn detach(mut self) -> Self {
        self.spec.detached = true;
        self
    }

    /// Whether dropping the handle kills the process. By default it detaches.
    pub fn kill_on_drop(mut self, kill: bool) -> Self {
        self.kill_on_drop = kill;
        self
    }

    /// Runs `f` with `args` in a process of its own.
    ///
    /// Never fails by itself and never blocks: a process that could not be started resolves with
    /// [`ErrorKind::Spawn`](crate::ErrorKind::Spawn). Must be called inside a Tokio runtime, which
    /// attends to the process: when the runtime ends, the process is killed, unless it was built with
    /// [`detach`](Self::detach).
    ///
    /// `f` runs on the main thread of its process, whose end is that of any program: thread-locals of that thread are
    /// dropped (for 100 ms at most: one that waits for ever is left alone, and what `atexit(3)` was told then is
    /// not done), then what `atexit(3)` was told is done. Other threads are not waited for.
    pub fn spawn<F, M, A>(self, f: F, args: A) -> ProcessHandle<F::Output>
    where
        F: Task<M, A>,
    {
        let _ = f; // has no bytes: its type is the function
        let job = Arc::new(Single::<F::Call>::new(F::arguments(args)));
        let stage = Arc::new(Stage::new());
        let mut spec = self.spec;
        let name = spec
            .name
            .get_or_insert_with(|| <F::Call as Call>::name().to_owned())
            .clone();
        let mut pipes = Pipes::default();
        let mut handle = ProcessHandle {
            job: Arc::clone(&job) as _,
            stage: Arc::clone(&stage),
            name,
            kill_on_drop: self.kill_on_drop,
            stdin: None,
            stdout: None,
            stderr: None,
        };
        if self.stdin.is_some() {
            handle.stdin = Some(ChildStdin::new(pipes.expect(0)));
        }
        if self.stdout.is_some() {
            handle.stdout = Some(ChildStdout::new(pipes.expect(1)));
        }
        if self.stderr.is_some() {
            handle.stderr = Some(ChildStderr::new(pipes.expect(2)));
        }
        supervisor::begin(Order {
            job,
            stage,
            source: ChildSource::of(self.start_method),
            spec,
            streams: StdioSpec {
                stdin: self.stdin,
                stdout: self.stdout,
                stderr: self.stderr,
            },
            pipes,
        });
        handle
    }
}
