//! What is known about a child before it starts.

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use super::output::OutputFds;
use super::surroundings::Surroundings;
use crate::sys::cgroup::ChildCgroup;

/// Everything about a child that does not depend on how it is started.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChildSpec {
    pub(crate) name: Option<String>,
    /// The name of the worker's pool.
    pub(crate) pool: Option<String>,
    /// The worker's number in its pool.
    pub(crate) number: Option<usize>,
    /// How many lanes the worker has beside the first.
    pub(crate) other_lanes: usize,
    /// What the seeds of the worker's tasks follow from.
    pub(crate) seed: Option<u64>,
    /// Where the worker may make a directory.
    pub(crate) scratch: Option<PathBuf>,
    pub(crate) cgroup: Option<OwnCgroup>,
    /// Whether the child outlives this process.
    pub(crate) detached: bool,
    pub(crate) surroundings: Surroundings,
    pub(crate) output: OutputFds,
}

/// The control group of a child.
#[derive(Debug, Clone)]
pub(crate) struct OwnCgroup {
    pub(crate) group: Arc<ChildCgroup>,
    /// Whether a child that cannot enter it ends.
    pub(crate) required: bool,
}

/// Variables that are read before the program's first instruction, by the dynamic linker and by the C library's
/// allocator. In a forked child they come too late.
const READ_AT_EXEC: [&str; 3] = ["LD_", "GLIBC_TUNABLES", "MALLOC_"];

impl ChildSpec {
    /// Checks what no process can have: a forked child would have another environment without a word.
    pub(super) fn check(&self) -> io::Result<()> {
        let has_zero = |text: &OsStr| text.as_encoded_bytes().contains(&0);
        for (key, value) in &self.surroundings.environment {
            if has_zero(key) || value.as_deref().is_some_and(has_zero) {
                let why = format!("the environment variable {key:?} has a zero byte");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
            // A name may begin with `=`.
            let name = key.as_encoded_bytes();
            if value.is_some() && name.get(1..).is_none_or(|rest| rest.contains(&b'=')) {
                let why = format!("{key:?} cannot be the name of an environment variable");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
        }
        Ok(())
    }

    /// Whether only an executed child can obey the environment. A forked child has a variable of the linker too late,
    /// and keeps in its memory, and in `/proc/PID/environ`, what it should not have inherited.
    pub(super) fn needs_exec(&self) -> bool {
        self.surroundings.clear_environment
            || self.surroundings.environment.iter().any(|(key, _)| {
                let key = key.as_encoded_bytes();
                READ_AT_EXEC.iter().any(|it| key.starts_with(it.as_bytes()))
            })
    }
}

/// The child's standard streams; `None` is the default.
#[derive(Debug, Default)]
pub(crate) struct StdioSpec {
    pub(crate) stdin: Option<Stdio>,
    pub(crate) stdout: Option<Stdio>,
    pub(crate) stderr: Option<Stdio>,
}

impl StdioSpec {
    pub(super) fn is_default(&self) -> bool {
        self.stdin.is_none() && self.stdout.is_none() && self.stderr.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_the_linker_need_exec() {
        let with = |key: &str| {
            let mut spec = ChildSpec::default();
            spec.surroundings.set("A", None);
            spec.surroundings.set(key, Some("1".into()));
            spec
        };
        assert!(with("LD_PRELOAD").needs_exec());
        assert!(with("MALLOC_ARENA_MAX").needs_exec());
        assert!(!with("OLD_LD_PRELOAD").needs_exec());
        assert!(!ChildSpec::default().needs_exec());
    }

    #[test]
    fn cleared_environment_needs_exec() {
        let mut spec = ChildSpec::default();
        spec.surroundings.clear_environment = true;
        assert!(spec.needs_exec());
    }
}
