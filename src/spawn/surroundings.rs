//! What surrounds the functions that a child runs: environment, directory, processors, and limits.
//!
//! Lives in the application. A single process and a pool's workers have the same options, so both builders hold this
//! type, and its public setters are written once, here.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::sys::limits;

/// The longest limit of processor time that is one, in seconds: 292 years.
const LONGEST_CPU_TIME: u64 = i64::MAX as u64 / 1_000_000_000;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    /// Variables to set, and without a value to remove.
    pub(crate) environment: Vec<(OsString, Option<OsString>)>,
    /// Whether the child inherits no variable.
    pub(crate) clear_environment: bool,
    pub(crate) directory: Option<PathBuf>,
    /// The processors the child may run on; `None` for the application's.
    pub(crate) processors: Option<Vec<u32>>,
    /// Added to the application's nice value.
    pub(crate) nice: i32,
    /// In bytes, beyond the child's memory at its start.
    pub(crate) memory_limit: Option<u64>,
    /// Of a single process for all it does, of a worker for each task.
    pub(crate) cpu_time: Option<Duration>,
    /// Other limits, by the kernel's numbers.
    pub(crate) limits: Vec<(u32, u64)>,
}

impl Surroundings {
    /// Sets a variable, or without a value removes it.
    pub(crate) fn set(&mut self, key: impl Into<OsString>, value: Option<OsString>) {
        self.environment.push((key.into(), value));
    }

    /// Sets a variable that is neither set nor removed here, nor inherited from this process.
    pub(crate) fn set_default(&mut self, key: &str, value: &str) {
        let is_inherited = !self.clear_environment && std::env::var_os(key).is_some();
        if !is_inherited && self.environment.iter().all(|(other, _)| other != key) {
            self.set(key, Some(value.into()));
        }
    }

    /// Replaces an earlier limit of the same kind. A child never raises a limit above the application's own.
    pub(crate) fn limit(&mut self, kind: u32, amount: u64) {
        self.limits.retain(|(other, _)| *other != kind);
        self.limits.push((kind, amount));
    }

    /// The limit of processor time as the kernel takes it: in seconds, at least one.
    pub(super) fn cpu_seconds(&self) -> Option<u64> {
        let time = self.cpu_time?;
        let seconds = time
            .as_secs()
            .saturating_add(u64::from(time.subsec_nanos() > 0));
        // The kernel counts in nanoseconds and lets them overflow.
        Some(match seconds {
            0..=LONGEST_CPU_TIME => seconds.max(1),
            _ => limits::UNLIMITED,
        })
    }
}

/// Defines the public setters of a builder with a field `surroundings`. `$child` is what has them, and `$fails` says
/// what becomes of a start that they make impossible.
macro_rules! surroundings_setters {
    ($child:literal, $fails:literal) => {
        #[doc = concat!("Sets a variable of the environment of ", $child, ".")]
        ///
        /// Other variables are those of the application at the time of the start. A variable that is read before the
        /// program's first instruction (`LD_…`, `MALLOC_…`, `GLIBC_TUNABLES`) has the program executed and not forked.
        #[doc = concat!("A name or a value that no environment can have makes the start fail: ", $fails)]
        /// [`ErrorKind::Spawn`](crate::ErrorKind::Spawn).
        pub fn env(
            mut self,
            key: impl Into<std::ffi::OsString>,
            value: impl Into<std::ffi::OsString>,
        ) -> Self {
            self.surroundings.set(key, Some(value.into()));
            self
        }

        #[doc = concat!("Sets several variables of the environment of ", $child, ".")]
        pub fn envs<I, K, V>(mut self, variables: I) -> Self
        where
            I: IntoIterator<Item = (K, V)>,
            K: Into<std::ffi::OsString>,
            V: Into<std::ffi::OsString>,
        {
            for (key, value) in variables {
                self = self.env(key, value);
            }
            self
        }

        #[doc = concat!("Removes a variable from the environment of ", $child, ".")]
        pub fn env_remove(mut self, key: impl Into<std::ffi::OsString>) -> Self {
            self.surroundings.set(key, None);
            self
        }

        #[doc = concat!("Empties the environment of ", $child, ", to which later calls of [`env`](Self::env) add variables.")]
        ///
        /// Earlier calls of `env` are undone. The program is executed and not forked: a forked process would keep in
        /// its memory what it should not have inherited.
        pub fn env_clear(mut self) -> Self {
            self.surroundings.environment.clear();
            self.surroundings.clear_environment = true;
            self
        }

        #[doc = concat!("Sets the working directory of ", $child, ". By default it is the application's.")]
        ///
        #[doc = concat!("If the directory does not exist, ", $fails)]
        /// [`ErrorKind::Spawn`](crate::ErrorKind::Spawn).
        #[doc(alias = "cwd")]
        pub fn current_dir(mut self, directory: impl Into<std::path::PathBuf>) -> Self {
            self.surroundings.directory = Some(directory.into());
            self
        }

        #[doc = concat!("Sets the processors that ", $child, " may run on, by number. By default they are the application's.")]
        ///
        #[doc = concat!("If none of them is available, ", $fails)]
        /// [`ErrorKind::Spawn`](crate::ErrorKind::Spawn).
        #[doc(alias = "sched_setaffinity")]
        pub fn cpu_affinity(mut self, processors: impl IntoIterator<Item = usize>) -> Self {
            let number = |processor| u32::try_from(processor).unwrap_or(u32::MAX);
            let processors = processors.into_iter().map(number).collect();
            self.surroundings.processors = Some(processors);
            self
        }

        #[doc = concat!("Limits how much memory ", $child, " may allocate, in bytes, beyond what it has when it starts.")]
        ///
        /// All private writable memory counts, touched or not. Memory that is shared with other processes does not, nor
        /// what a pool's preload has loaded. Beyond the limit, allocations fail. A failed allocation ends a Rust
        /// program, unless it was made with `try_reserve`. What ran then ends with
        /// [`ErrorKind::MemoryExceeded`](crate::ErrorKind::MemoryExceeded). By default there is no limit.
        #[doc(alias = "RLIMIT_DATA")]
        pub fn memory_limit(mut self, bytes: u64) -> Self {
            self.surroundings.memory_limit = Some(bytes);
            self
        }

        #[doc = concat!("Limits how many descriptors ", $child, " may have open.")]
        #[doc(alias = "RLIMIT_NOFILE")]
        pub fn descriptor_limit(mut self, descriptors: usize) -> Self {
            self.surroundings
                .limit(crate::sys::limits::DESCRIPTORS, descriptors as u64);
            self
        }

        #[doc = concat!("Limits the size of files that ", $child, " writes, in bytes.")]
        ///
        /// Beyond the limit the kernel ends the process with SIGXFSZ, and what ran then ends with
        /// [`ErrorKind::Crashed`](crate::ErrorKind::Crashed).
        ///
        /// It is the soft limit; the hard limit stays the application's. Results, messages and channels may be larger:
        /// the process lifts the limit while it makes shared memory.
        #[doc(alias = "RLIMIT_FSIZE")]
        pub fn file_size_limit(mut self, bytes: u64) -> Self {
            self.surroundings
                .limit(crate::sys::limits::FILE_SIZE, bytes);
            self
        }

        #[doc = concat!("Limits the size of the core dump of ", $child, ", in bytes; 0 disables core dumps.")]
        ///
        /// By default a pool's workers leave none, and a single process as large a one as the application may.
        #[doc(alias = "RLIMIT_CORE")]
        pub fn core_size_limit(mut self, bytes: u64) -> Self {
            self.surroundings
                .limit(crate::sys::limits::CORE_SIZE, bytes);
            self
        }
    };
}

pub(crate) use surroundings_setters;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_variable_gives_way_to_any_other() {
        let mut it = Surroundings::default();
        it.set("PROCESSION_TEST_A", Some("2".into()));
        it.set("PROCESSION_TEST_B", None);
        for key in [
            "PROCESSION_TEST_A",
            "PROCESSION_TEST_B",
            "PATH",
            "PROCESSION_TEST_C",
        ] {
            it.set_default(key, "1");
        }
        let set: Vec<_> = it
            .environment
            .iter()
            .map(|(key, _)| key.as_os_str())
            .collect();
        assert_eq!(
            set,
            [
                "PROCESSION_TEST_A",
                "PROCESSION_TEST_B",
                "PROCESSION_TEST_C"
            ]
        );
        it.clear_environment = true;
        it.set_default("PATH", "/bin");
        assert_eq!(
            it.environment.last(),
            Some(&("PATH".into(), Some("/bin".into())))
        );
    }

    #[test]
    fn processor_time_is_rounded_up_to_seconds() {
        let seconds = |time| {
            let cpu_time = Some(time);
            Surroundings {
                cpu_time,
                ..Surroundings::default()
            }
            .cpu_seconds()
        };
        assert_eq!(seconds(Duration::ZERO), Some(1));
        assert_eq!(seconds(Duration::from_millis(1001)), Some(2));
        assert_eq!(seconds(Duration::MAX), Some(limits::UNLIMITED));
        assert_eq!(Surroundings::default().cpu_seconds(), None);
    }
}
