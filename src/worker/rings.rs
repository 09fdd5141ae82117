//! A child's two rings, made before there is a child, and what lies in them when it comes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::link::{Post, ReplySide, RequestSide};
use super::spare::Untold;
use crate::ring::{Consumer, Producer, Ring};
use crate::sys::bell::Bell;
use crate::sys::leash::Leash;
use crate::sys::mapping;
use crate::task::envelope::{ONCE_BYTES, RING_BYTES};
use crate::wire::control::{ControlSocket, Role};

/// The two rings of a child, in one piece of memory.
#[derive(Debug)]
pub(super) struct Rings {
    memory: OwnedFd,
    /// What a process is tied to that hears nothing while it is busy.
    leash: Option<Arc<Leash>>,
    requests: Producer,
    replies: Consumer,
}

impl Rings {
    /// Those of a worker that rings `bell`, or of a process that runs one task, and which of them it is.
    pub(super) fn with(bell: Option<&Bell>) -> io::Result<(Role, Self)> {
        match bell {
            Some(_) => Ok((Role::Worker, Self::new(None)?)),
            None => Ok((Role::Once, Self::once()?)),
        }
    }

    /// Those of a process that runs many tasks.
    pub(super) fn new(leash: Option<Arc<Leash>>) -> io::Result<Self> {
        let ring = Ring::footprint(RING_BYTES);
        let memory = mapping::memfd("procession-worker", 2 * ring)?;
        Ok(Self {
            requests: Producer::new(Ring::map(&memory, 0, RING_BYTES)?),
            replies: Consumer::new(Ring::map(&memory, ring, RING_BYTES)?),
            memory,
            leash,
        })
    }

    /// Those of a process that runs one task.
    pub(super) fn once() -> io::Result<Self> {
        let memory = mapping::memfd("procession-process", 2 * Ring::flat_footprint(ONCE_BYTES))?;
        let [requests, replies] = Ring::flat(&memory, ONCE_BYTES)?;
        Ok(Self {
            requests: Producer::new(requests),
            replies: Consumer::new(replies),
            memory,
            leash: Some(Leash::of_this_process()?),
        })
    }

    /// What goes with the greeting.
    pub(super) fn descriptors<'a>(
        &'a self,
        bell: Option<&'a Bell>,
    ) -> impl Iterator<Item = BorrowedFd<'a>> {
        let leash = self.leash.as_ref().map(AsFd::as_fd);
        std::iter::once(self.memory.as_fd())
            .chain(bell.map(AsFd::as_fd))
            .chain(leash)
    }

    /// The parent's ends of them, once the child's were sent.
    pub(super) fn ends(self, control: &Arc<ControlSocket>) -> Ends {
        Ends {
            requests: RequestSide::new(self.requests, Arc::clone(control)),
            replies: ReplySide::new(self.replies, Arc::clone(control)),
            posted: None,
            leash: self.leash,
            untold: None,
        }
    }
}

/// Writes what a child is to find in its ring when it comes. Called for every child that is tried to be made, with
/// a ring of its own.
pub(crate) type First<'a> = &'a (dyn Fn(&mut RequestSide) -> Option<Post> + Sync);

/// The parent's ends of a child's rings.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) requests: RequestSide,
    pub(super) replies: ReplySide,
    /// What became of what was written before the child came, if anything was.
    pub(super) posted: Option<Post>,
    /// To be held for as long as the child is to live.
    pub(super) leash: Option<Arc<Leash>>,
    /// What the child waits to be told.
    pub(super) untold: Option<Untold>,
}

impl Ends {
    pub(super) fn write(&mut self, first: First<'_>) {
        self.posted = first(&mut self.requests);
    }

    /// Takes back what was written, for there is no child, or none that may still begin. False if one has begun.
    pub(super) fn withdraw(&mut self) -> bool {
        match self.posted {
            Some(Post::Sent { position, .. }) => self.requests.take_back(position).claimed == 0,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket;
    use crate::task::Call;
    use crate::task::envelope::{self, Request};
    use crate::task::job::Single;

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
            let mut child = Consumer::new(Ring::map(&rings.memory, 0, RING_BYTES).unwrap());
            let mut ends = rings.ends(&Arc::new(ControlSocket::new(ours)));
            let job = Single::<Nothing>::new(());
            ends.write(&|requests| Some(requests.post(1, &job, false)));
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
