//! The options of a process, and its start.
//!
//! Runs in the parent.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use super::handle::ProcessHandle;
use super::state::ProcessState;
use super::stdio::{ChildStderr, ChildStdin, ChildStdout, PipeSenders};
use super::supervisor;
use super::supervisor::SpawnRequest;
use crate::call::single::Single;
use crate::spawn::{ChildSource, ChildSpec, StartMethod, StdioSpec};
use crate::sys::limits;
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
            start_method: StartMethod::default(),
            stdin: None,
            stdout: None,
            stderr: None,
            kill_on_drop: false,
            result_limit: None,
        }
    }
}

/// The longest limit of processor time that is one, in seconds: 292 years.
const LONGEST_CPU_TIME: u64 = i64::MAX as u64 / 1_000_000_000;

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

    /// Sets a variable of the child's environment.
    ///
    /// Other variables are those of the application at the time of the spawn.
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

    /// Starts the child with an empty environment, to which later calls of [`env`](Self::env) add variables.
    ///
    /// Earlier calls of `env` are undone.
    pub fn env_clear(mut self) -> Self {
        self.spec.environment.clear();
        self.spec.clear_environment = true;
        self
    }

    /// Sets the child's working directory. By default it is the application's.
    ///
    /// If the directory does not exist, the handle resolves to [`ErrorKind::Spawn`](crate::ErrorKind::Spawn).
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.spec.directory = Some(directory.into());
        self
    }

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
        self.spec.nice = nice;
        self
    }

    /// Sets the processors that the process may run on, by number. By default they are the application's.
    ///
    /// If none of them is available, the handle resolves to [`ErrorKind::Spawn`](crate::ErrorKind::Spawn).
    pub fn cpu_affinity(mut self, processors: impl IntoIterator<Item = usize>) -> Self {
        let number = |processor| u32::try_from(processor).unwrap_or(u32::MAX);
        let processors = processors.into_iter().map(number).collect();
        self.spec.processors = Some(processors);
        self
    }

    /// Limits how much memory the process may allocate, in bytes, beyond the few mebibytes it has when it starts.
    ///
    /// All private writable memory counts, touched or not; memory shared with other processes does not. Beyond the
    /// limit, allocations fail. A failed allocation ends a Rust program, unless it was made with `try_reserve`. The
    /// handle then resolves to [`ErrorKind::MemoryExceeded`](crate::ErrorKind::MemoryExceeded).
    #[doc(alias = "RLIMIT_DATA")]
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.spec.memory_limit = Some(bytes);
        self
    }

    /// Limits how long the result may be, in bytes as it is encoded.
    ///
    /// A longer result is not read, and the handle resolves to [`ErrorKind::Decode`](crate::ErrorKind::Decode): a child
    /// must not be able to fill the application's memory. By default the limit is 4 GiB, or half of the machine's memory
    /// if that is less. Results of up to 64 KiB are always read.
    pub fn result_limit(mut self, bytes: u64) -> Self {
        self.result_limit = Some(bytes);
        self
    }

    /// Limits how much processor time the process may use, rounded up to seconds.
    ///
    /// Beyond the limit the kernel ends the process with SIGXCPU, and the handle resolves to
    /// [`ErrorKind::Crashed`](crate::ErrorKind::Crashed).
    #[doc(alias = "RLIMIT_CPU")]
    pub fn cpu_time_limit(self, time: Duration) -> Self {
        let seconds = time
            .as_secs()
            .saturating_add(u64::from(time.subsec_nanos() > 0));
        // The kernel counts in nanoseconds and lets them overflow.
        let seconds = match seconds {
            0..=LONGEST_CPU_TIME => seconds.max(1),
            _ => limits::UNLIMITED,
        };
        self.limit(limits::CPU_TIME, seconds)
    }

    /// Limits how many descriptors the process may have open.
    #[doc(alias = "RLIMIT_NOFILE")]
    pub fn descriptor_limit(self, descriptors: u64) -> Self {
        self.limit(limits::DESCRIPTORS, descriptors)
    }

    /// Limits the size of files that the process writes, in bytes.
    ///
    /// Beyond the limit the kernel ends the process with SIGXFSZ, and the handle resolves to
    /// [`ErrorKind::Crashed`](crate::ErrorKind::Crashed).
    #[doc(alias = "RLIMIT_FSIZE")]
    pub fn file_size_limit(self, bytes: u64) -> Self {
        self.limit(limits::FILE_SIZE, bytes)
    }

    /// Limits the size of the process's core dump, in bytes; 0 disables core dumps.
    #[doc(alias = "RLIMIT_CORE")]
    pub fn core_size_limit(self, bytes: u64) -> Self {
        self.limit(limits::CORE_SIZE, bytes)
    }

    /// Replaces an earlier limit of the same kind. The child never raises a limit above the application's own.
    fn limit(mut self, kind: u32, amount: u64) -> Self {
        self.spec.limits.retain(|(other, _)| *other != kind);
        self.spec.limits.push((kind, amount));
        self
    }

    /// Lets the process outlive the application.
    ///
    /// The process leads a session of its own, so closing the terminal does not end it. While the application and
    /// its runtime live, the handle gives the outcome and can abort the process. Afterwards the process runs until
    /// its function returns, and its outcome is lost. By default it writes to the application's stdout and stderr.
    #[doc(alias = "daemon")]
    #[doc(alias = "setsid")]
    pub fn detach(mut self) -> Self {
        self.spec.detached = true;
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
