//! What a child that is forked is to find, as an executed one would: environment, directory, streams, limits.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use super::launch::ChildSpec;
use crate::sys::memory;
use crate::sys::memory::Mapping;
use crate::sys::{identity, limits, stdio};
use crate::transfer::control::{ControlSocket, Message};
use crate::transfer::env_block::EnvBlock;
use crate::transfer::fork_spec::{EnvSource, ForkSpec};
use crate::transfer::greeting::Greeting;
use crate::transfer::messages::{ToForkServer, ToSpare};

/// What a child is to find, and shared memory that goes beside.
#[derive(Debug)]
pub(super) struct InheritedState {
    birth: ForkSpec,
    beside: Option<OwnedFd>,
}

impl InheritedState {
    /// That of a child of this blueprint which is forked now.
    pub(super) fn of(spec: &ChildSpec) -> io::Result<Self> {
        let block = environment(spec)?;
        let (environment, beside) = if block.fits_message() {
            (EnvSource::Inline(block), None)
        } else {
            let block = block.as_bytes();
            let memory = memory::memfd("procession-environment", block.len())?;
            Mapping::whole(&memory, block.len())?.write(0, block);
            (EnvSource::Memory(block.len()), Some(memory))
        };
        let birth = ForkSpec {
            environment,
            directory: spec.directory.clone(),
            limits: limits::all(),
            detached: spec.detached,
        };
        Ok(Self { birth, beside })
    }

    /// Whether a child that is there already can still become so: it leads a group, and must not be told of a place
    /// that may be none.
    pub(super) fn suits_the_born(&self) -> bool {
        !self.birth.detached && self.birth.directory.is_none()
    }

    /// Sends it to a fork server whose environment is `known`, with `theirs`, the child's end of a control socket.
    pub(super) fn send(
        &self,
        control: &ControlSocket,
        theirs: &OwnedFd,
        known: Option<&EnvBlock>,
    ) -> io::Result<()> {
        let message = ToForkServer::Fork(Box::new(self.to_one_with(known)));
        let directory = identity::open_current_directory()?;
        let beside = self.beside.as_ref();
        send(control, &message, Some(theirs), &directory, beside, &[])
    }

    /// What the spare at the other end of `control`, whose environment is `known`, is to be told.
    pub(super) fn word(
        &self,
        control: &Arc<ControlSocket>,
        greeting: Greeting,
        known: Option<&EnvBlock>,
    ) -> io::Result<Word> {
        let beside = self.beside.as_ref();
        Ok(Word {
            control: Arc::clone(control),
            message: ToSpare::Become(Box::new(self.to_one_with(known)), Box::new(greeting)),
            directory: identity::open_current_directory()?,
            beside: beside.map(OwnedFd::try_clone).transpose()?,
        })
    }

    /// What somebody must be told who has the environment `known`.
    fn to_one_with(&self, known: Option<&EnvBlock>) -> ForkSpec {
        let environment = match &self.birth.environment {
            EnvSource::Inline(block) if known == Some(block) => EnvSource::OfForkServer,
            other => other.clone(),
        };
        ForkSpec {
            environment,
            directory: self.birth.directory.clone(),
            limits: self.birth.limits.clone(),
            detached: self.birth.detached,
        }
    }
}

/// What a spare waits for.
#[derive(Debug)]
pub(super) struct Word {
    control: Arc<ControlSocket>,
    message: ToSpare,
    directory: OwnedFd,
    beside: Option<OwnedFd>,
}

impl Word {
    /// Sends it, with `more` descriptors that go with the greeting.
    pub(super) fn send(&self, more: &[BorrowedFd<'_>]) -> io::Result<()> {
        let beside = self.beside.as_ref();
        send(
            &self.control,
            &self.message,
            None,
            &self.directory,
            beside,
            more,
        )
    }
}

/// Sends `message` with what a [`Birth`] comes with.
fn send(
    control: &ControlSocket,
    message: &impl Message,
    theirs: Option<&OwnedFd>,
    directory: &OwnedFd,
    beside: Option<&OwnedFd>,
    more: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let is_there = |slot| stdio::is_inheritable(stdio::standard(slot));
    let null = match is_there(1) && is_there(2) {
        true => None,
        false => Some(stdio::null()?),
    };
    let stream = |slot| match &null {
        Some(null) if !is_there(slot) => null.as_fd(),
        _ => stdio::standard(slot),
    };
    let mut fds: Vec<_> = theirs.iter().map(|end| end.as_fd()).collect();
    fds.extend([directory.as_fd(), stream(1), stream(2)]);
    fds.extend(beside.map(|memory| memory.as_fd()));
    fds.extend(more);
    control.send(message, &fds)
}

/// What a program that is executed takes of one variable, name and value (`MAX_ARG_STRLEN`), in bytes. A
/// forked child could take more, but nothing that it executes.
const LONGEST_VARIABLE: usize = 128 * 1024;

/// The variables of a child of this blueprint, as a block.
fn environment(spec: &ChildSpec) -> io::Result<EnvBlock> {
    let variables = std::env::vars_os();
    if spec.environment.is_empty() && !spec.clear_environment {
        return Ok(EnvBlock::new(variables.collect()));
    }
    let mut variables: BTreeMap<OsString, OsString> = match spec.clear_environment {
        true => BTreeMap::new(),
        false => variables.collect(),
    };
    for (key, value) in &spec.environment {
        let bad = key.is_empty() || key.as_bytes().contains(&b'=') || has_zero(key.as_bytes());
        if bad || value.as_ref().is_some_and(|it| has_zero(it.as_bytes())) {
            let why = "a variable of the environment has a name or a value that none can have";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let len = key.len() + value.as_ref().map_or(0, |value| value.len());
        if len + "=\0".len() > LONGEST_VARIABLE {
            return Err(io::Error::from_raw_os_error(libc::E2BIG));
        }
        match value {
            Some(value) => variables.insert(key.clone(), value.clone()),
            None => variables.remove(key),
        };
    }
    Ok(EnvBlock::new(variables.into_iter().collect()))
}

fn has_zero(bytes: &[u8]) -> bool {
    bytes.contains(&0)
}
