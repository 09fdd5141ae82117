//! What a forked child adopts: environment, directory, stdout, stderr, limits.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use crate::sys::{fork, identity, limits, memory, stdio};
use crate::transfer::env_block::EnvBlock;
use crate::transfer::fork_spec::{EnvSource, ForkSpec};
use crate::transfer::messages::Refusal;

/// What a child adopts, checked before the fork.
#[derive(Debug)]
pub(super) struct ForkSetup {
    /// `None` if it is the fork server's.
    environment: Option<EnvBlock>,
    /// Stdout and stderr.
    streams: Vec<OwnedFd>,
    limits: Vec<(u64, u64)>,
    detached: bool,
}

impl ForkSetup {
    /// Changes to the child's directory, and takes the descriptors that [`ForkSpec`] lists from the front of `fds`.
    /// Before the fork, so that a missing directory is a failed start.
    pub(super) fn prepare(spec: ForkSpec, fds: &mut Vec<OwnedFd>) -> Result<Self, Refusal> {
        let has_env_memory = matches!(spec.environment, EnvSource::Memory(_));
        let count = 3 + usize::from(has_env_memory);
        if fds.len() < count {
            return Err(Refusal::Failed { errno: libc::EIO });
        }
        let mut fds: Vec<_> = fds.drain(..count).collect();
        let env_memory = fds.drain(3..).next();
        let directory = fds.remove(0);
        change_directory(directory, spec.directory.as_deref())?;
        Ok(Self {
            environment: environment(spec.environment, env_memory)
                .map_err(|error| failed(&error))?,
            streams: fds,
            limits: spec.limits,
            detached: spec.detached,
        })
    }

    pub(super) fn is_detached(&self) -> bool {
        self.detached
    }

    /// Applies the setup to a fork with this environment and these limits.
    pub(super) fn apply(&self, environment: &EnvBlock, limits: &[(u64, u64)]) {
        for (slot, stream) in [1, 2].into_iter().zip(&self.streams) {
            // Fails only for a closed descriptor.
            let _ = stdio::put_slot(slot, stream.as_fd());
        }
        limits::set_all(&self.limits, limits);
        match &self.environment {
            Some(block) if block != environment => adopt_environment(block),
            _ => {}
        }
    }
}

/// Changes to the application's directory and, relative to that, the child's.
fn change_directory(application: OwnedFd, child: Option<&OsStr>) -> Result<(), Refusal> {
    let child = child.map(Path::new);
    // An absolute directory is reached from everywhere.
    if !child.is_some_and(Path::is_absolute) {
        let entered = identity::change_directory(application);
        entered.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => Refusal::Barred,
            _ => failed(&error),
        })?;
    }
    let changed = child.map_or(Ok(()), std::env::set_current_dir);
    changed.map_err(|error| failed(&error))
}

fn failed(error: &io::Error) -> Refusal {
    // `set_current_dir` refuses a path with a zero byte by itself.
    let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
    Refusal::Failed { errno }
}

/// The environment of the child; `None` if it is the fork server's.
fn environment(source: EnvSource, memory: Option<OwnedFd>) -> io::Result<Option<EnvBlock>> {
    match (source, memory) {
        (EnvSource::OfForkServer, _) => Ok(None),
        (EnvSource::Inline(block), _) => Ok(Some(block)),
        (EnvSource::Memory(len), Some(memory)) => {
            if len > memory::sealed_len(&memory)? {
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            let mut block = Vec::new();
            memory::Mapping::whole(&memory, len)?.read(0, len, &mut block);
            Ok(Some(EnvBlock::from_bytes(block)))
        }
        (EnvSource::Memory(_), None) => Err(io::Error::from_raw_os_error(libc::EIO)),
    }
}

/// Changes the variables that differ from `block`.
fn adopt_environment(block: &EnvBlock) {
    let wanted: BTreeMap<&OsStr, &OsStr> = block.variables().collect();
    let own: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    let removed = own
        .keys()
        .filter(|key| !wanted.contains_key(key.as_os_str()))
        .map(|key| (key.as_os_str(), None));
    let set = wanted
        .iter()
        .filter(|(key, value)| own.get(**key).map(OsString::as_os_str) != Some(**value))
        .map(|(key, value)| (*key, Some(*value)));
    fork::change_environment(removed.chain(set));
}
