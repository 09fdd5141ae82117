//! A child's two rings, made before there is a child, and what lies in them when it comes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::spare::Release;
use crate::call::envelope::{SINGLE_RING_BYTES, WORKER_RING_BYTES};
use crate::call::{ReplyReader, RequestWriter, Written};
use crate::ring::{Consumer, Producer, Ring};
use crate::sys::doorbell::Doorbell;
use crate::sys::memory;
use crate::sys::parent_death::ParentDeathPipe;
use crate::transfer::control::ControlSocket;
use crate::transfer::greeting::Role;

/// The two rings of a child, in one piece of memory.
#[derive(Debug)]
pub(super) struct Rings {
    memory: OwnedFd,
    /// What a process is tied to that hears nothing while it is busy.
    parent_death: Option<Arc<ParentDeathPipe>>,
    requests: Producer,
    replies: Consumer,
}

impl Rings {
    /// Those of a worker that rings `bell`, or of a process that runs one task, and which of them it is.
    pub(super) fn with(bell: Option<&Doorbell>) -> io::Result<(Role, Self)> {
        match bell {
            Some(_) => Ok((Role::Worker, Self::new(None)?)),
            None => Ok((Role::Single, Self::once()?)),
        }
    }

    /// Those of a process that runs many tasks.
    pub(super) fn new(parent_death: Option<Arc<ParentDeathPipe>>) -> io::Result<Self> {
        let ring = Ring::footprint(WORKER_RING_BYTES);
        let memory = memory::memfd("procession-worker", 2 * ring)?;
        Ok(Self {
            requests: Producer::new(Ring::map(&memory, 0, WORKER_RING_BYTES)?),
            replies: Consumer::new(Ring::map(&memory, ring, WORKER_RING_BYTES)?),
            memory,
            parent_death,
        })
    }

    /// Those of a process that runs one task.
    pub(super) fn once() -> io::Result<Self> {
        let memory = memory::memfd(
            "procession-process",
            2 * Ring::flat_footprint(SINGLE_RING_BYTES),
        )?;
        let [requests, replies] = Ring::flat(&memory, SINGLE_RING_BYTES)?;
        Ok(Self {
            requests: Producer::new(requests),
            replies: Consumer::new(replies),
            memory,
            parent_death: Some(ParentDeathPipe::of_this_process()?),
        })
    }

    /// What goes with the greeting.
    pub(super) fn descriptors<'a>(
        &'a self,
        bell: Option<&'a Doorbell>,
    ) -> impl Iterator<Item = BorrowedFd<'a>> {
        let parent_death = self.parent_death.as_ref().map(AsFd::as_fd);
        std::iter::once(self.memory.as_fd())
            .chain(bell.map(AsFd::as_fd))
            .chain(parent_death)
    }

    /// The parent's ends of them, once the child's were sent.
    pub(super) fn ends(self, control: &Arc<ControlSocket>) -> Ends {
        Ends {
            requests: RequestWriter::new(self.requests, Arc::clone(control)),
            replies: ReplyReader::new(self.replies, Arc::clone(control)),
            posted: None,
            parent_death: self.parent_death,
            untold: None,
        }
    }
}

/// Writes what a child is to find in its ring when it comes. Called for every child that is tried to be made, with
/// a ring of its own.
pub(crate) type First<'a> = &'a (dyn Fn(&mut RequestWriter) -> Option<Written> + Sync);

/// The parent's ends of a child's rings.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) requests: RequestWriter,
    pub(super) replies: ReplyReader,
    /// What became of what was written before the child came, if anything was.
    pub(super) posted: Option<Written>,
    /// To be held for as long as the child is to live.
    pub(super) parent_death: Option<Arc<ParentDeathPipe>>,
    /// What the child waits to be told.
    pub(super) untold: Option<Release>,
}

impl Ends {
    pub(super) fn write(&mut self, first: First<'_>) {
        self.posted = first(&mut self.requests);
    }

    /// Takes back what was written, for there is no child, or none that may still begin. False if one has begun.
    pub(super) fn withdraw(&mut self) -> bool {
        match self.posted {
            Some(Written::Sent { position, .. }) => self.requests.revoke(position) == 0,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::envelope;
    use crate::call::envelope::Request;
    use crate::call::job::Single;
    use crate::sys::socket;
    use crate::task::Call;

    struct Nothing;

    impl Call for Nothing {
        type Args = ();
        type Output = ();

        fn name() -> &'static str {
            "nothing"
        }

        fn call((): ()) {}
    }

    /// A server was killed after it had made a child and before it could say so, and the child was quick.
    #[test]
    fn what_was_begun_cannot_be_withdrawn() {
        for begun in [false, true] {
            let (ours, _theirs) = socket::pair().unwrap();
            let rings = Rings::new(None).unwrap();
            let mut child = Consumer::new(Ring::map(&rings.memory, 0, WORKER_RING_BYTES).unwrap());
            let mut ends = rings.ends(&Arc::new(ControlSocket::new(ours)));
            let job = Single::<Nothing>::new(());
            ends.write(&|requests| Some(requests.write(1, &job, false)));
            let request = child.peek().unwrap().unwrap();
            if begun {
                let span = child.word(request, Request::SPAN);
                assert_eq!(envelope::claim(span), Some(0));
            }
            assert_eq!(ends.withdraw(), !begun);
            // And what was withdrawn is not begun any more.
            assert_eq!(envelope::claim(child.word(request, Request::SPAN)), None);
        }
    }
}
