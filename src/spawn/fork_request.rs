//! What is wanted when a child is forked: what it is to find, who it is, and what is to lie in its rings.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::inherited_state::InheritedState;
use super::launch::{ChildSpec, greeting};
use super::link::{Ends, First, Rings};
use super::spare::Release;
use crate::sys::doorbell::Doorbell;
use crate::transfer::control::ControlSocket;
use crate::transfer::env_block::EnvBlock;
use crate::transfer::greeting::Role;

/// A child that is wanted.
pub(super) struct ForkRequest<'a> {
    spec: &'a ChildSpec,
    /// Of a worker; a process of one task has none.
    bell: Option<&'a Doorbell>,
    first: First<'a>,
    pub(super) bequest: InheritedState,
}

impl<'a> ForkRequest<'a> {
    pub(super) fn new(
        spec: &'a ChildSpec,
        bell: Option<&'a Doorbell>,
        first: First<'a>,
    ) -> io::Result<Self> {
        Ok(Self {
            spec,
            bell,
            first,
            bequest: InheritedState::of(spec)?,
        })
    }

    /// Greets a child that may come to be at the other end, and writes what it is to find in its rings.
    pub(super) fn greet(&self, control: &Arc<ControlSocket>) -> io::Result<Ends> {
        let (role, rings) = Rings::with(self.bell)?;
        let message = greeting(self.spec, role, &[]);
        let fds: Vec<_> = rings.descriptors(self.bell).collect();
        control.send(&message, &fds)?;
        Ok(self.written(rings.ends(control)))
    }

    /// Greets a spare of a server whose environment is `known`. One that is to run one task has rings, with these `ends`,
    /// and is told when it may begin.
    pub(super) fn greet_spare(
        &self,
        control: &Arc<ControlSocket>,
        ends: Ends,
        known: Option<&EnvBlock>,
    ) -> io::Result<Ends> {
        let word = |role| {
            let greeting = greeting(self.spec, role, &[]);
            self.bequest.word(control, greeting, known)
        };
        if self.bell.is_none() {
            let untold = Some(Release::new(word(Role::Single)?));
            return Ok(self.written(Ends { untold, ..ends }));
        }
        let (role, rings) = Rings::with(self.bell)?;
        let fds: Vec<BorrowedFd<'_>> = rings.descriptors(self.bell).collect();
        word(role)?.send(&fds)?;
        // Until it has heard that it is none of one task, that would end it.
        let parent_death = ends.parent_death;
        Ok(self.written(Ends {
            parent_death,
            ..rings.ends(control)
        }))
    }

    fn written(&self, mut ends: Ends) -> Ends {
        ends.write(self.first);
        ends
    }
}
