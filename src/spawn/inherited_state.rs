//! What a forked child inherits as an executed one would: environment, directory, stdout, stderr, limits.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use super::output::OutputFds;
use super::spec::ChildSpec;
use crate::sys::identity::WorkingDirectory;
use crate::sys::memory;
use crate::sys::memory::Mapping;
use crate::sys::{limits, stdio};
use crate::transfer::control::{ControlSocket, Message};
use crate::transfer::env_block::EnvBlock;
use crate::transfer::fork_spec::{EnvSource, ForkSpec};

/// What a child inherits, taken when it was asked for.
#[derive(Debug)]
pub(super) struct InheritedState {
    spec: ForkSpec,
    directory: Arc<WorkingDirectory>,
    /// The environment, if it is too long for a message.
    env_memory: Option<OwnedFd>,
    output: OutputFds,
}

impl InheritedState {
    /// What a child of this spec inherits from the application as it is now.
    ///
    /// # Errors
    ///
    /// The spec has a variable that no environment can have.
    pub(super) fn of(spec: &ChildSpec) -> io::Result<Self> {
        let (block, output) = (environment(spec)?, spec.output.clone());
        let (environment, env_memory) = match block.fits_message() {
            true => (EnvSource::Inline(block), None),
            false => {
                let block = block.as_bytes();
                let memory = memory::memfd("procession-environment", block.len())?;
                Mapping::whole(&memory, block.len())?.write(0, block);
                (EnvSource::Memory(block.len()), Some(memory))
            }
        };
        let spec = ForkSpec {
            environment,
            directory: spec.surroundings.directory.clone().map(OsString::from),
            limits: limits::all(),
            detached: spec.detached,
        };
        Ok(Self {
            spec,
            directory: Arc::new(WorkingDirectory::now()?),
            env_memory,
            output,
        })
    }

    /// Whether a spare can become the child. A spare leads a group, so it cannot lead a session; and a directory that
    /// does not exist or cannot be entered must fail the fork and not the spare.
    pub(super) fn fits_spare(&self) -> bool {
        !self.spec.detached && self.spec.directory.is_none() && self.directory.can_be_entered
    }

    /// The spec for a fork server whose environment is `known`, or for a spare of this server.
    pub(super) fn spec_for(&self, known: Option<&EnvBlock>) -> ForkSpec {
        let environment = match &self.spec.environment {
            EnvSource::Inline(block) if known == Some(block) => EnvSource::OfForkServer,
            other => other.clone(),
        };
        ForkSpec {
            environment,
            directory: self.spec.directory.clone(),
            limits: self.spec.limits.clone(),
            detached: self.spec.detached,
        }
    }

    /// The descriptors that go with the spec.
    pub(super) fn descriptors(&self) -> io::Result<InheritedFds> {
        let env_memory = self.env_memory.as_ref();
        Ok(InheritedFds {
            directory: Arc::clone(&self.directory),
            env_memory: env_memory.map(OwnedFd::try_clone).transpose()?,
            output: self.output.clone(),
        })
    }
}

/// The descriptors that go with a [`ForkSpec`].
#[derive(Debug)]
pub(super) struct InheritedFds {
    directory: Arc<WorkingDirectory>,
    env_memory: Option<OwnedFd>,
    output: OutputFds,
}

impl InheritedFds {
    /// Sends `message` with `before`, these descriptors, and `behind`. Stdout and stderr are those of this moment,
    /// unless the child has its own.
    pub(super) fn send(
        &self,
        control: &ControlSocket,
        message: &impl Message,
        before: Option<BorrowedFd<'_>>,
        behind: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let is_there = |slot| stdio::is_inheritable(stdio::standard(slot));
        let null = match is_there(1) && is_there(2) {
            true => None,
            false => Some(stdio::null()?),
        };
        let stream = |slot| match (self.output.at(slot), &null) {
            (Some(own), _) => own.as_fd(),
            (None, Some(null)) if !is_there(slot) => null.as_fd(),
            (None, _) => stdio::standard(slot),
        };
        let mut fds: Vec<_> = before.into_iter().collect();
        fds.extend([self.directory.fd.as_fd(), stream(1), stream(2)]);
        fds.extend(self.env_memory.as_ref().map(|memory| memory.as_fd()));
        fds.extend(behind);
        control.send(message, &fds)
    }
}

/// The longest variable that `execve(2)` takes, name and value (`MAX_ARG_STRLEN`), in bytes. A forked child could have
/// a longer one, but no program that it executes.
const LONGEST_VARIABLE: usize = 128 * 1024;

fn environment(spec: &ChildSpec) -> io::Result<EnvBlock> {
    let spec = &spec.surroundings;
    if spec.environment.is_empty() && !spec.clear_environment {
        return Ok(EnvBlock::of_this_process());
    }
    let mut variables: BTreeMap<OsString, OsString> = match spec.clear_environment {
        true => BTreeMap::new(),
        false => std::env::vars_os().collect(),
    };
    for (key, value) in &spec.environment {
        check_variable(key, value.as_deref())?;
        match value {
            Some(value) => variables.insert(key.clone(), value.clone()),
            None => variables.remove(key),
        };
    }
    Ok(EnvBlock::new(variables.into_iter().collect()))
}

fn check_variable(key: &OsStr, value: Option<&OsStr>) -> io::Result<()> {
    let has_zero = |it: &OsStr| it.as_bytes().contains(&0);
    let bad_key = key.is_empty() || key.as_bytes().contains(&b'=') || has_zero(key);
    if bad_key || value.is_some_and(has_zero) {
        let why = "a variable of the environment has a name or a value that none can have";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let len = key.len() + value.map_or(0, OsStr::len);
    match len + "=\0".len() > LONGEST_VARIABLE {
        true => Err(io::Error::from_raw_os_error(libc::E2BIG)),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: &str, value: Option<&str>) -> io::Result<()> {
        check_variable(OsStr::new(key), value.map(OsStr::new))
    }

    #[test]
    fn variable_that_no_environment_can_have_is_refused() {
        assert!(check("A", Some("1=2")).is_ok());
        assert!(check("A", None).is_ok());
        for (key, value) in [("", "1"), ("A=B", "1"), ("A\0", "1"), ("A", "\0")] {
            let error = check(key, Some(value)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        let error = check("A", Some(&"x".repeat(LONGEST_VARIABLE))).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::E2BIG));
    }

    #[test]
    fn spare_fits_without_session_and_directory() {
        let fits = |spec: &ChildSpec| InheritedState::of(spec).unwrap().fits_spare();
        assert!(fits(&ChildSpec::default()));
        assert!(!fits(&ChildSpec {
            detached: true,
            ..ChildSpec::default()
        }));
        let mut elsewhere = ChildSpec::default();
        elsewhere.surroundings.directory = Some("/".into());
        assert!(!fits(&elsewhere));
    }

    #[test]
    fn environment_that_the_fork_server_has_is_not_sent() {
        let mut spec = ChildSpec::default();
        spec.surroundings.clear_environment = true;
        spec.surroundings.set("A", Some("1".into()));
        let state = InheritedState::of(&spec).unwrap();
        let same = EnvBlock::from_bytes(b"A=1\0".to_vec());
        let spec = state.spec_for(Some(&same));
        assert!(matches!(spec.environment, EnvSource::OfForkServer));
        for other in [None, Some(&EnvBlock::default())] {
            let spec = state.spec_for(other);
            assert!(matches!(spec.environment, EnvSource::Inline(block) if block == same));
        }
    }
}
