//! Attachments: the descriptors that travel beside the bytes of a value.
//!
//! A descriptor cannot be bytes. A type that holds one, when it is serialised, attaches a duplicate and writes the
//! duplicate's place among the attachments. The attachments travel beside the bytes, as ancillary data of a socket
//! (`unix(7)`). When the type is deserialised, it takes the descriptor at that place.
//!
//! Serde gives a type no way to reach the sender, so the attachments of the value being encoded or decoded are in a
//! thread-local for the time of one scope ([`collect`], [`with_received`]).
//!
//! Must stay true: outside a scope, serialising a descriptor is an error; a scope inside a scope has attachments of its
//! own; attachments that no value takes are closed; an encoding that fails leaves no attachments behind.
//!
//! Never here: sockets.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::error::{self, record_fault};
use super::move_state::MoveState;

thread_local! {
    static COLLECTOR: Collector = const {
        Collector {
            is_open: Cell::new(false),
            attachments: RefCell::new(Attachments {
                fds: Vec::new(),
                moving: Vec::new(),
                memories: Vec::new(),
            }),
        }
    };
    static RECEIVED: RefCell<Option<Vec<Received>>> = const { RefCell::new(None) };
}

/// What travels beside one value. Dropping it before the value was sent leaves pipe ends where they are.
#[derive(Debug, Default)]
pub(crate) struct Attachments {
    fds: Vec<OwnedFd>,
    /// The pipe ends that move with the value, and how many descriptors were attached before each.
    moving: Vec<(usize, Arc<MoveState>)>,
    /// The memories of which parts are in the value, by their inode numbers, and the places of their descriptors.
    memories: Vec<(u64, u32)>,
}

impl Attachments {
    /// The descriptors, in the order of their places.
    pub(crate) fn fds(&self) -> &[OwnedFd] {
        &self.fds
    }

    /// Whether nothing travels beside the value.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.fds.is_empty() && self.moving.is_empty()
    }

    /// Whether the pipe end with this state moves with the value.
    pub(crate) fn moves(&self, move_state: &Arc<MoveState>) -> bool {
        let mut moving = self.moving.iter();
        moving.any(|(_, other)| Arc::ptr_eq(other, move_state))
    }

    /// The value is about to be sent: the pipe ends with it cannot be used until it was sent, or
    /// [`unlock`](Self::unlock).
    pub(crate) fn lock(&self) {
        for (_, move_state) in &self.moving {
            move_state.lock();
        }
    }

    /// The value was not sent, and may be sent later.
    pub(crate) fn unlock(&self) {
        for (_, move_state) in &self.moving {
            move_state.unlock();
        }
    }

    /// The value was sent: its pipe ends are gone from here.
    #[inline]
    pub(crate) fn commit(&mut self) {
        if self.is_empty() {
            return;
        }
        self.fds.clear();
        self.memories.clear();
        for (_, move_state) in self.moving.drain(..) {
            move_state.commit();
        }
    }

    /// Whether a pipe end moves with the value, which then arrives in one process only.
    pub(crate) fn has_ends(&self) -> bool {
        !self.moving.is_empty()
    }

    /// The value will be sent, and may be sent again: returns the descriptors to send with it.
    pub(crate) fn lend(mut self) -> Vec<OwnedFd> {
        for (_, move_state) in self.moving.drain(..) {
            move_state.lend();
        }
        std::mem::take(&mut self.fds)
    }

    fn add(&mut self, fd: BorrowedFd<'_>) -> Result<u32, String> {
        let duplicate = fd
            .try_clone_to_owned()
            .map_err(|error| format!("a descriptor could not be duplicated: {error}"))?;
        self.fds.push(duplicate);
        Ok((self.fds.len() - 1) as u32)
    }

    /// Removes the descriptors from the `kept`-th on, and the pipe ends that were attached with them.
    fn truncate(&mut self, kept: usize) -> Vec<OwnedFd> {
        while let Some((before, move_state)) = self.moving.last() {
            if *before < kept {
                break;
            }
            move_state.abort();
            self.moving.pop();
        }
        self.memories.retain(|(_, place)| (*place as usize) < kept);
        self.fds.split_off(kept.min(self.fds.len()))
    }
}

impl Drop for Attachments {
    #[inline]
    fn drop(&mut self) {
        if !self.is_empty() {
            self.truncate(0);
        }
    }
}

/// The attachments of the value that this thread encodes.
struct Collector {
    is_open: Cell<bool>,
    /// Empty while the collector is not open.
    attachments: RefCell<Attachments>,
}

impl Collector {
    /// Opens the collector with `attachments` in it; returns those of the outer scope, if there is one. Most values
    /// attach nothing: then nothing is moved.
    #[inline]
    fn enter(&self, attachments: &mut Attachments) -> Option<Attachments> {
        let is_nested = self.is_open.replace(true);
        if !is_nested && attachments.is_empty() {
            return None;
        }
        let outer = self.attachments.replace(std::mem::take(attachments));
        is_nested.then_some(outer)
    }

    #[inline]
    fn leave(&self, attachments: &mut Attachments, outer: Option<Attachments>) {
        match outer {
            Some(outer) => *attachments = self.attachments.replace(outer),
            None => {
                self.is_open.set(false);
                if !self.attachments.borrow().is_empty() {
                    *attachments = self.attachments.take();
                }
            }
        }
    }

    /// Lets `f` use the attachments of the innermost scope.
    fn with<T>(f: impl FnOnce(&mut Attachments) -> Result<T, String>) -> Result<T, String> {
        COLLECTOR.with(|it| match it.is_open.get() {
            true => f(&mut it.attachments.borrow_mut()),
            false => Err(OUTSIDE.to_owned()),
        })
    }
}

/// Ends a scope, also when a panic leaves it.
struct CollectScope<'a> {
    attachments: &'a mut Attachments,
    outer: Option<Attachments>,
}

impl Drop for CollectScope<'_> {
    #[inline]
    fn drop(&mut self) {
        let outer = self.outer.take();
        COLLECTOR.with(|it| it.leave(self.attachments, outer));
    }
}

/// Runs `encode`. What it attaches is added to `attachments`.
#[inline]
pub(crate) fn collect<T>(attachments: &mut Attachments, encode: impl FnOnce() -> T) -> T {
    // A fault that was recorded before belongs to another value.
    error::forget_fault();
    let outer = COLLECTOR.with(|it| it.enter(attachments));
    let _scope = CollectScope { attachments, outer };
    encode()
}

/// Runs `encode`, whose value will be sent and may be sent again. The descriptors that it attaches are added to
/// `fds`.
#[inline]
pub(crate) fn collect_lent<T>(fds: &mut Vec<OwnedFd>, encode: impl FnOnce() -> T) -> T {
    collect_lent_ends(fds, encode).0
}

/// As [`collect_lent`]. Also returns whether a pipe end moves with the value.
#[inline]
pub(crate) fn collect_lent_ends<T>(
    fds: &mut Vec<OwnedFd>,
    encode: impl FnOnce() -> T,
) -> (T, bool) {
    let mut attachments = Attachments {
        fds: std::mem::take(fds),
        moving: Vec::new(),
        memories: Vec::new(),
    };
    let encoded = collect(&mut attachments, encode);
    let has_ends = attachments.has_ends();
    *fds = attachments.lend();
    (encoded, has_ends)
}

/// Attaches what moves, called `what`: once the value was sent, it is gone from here.
///
/// # Errors
///
/// No value is being sent here, or it was sent before, or is in a value already.
pub(crate) fn attach_end(move_state: &Arc<MoveState>, what: &str) -> Result<(), String> {
    record_fault(Collector::with(|attachments| {
        move_state.begin().map_err(|why| format!("{what} {why}"))?;
        let before = attachments.fds.len();
        attachments.moving.push((before, Arc::clone(move_state)));
        Ok(())
    }))
}

const OUTSIDE: &str = "a descriptor can be serialised only while it is sent to another process, as an \
                       argument, a result or a message";

/// Attaches a duplicate of `fd`; returns its place.
///
/// # Errors
///
/// No value is being sent here, or the descriptor table is full.
pub(crate) fn attach(fd: BorrowedFd<'_>) -> Result<u32, String> {
    record_fault(Collector::with(|attachments| attachments.add(fd)))
}

/// Attaches a duplicate of `fd`, unless the memory behind it, which has this inode number, is attached already; returns
/// its place. So any number of parts of one memory need one descriptor.
///
/// # Errors
///
/// As of [`attach`].
pub(crate) fn attach_memory(fd: BorrowedFd<'_>, inode: u64) -> Result<u32, String> {
    record_fault(Collector::with(|attachments| {
        let mut attached = attachments.memories.iter();
        if let Some((_, place)) = attached.find(|(other, _)| *other == inode) {
            return Ok(*place);
        }
        let place = attachments.add(fd)?;
        attachments.memories.push((inode, place));
        Ok(place)
    }))
}

/// How many descriptors are attached in the innermost scope.
#[inline]
pub(crate) fn attached() -> usize {
    COLLECTOR.with(|it| it.attachments.borrow().fds.len())
}

/// Closes what was attached in the innermost scope from the `kept`-th on: the item it belongs to is not sent.
#[inline]
pub(crate) fn rollback(kept: usize) {
    let removed = COLLECTOR.with(|it| it.attachments.borrow_mut().truncate(kept));
    drop(removed);
}

/// What is at one place of what arrived beside a value.
#[derive(Debug)]
enum Received {
    Fd(OwnedFd),
    /// Memory of which a part was taken. The value may have other parts.
    Memory(Arc<dyn Any + Send + Sync>),
    Taken,
}

/// Descriptors that arrived beside a value. Dropping this closes the descriptors that the value did not take.
#[derive(Debug, Default)]
pub(crate) struct ReceivedAttachments(Vec<Received>);

impl ReceivedAttachments {
    /// Whether none arrived.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<OwnedFd>> for ReceivedAttachments {
    fn from(fds: Vec<OwnedFd>) -> Self {
        Self(fds.into_iter().map(Received::Fd).collect())
    }
}

/// Ends a scope, also when a panic leaves it.
struct ReceiveScope<'a> {
    received: &'a mut ReceivedAttachments,
    outer: Option<Vec<Received>>,
}

impl Drop for ReceiveScope<'_> {
    fn drop(&mut self) {
        let outer = self.outer.take();
        if let Some(left) = RECEIVED.replace(outer) {
            self.received.0 = left;
        }
    }
}

/// Runs `decode`, whose values take their descriptors out of `received`.
pub(crate) fn with_received<T>(
    received: &mut ReceivedAttachments,
    decode: impl FnOnce() -> T,
) -> T {
    error::forget_fault();
    let outer = RECEIVED.replace(Some(std::mem::take(&mut received.0)));
    let _scope = ReceiveScope { received, outer };
    decode()
}

/// Takes the descriptor at `place`.
///
/// # Errors
///
/// No value is being received here, or its place is empty.
pub(crate) fn take(place: u32) -> Result<OwnedFd, String> {
    record_fault(match exchange(place, Received::Taken) {
        Ok(Received::Fd(fd)) => Ok(fd),
        Ok(_) => Err(DID_NOT_ARRIVE.to_owned()),
        Err(why) => Err(why),
    })
}

/// The memory whose descriptor is at `place`, which `open` makes of the descriptor where it was not taken before.
///
/// # Errors
///
/// As of [`take`], or of `open`.
pub(crate) fn take_memory<T: Any + Send + Sync>(
    place: u32,
    open: impl FnOnce(OwnedFd) -> Result<Arc<T>, String>,
) -> Result<Arc<T>, String> {
    let taken = exchange(place, Received::Taken).and_then(|received| match received {
        Received::Fd(fd) => open(fd),
        Received::Memory(memory) => memory.downcast().map_err(|_| DID_NOT_ARRIVE.to_owned()),
        Received::Taken => Err(DID_NOT_ARRIVE.to_owned()),
    });
    if let Ok(memory) = &taken {
        let _ = exchange(place, Received::Memory(Arc::clone(memory) as _));
    }
    record_fault(taken)
}

const DID_NOT_ARRIVE: &str = "a descriptor did not arrive; is the descriptor table full?";

/// Puts `other` at `place`; returns what was there.
fn exchange(place: u32, other: Received) -> Result<Received, String> {
    RECEIVED.with_borrow_mut(|received| {
        let Some(received) = received else {
            return Err(
                "a descriptor can be deserialised only where it is received from another process"
                    .to_owned(),
            );
        };
        match received.get_mut(place as usize) {
            Some(there) => Ok(std::mem::replace(there, other)),
            None => Err(DID_NOT_ARRIVE.to_owned()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;

    fn some_fd() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn descriptor_is_taken_once() {
        let fd = some_fd();
        let mut fds = Vec::new();
        let places = collect_lent(&mut fds, || (attach(fd.as_fd()), attach(fd.as_fd())));
        assert_eq!(places, (Ok(0), Ok(1)));
        assert_eq!(fds.len(), 2);
        with_received(&mut fds.into(), || {
            assert!(take(1).is_ok());
            assert!(take(1).is_err());
            assert!(take(7).is_err());
        });
    }

    #[test]
    fn end_is_gone_once_its_value_was_sent_and_not_before() {
        let end = Arc::default();
        assert!(attach_end(&end, "an end").is_err());
        let mut attachments = Attachments::default();
        collect(&mut attachments, || {
            attach_end(&end, "an end").unwrap();
            assert!(attach_end(&end, "an end").is_err());
        });
        drop(attachments);
        assert!(!end.is_gone());
        let mut attachments = Attachments::default();
        collect(&mut attachments, || attach_end(&end, "an end")).unwrap();
        attachments.commit();
        assert!(end.is_gone());
        assert!(collect(&mut attachments, || attach_end(&end, "an end")).is_err());
    }

    #[test]
    fn end_cannot_be_used_while_its_value_is_sent() {
        let end = Arc::<MoveState>::default();
        let mut attachments = Attachments::default();
        collect(&mut attachments, || attach_end(&end, "an end")).unwrap();
        assert!(attachments.moves(&end) && end.try_use().is_some());
        attachments.lock();
        assert!(end.try_use().is_none() && !end.is_gone());
        attachments.unlock();
        assert!(end.try_use().is_some());
        attachments.lock();
        attachments.commit();
        assert!(end.is_gone());
    }

    #[test]
    fn end_in_a_dropped_value_can_be_used_again() {
        let end = Arc::<MoveState>::default();
        let mut attachments = Attachments::default();
        collect(&mut attachments, || attach_end(&end, "an end")).unwrap();
        attachments.lock();
        drop(attachments);
        assert!(end.is_here() && end.try_use().is_some());
    }

    #[test]
    fn argument_end_is_gone_once_it_is_encoded_and_may_be_sent_again() {
        let end = Arc::<MoveState>::default();
        for _ in 0..2 {
            collect_lent(&mut Vec::new(), || attach_end(&end, "an end")).unwrap();
            assert!(end.is_gone());
        }
        let tried = Arc::<MoveState>::default();
        collect_lent(&mut Vec::new(), || {
            attach_end(&tried, "an end").unwrap();
            rollback(0);
        });
        assert!(!tried.is_gone());
    }

    #[test]
    fn nothing_is_attached_or_taken_outside_a_scope() {
        let fd = some_fd();
        assert!(attach(fd.as_fd()).is_err() && take(0).is_err());
        let mut fds = Vec::new();
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            collect_lent(&mut fds, || panic!("in the middle"))
        }));
        assert!(attach(fd.as_fd()).is_err());
    }

    #[test]
    fn inner_scope_has_attachments_of_its_own() {
        let fd = some_fd();
        let (mut outer, mut inner) = (Vec::new(), Vec::new());
        collect_lent(&mut outer, || {
            attach(fd.as_fd()).unwrap();
            collect_lent(&mut inner, || attach(fd.as_fd()).unwrap());
            assert_eq!(attach(fd.as_fd()), Ok(1));
        });
        assert_eq!((outer.len(), inner.len()), (2, 1));
    }
}
