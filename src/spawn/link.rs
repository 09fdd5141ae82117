//! The rings of a child that may not exist yet, and the parent's ends of them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::release::Release;
use crate::call::rings::{RingLayout, RingMemory};
use crate::call::{ReplyReader, RequestWriter, Written};
use crate::ring::{Consumer, Ring};
use crate::sys::doorbell::Doorbell;
use crate::sys::parent_death::ParentDeathPipe;
use crate::sys::process_mark::LocalFd;
use crate::transfer::control::ControlSocket;
use crate::transfer::lane::Lane;

/// The two rings of a child.
#[derive(Debug)]
pub(super) struct Rings {
    memory: OwnedFd,
    memory_name: String,
    /// Kills a child that reads nothing from its control socket while it runs, and continues a stopped worker.
    parent_death: Arc<ParentDeathPipe>,
    /// For requests and for replies.
    rings: [Ring; 2],
    /// The rings of the other lanes of a worker.
    others: Vec<[Ring; 2]>,
}

impl Rings {
    /// The rings of a worker.
    pub(super) fn of_worker(other_lanes: usize) -> io::Result<Self> {
        let parent_death = ParentDeathPipe::of_this_process()?;
        Self::create(RingLayout::Worker, other_lanes, parent_death)
    }

    /// The rings of a fork server with a preload. The pipe is its own, so that a cancelled start ends the preload.
    pub(super) fn of_preload() -> io::Result<Self> {
        Self::create(RingLayout::Worker, 0, ParentDeathPipe::new()?)
    }

    /// The rings of a single-task process.
    pub(super) fn of_single() -> io::Result<Self> {
        let parent_death = ParentDeathPipe::of_this_process()?;
        Self::create(RingLayout::Single, 0, parent_death)
    }

    fn create(
        layout: RingLayout,
        other_lanes: usize,
        parent_death: Arc<ParentDeathPipe>,
    ) -> io::Result<Self> {
        let RingMemory {
            memory,
            rings,
            others,
            name,
        } = layout.create(other_lanes)?;
        Ok(Self {
            memory,
            memory_name: name,
            parent_death,
            rings,
            others,
        })
    }

    /// The descriptors that go with the greeting.
    pub(super) fn descriptors<'a>(
        &'a self,
        doorbell: Option<&'a Doorbell>,
    ) -> impl Iterator<Item = BorrowedFd<'a>> {
        std::iter::once(self.memory.as_fd())
            .chain(doorbell.map(AsFd::as_fd))
            .chain([self.parent_death.as_fd()])
    }

    /// The parent's ends, once the child's were sent.
    pub(super) fn into_link(self, control: &Arc<ControlSocket>) -> ParentLink {
        let [requests, replies] = self.rings.clone();
        let notes = replies.clone();
        let mut replies = ReplyReader::new(Consumer::new(replies), Arc::clone(control));
        ParentLink {
            requests: RequestWriter::new(self.rings, Arc::clone(control)),
            others: other_lanes(self.others, &notes, &mut replies, control),
            replies,
            written: None,
            ties: Ties {
                socket: control.shared(),
                memory_name: self.memory_name,
                ring: requests,
            },
            parent_death: self.parent_death,
            release: None,
        }
    }
}

/// The parent's ends of the rings of a worker's other lanes. The worker leaves a note beside `notes` when it crashes.
fn other_lanes(
    rings: Vec<[Ring; 2]>,
    notes: &Ring,
    first: &mut ReplyReader,
    control: &Arc<ControlSocket>,
) -> Vec<LaneLink> {
    let lanes = Lane::others(rings.len());
    let (requests, replies): (Vec<_>, Vec<_>) = rings
        .into_iter()
        .map(|[requests, replies]| (requests, Consumer::new(replies)))
        .unzip();
    let requests = lanes.zip(requests).map(|(lane, requests)| {
        RequestWriter::of_lane(lane, [requests, notes.clone()], Arc::clone(control))
    });
    let links = requests.zip(first.of_others(replies));
    links
        .map(|(requests, replies)| LaneLink { requests, replies })
        .collect()
}

/// What a child shares with its parent until it ends, or replaces its program.
#[derive(Debug)]
pub(crate) struct Ties {
    /// The parent's end of the control socket. The other end is closed when the child has no program of this crate any
    /// more.
    pub(super) socket: Arc<LocalFd>,
    /// The name of the memory of the rings, which the child has mapped.
    pub(super) memory_name: String,
    /// The ring whose note the child changes when it has mapped the memory.
    pub(super) ring: Ring,
}

impl Ties {
    /// Whether the child was ever seen to have mapped the memory of the rings. Before that it may still be starting.
    pub(super) fn were_made(&self) -> bool {
        self.ring.note().load(Ordering::Acquire) != 0
    }
}

/// Writes the first request before the child exists. Called for each attempt to start the child, with a new ring.
pub(crate) type WriteFirst<'a> = &'a (dyn Fn(&mut RequestWriter) -> Option<Written> + Sync);

/// The parent's ends of the rings of one lane.
#[derive(Debug)]
pub(crate) struct LaneLink {
    pub(crate) requests: RequestWriter,
    pub(crate) replies: ReplyReader,
}

/// The parent's ends of a child's rings.
#[derive(Debug)]
pub(super) struct ParentLink {
    pub(super) requests: RequestWriter,
    pub(super) replies: ReplyReader,
    /// The ends of the other lanes of a worker.
    pub(super) others: Vec<LaneLink>,
    /// The result of writing the first request, if one was written.
    pub(super) written: Option<Written>,
    pub(super) ties: Ties,
    /// Kept open for as long as the child may live.
    pub(super) parent_death: Arc<ParentDeathPipe>,
    /// The message that the child waits for, if it is a spare.
    pub(super) release: Option<Release>,
}

impl ParentLink {
    /// Writes the first request.
    pub(super) fn write(&mut self, write_first: WriteFirst<'_>) {
        self.written = write_first(&mut self.requests);
    }

    /// Revokes the first request, because the child does not exist or must not begin. False if it has begun.
    #[must_use = "a request that has begun must not be written again"]
    pub(super) fn revoke(&mut self) -> bool {
        match self.written {
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
    use crate::call::single::Single;
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

    /// A fork server was killed between fork and message, and the child was quick.
    #[test]
    fn revoke_says_whether_the_request_has_begun() {
        for begun in [false, true] {
            let (ours, _theirs) = socket::pair().unwrap();
            let rings = Rings::of_worker(0).unwrap();
            let [requests, _] = RingLayout::Worker.map(&rings.memory).unwrap();
            let mut child = Consumer::new(requests);
            let mut link = rings.into_link(&Arc::new(ControlSocket::new(ours)));
            let job = Single::<Nothing>::new(());
            link.write(&|requests| Some(requests.write(1, &job, false)));
            let request = child.peek().unwrap().unwrap();
            if begun {
                let span = child.word(request, Request::SPAN);
                assert_eq!(envelope::claim(span), Some(0));
            }
            assert_eq!(link.revoke(), !begun);
            // A revoked request cannot begin later.
            assert_eq!(envelope::claim(child.word(request, Request::SPAN)), None);
        }
    }
}
