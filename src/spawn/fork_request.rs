//! A request for a forked child, complete before a fork server is chosen.
//!
//! It can be made again: each attempt has a new control socket and new rings.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use super::greeting::greeting;
use super::inherited_state::InheritedState;
use super::link::{ParentLink, Rings, WriteFirst};
use super::release::Release;
use super::spec::ChildSpec;
use crate::sys::doorbell::Doorbell;
use crate::transfer::control::ControlSocket;
use crate::transfer::env_block::EnvBlock;
use crate::transfer::greeting::{Greeting, Role};
use crate::transfer::messages::{ToForkServer, ToSpare};

/// What a fork server is asked for.
pub(super) struct ForkRequest<'a> {
    greeting: Greeting,
    inherited: InheritedState,
    /// Of a worker's pool; a single-task process has none.
    doorbell: Option<&'a Doorbell>,
    write_first: WriteFirst<'a>,
}

impl<'a> ForkRequest<'a> {
    pub(super) fn new(
        spec: &ChildSpec,
        doorbell: Option<&'a Doorbell>,
        write_first: WriteFirst<'a>,
    ) -> io::Result<Self> {
        let role = match doorbell {
            Some(_) => Role::Worker,
            None => Role::Single,
        };
        Ok(Self {
            greeting: greeting(spec, role, &[]),
            inherited: InheritedState::of(spec)?,
            doorbell,
            write_first,
        })
    }

    /// Whether a spare can become the child.
    pub(super) fn fits_spare(&self) -> bool {
        self.inherited.fits_spare()
    }

    /// Greets a child that may come to exist at the other end of `control`, and writes the first request into its ring.
    pub(super) fn greet(&self, control: &Arc<ControlSocket>) -> io::Result<ParentLink> {
        let rings = match self.doorbell {
            Some(_) => Rings::of_worker(self.greeting.other_lanes)?,
            None => Rings::of_single()?,
        };
        let fds: Vec<_> = rings.descriptors(self.doorbell).collect();
        control.send(&self.greeting, &fds)?;
        Ok(self.written(rings.into_link(control)))
    }

    /// Asks the fork server at `server`, whose environment is `known`, to fork the child. `child_end` is of the child's
    /// control socket.
    pub(super) fn send(
        &self,
        server: &ControlSocket,
        child_end: &OwnedFd,
        known: Option<&EnvBlock>,
    ) -> io::Result<()> {
        let message = ToForkServer::Fork(Box::new(self.inherited.spec_for(known)));
        let fds = self.inherited.descriptors()?;
        fds.send(server, &message, Some(child_end.as_fd()), &[])
    }

    /// Turns the spare at `control` into the child. Its fork server's environment is `known`, and `link` belongs to the
    /// single-task rings that it has. A spare that becomes a single-task process waits for the link's release.
    pub(super) fn convert_spare(
        &self,
        control: &Arc<ControlSocket>,
        link: ParentLink,
        known: Option<&EnvBlock>,
    ) -> io::Result<ParentLink> {
        let spec = Box::new(self.inherited.spec_for(known));
        let message = ToSpare::Become(spec, Box::new(self.greeting.clone()));
        let fds = self.inherited.descriptors()?;
        let release = Release::new(Arc::clone(control), message, fds);
        if self.doorbell.is_none() {
            let release = Some(release);
            return Ok(self.written(ParentLink { release, ..link }));
        }
        let rings = Rings::of_worker(self.greeting.other_lanes)?;
        let fds: Vec<_> = rings.descriptors(self.doorbell).collect();
        release.send(&fds)?;
        // Kept until the spare has read its role: before that, the end of this pipe would kill it.
        let parent_death = link.parent_death;
        Ok(self.written(ParentLink {
            parent_death,
            ..rings.into_link(control)
        }))
    }

    fn written(&self, mut link: ParentLink) -> ParentLink {
        link.write(self.write_first);
        link
    }
}
