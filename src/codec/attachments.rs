//! Descriptors inside values.
//!
//! A descriptor cannot be bytes. While a value is encoded for another process, a type that holds one puts a
//! duplicate into this thread's **bag** and its place in the bag into the bytes; the bag travels beside the
//! bytes. On the other side the type takes the descriptor at that place out of the bag, once.
//!
//! Must stay true: a bag is open only while a value is being encoded or decoded by this crate, so that
//! serialising a descriptor anywhere else is an error; what nobody takes out is closed; a value whose
//! encoding fails leaves nothing in the bag. The bag belongs to the scope and not to the thread: a scope inside a
//! scope has its own.

use std::cell::{Cell, RefCell};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::move_state::MoveState;
use crate::sys::socket::DESCRIPTORS_PER_MESSAGE;

thread_local! {
    static PACKING: Packing = const {
        Packing {
            open: Cell::new(false),
            bag: RefCell::new(Bag {
                fds: Vec::new(),
                leaving: Vec::new(),
            }),
        }
    };
    static UNPACKING: RefCell<Option<Vec<Option<OwnedFd>>>> = const { RefCell::new(None) };
    static FAULT: RefCell<Option<String>> = const { RefCell::new(None) };
    // Whether that is of the value at hand. Costs less to look at.
    static FAULTY: Cell<bool> = const { Cell::new(false) };
}

/// What goes beside a value. Dropped before it was sent, everything in it stays where it was.
#[derive(Debug, Default)]
pub(crate) struct Bag {
    fds: Vec<OwnedFd>,
    /// What moves with the value, and how many descriptors came before it.
    leaving: Vec<(usize, Arc<MoveState>)>,
}

impl Bag {
    /// The descriptors, in the order of their places.
    pub(crate) fn fds(&self) -> &[OwnedFd] {
        &self.fds
    }

    /// The value was sent: what was in the bag is elsewhere now.
    #[inline]
    pub(crate) fn sent(&mut self) {
        if self.is_empty() {
            return;
        }
        self.fds.clear();
        for (_, passage) in self.leaving.drain(..) {
            passage.leave();
        }
    }

    /// The value will be sent, and perhaps once more: the descriptors to send with it.
    pub(crate) fn lend(mut self) -> Vec<OwnedFd> {
        for (_, passage) in self.leaving.drain(..) {
            passage.lend();
        }
        std::mem::take(&mut self.fds)
    }

    /// The value is about to be sent: nobody does anything here with what moves, until it was sent or is not.
    pub(crate) fn shut(&self) {
        for (_, passage) in &self.leaving {
            passage.shut();
        }
    }

    /// The value was not sent, and will perhaps be.
    pub(crate) fn open(&self) {
        for (_, passage) in &self.leaving {
            passage.open();
        }
    }

    /// Whether what has this passage moves with the value.
    pub(crate) fn moves(&self, passage: &Arc<MoveState>) -> bool {
        let mut leaving = self.leaving.iter();
        leaving.any(|(_, other)| Arc::ptr_eq(other, passage))
    }

    /// Whether nothing goes beside the value.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.fds.is_empty() && self.leaving.is_empty()
    }

    fn cut(&mut self, kept: usize) -> Vec<OwnedFd> {
        while let Some((before, passage)) = self.leaving.last() {
            if *before < kept {
                break;
            }
            passage.stay();
            self.leaving.pop();
        }
        self.fds.split_off(kept.min(self.fds.len()))
    }
}

impl Drop for Bag {
    #[inline]
    fn drop(&mut self) {
        if !self.is_empty() {
            self.cut(0);
        }
    }
}

/// The bag of this thread, for what is being encoded on it.
struct Packing {
    open: Cell<bool>,
    /// Empty while it is not open.
    bag: RefCell<Bag>,
}

impl Packing {
    /// Opens the bag with what is in `bag`; returns what it held, if it was open. Most values put nothing in: then
    /// nothing moves.
    #[inline]
    fn enter(&self, bag: &mut Bag) -> Option<Bag> {
        let nested = self.open.replace(true);
        if !nested && bag.is_empty() {
            return None;
        }
        let before = self.bag.replace(std::mem::take(bag));
        nested.then_some(before)
    }

    #[inline]
    fn leave(&self, bag: &mut Bag, outer: Option<Bag>) {
        match outer {
            Some(outer) => *bag = self.bag.replace(outer),
            None => {
                self.open.set(false);
                if !self.bag.borrow().is_empty() {
                    *bag = self.bag.take();
                }
            }
        }
    }

    /// Lets `f` use the bag, if it is open.
    fn with<T>(f: impl FnOnce(&mut Bag) -> Result<T, String>) -> Result<T, String> {
        PACKING.with(|it| match it.open.get() {
            true => f(&mut it.bag.borrow_mut()),
            false => Err(OUTSIDE.to_owned()),
        })
    }
}

/// Puts back what was there when the scope began, also when it is left by a panic.
struct Restore<'a> {
    bag: &'a mut Bag,
    outer: Option<Bag>,
}

impl Drop for Restore<'_> {
    #[inline]
    fn drop(&mut self) {
        let outer = self.outer.take();
        PACKING.with(|it| it.leave(self.bag, outer));
    }
}

/// Runs `encode`, whose values put what goes beside them into `bag`, behind what is there.
#[inline]
pub(crate) fn filling<T>(bag: &mut Bag, encode: impl FnOnce() -> T) -> T {
    // What went wrong before, anywhere, is not what goes wrong here.
    FAULTY.set(false);
    let outer = PACKING.with(|it| it.enter(bag));
    let _restore = Restore { bag, outer };
    encode()
}

/// Runs `encode`, whose values put their descriptors into `bag`, behind those that are there. The value will be
/// sent, and may be sent once more.
#[inline]
pub(crate) fn packing<T>(bag: &mut Vec<OwnedFd>, encode: impl FnOnce() -> T) -> T {
    let mut whole = Bag {
        fds: std::mem::take(bag),
        leaving: Vec::new(),
    };
    let encoded = filling(&mut whole, encode);
    *bag = whole.lend();
    encoded
}

/// Puts `passage` into the bag: what it stands for is gone from here once the value was sent.
///
/// # Errors
///
/// No value is being sent here, or it was sent before, or is in a value already.
pub(crate) fn depart(passage: &Arc<MoveState>) -> Result<(), String> {
    faulty(Packing::with(|bag| {
        passage.depart()?;
        bag.leaving.push((bag.fds.len(), Arc::clone(passage)));
        Ok(())
    }))
}

const OUTSIDE: &str = "a descriptor can be serialised only while it is sent to another process, as an \
                       argument, a result or a message";

/// Puts a duplicate of `fd` into the bag; returns its place.
///
/// # Errors
///
/// No value is being sent here, or no duplicate could be made.
pub(crate) fn stow(fd: BorrowedFd<'_>) -> Result<u32, String> {
    faulty(Packing::with(|bag| {
        if bag.fds.len() >= DESCRIPTORS_PER_MESSAGE {
            return Err(format!(
                "a value can carry at most {DESCRIPTORS_PER_MESSAGE} descriptors"
            ));
        }
        let own = fd
            .try_clone_to_owned()
            .map_err(|error| format!("a descriptor could not be duplicated: {error}"))?;
        bag.fds.push(own);
        Ok((bag.fds.len() - 1) as u32)
    }))
}

/// How many descriptors are in the open bag.
#[inline]
pub(crate) fn stowed() -> usize {
    PACKING.with(|it| it.bag.borrow().fds.len())
}

/// Closes what was put into the open bag from the `kept`-th on: the value it belonged to is not sent.
#[inline]
pub(crate) fn unstow(kept: usize) {
    let dropped = PACKING.with(|it| it.bag.borrow_mut().cut(kept));
    drop(dropped);
}

/// Why a descriptor could last not be stowed or claimed on this thread: serde's errors, as postcard
/// passes them on, have no text.
pub(crate) fn last_fault() -> Option<String> {
    FAULTY.replace(false).then(|| FAULT.take()).flatten()
}

/// `outcome`; if it is an error, [`last_fault`] tells it.
pub(crate) fn faulty<T>(outcome: Result<T, String>) -> Result<T, String> {
    if let Err(why) = &outcome {
        FAULT.set(Some(why.clone()));
        FAULTY.set(true);
    }
    outcome
}

/// Descriptors that have come beside a value. What is never claimed is closed with it.
#[derive(Debug, Default)]
pub(crate) struct Received(Vec<Option<OwnedFd>>);

impl Received {
    /// Whether nothing came.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<OwnedFd>> for Received {
    fn from(fds: Vec<OwnedFd>) -> Self {
        Self(fds.into_iter().map(Some).collect())
    }
}

/// Puts back what was there when the scope began, also when it is left by a panic.
struct RestoreReceived<'a> {
    bag: &'a mut Received,
    outer: Option<Vec<Option<OwnedFd>>>,
}

impl Drop for RestoreReceived<'_> {
    fn drop(&mut self) {
        let outer = self.outer.take();
        if let Some(bag) = UNPACKING.replace(outer) {
            self.bag.0 = bag;
        }
    }
}

/// Runs `decode`, whose values take their descriptors out of `bag`.
pub(crate) fn unpacking<T>(bag: &mut Received, decode: impl FnOnce() -> T) -> T {
    FAULTY.set(false);
    let outer = UNPACKING.replace(Some(std::mem::take(&mut bag.0)));
    let _restore = RestoreReceived { bag, outer };
    decode()
}

/// Takes the descriptor at `place` out of the bag.
///
/// # Errors
///
/// No value is being received here, or there is none at that place, or none any more.
pub(crate) fn claim(place: u32) -> Result<OwnedFd, String> {
    faulty(UNPACKING.with_borrow_mut(|bag| {
        let Some(bag) = bag else {
            return Err(
                "a descriptor can be deserialised only where it is received from another process"
                    .to_owned(),
            );
        };
        let slot = bag.get_mut(place as usize);
        slot.and_then(Option::take)
            .ok_or_else(|| "a descriptor did not arrive; is the descriptor table full?".to_owned())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;

    fn some_fd() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn what_is_stowed_is_claimed_once() {
        let fd = some_fd();
        let mut bag = Vec::new();
        let places = packing(&mut bag, || (stow(fd.as_fd()), stow(fd.as_fd())));
        assert_eq!(places, (Ok(0), Ok(1)));
        assert_eq!(bag.len(), 2);
        unpacking(&mut bag.into(), || {
            assert!(claim(1).is_ok());
            assert!(claim(1).is_err());
            assert!(claim(7).is_err());
        });
    }

    #[test]
    fn what_leaves_is_gone_once_it_was_sent_and_not_before() {
        let passage = Arc::default();
        assert!(depart(&passage).is_err());
        let mut bag = Bag::default();
        filling(&mut bag, || {
            depart(&passage).unwrap();
            assert!(depart(&passage).is_err());
        });
        drop(bag);
        assert!(!passage.is_gone());
        let mut bag = Bag::default();
        filling(&mut bag, || depart(&passage)).unwrap();
        bag.sent();
        assert!(passage.is_gone());
        assert!(filling(&mut bag, || depart(&passage)).is_err());
    }

    #[test]
    fn nobody_is_at_what_is_sent() {
        let passage = Arc::<MoveState>::default();
        let turn = passage.try_turn().unwrap();
        assert!(passage.try_turn().is_none());
        assert!(passage.try_turn().is_none(), "in vain is not given back");
        drop(turn);
        let mut bag = Bag::default();
        filling(&mut bag, || depart(&passage)).unwrap();
        assert!(bag.moves(&passage) && passage.try_turn().is_some());
        bag.shut();
        assert!(passage.try_turn().is_none() && !passage.is_gone());
        bag.open();
        let turn = passage.try_turn().unwrap();
        let shutting = std::thread::spawn(move || {
            bag.shut();
            bag
        });
        std::thread::yield_now();
        assert!(!shutting.is_finished());
        drop(turn);
        let mut bag = shutting.join().unwrap();
        assert!(passage.try_turn().is_none());
        bag.sent();
        assert!(passage.is_gone());
    }

    #[test]
    fn an_argument_is_gone_once_it_is_encoded_and_may_be_sent_again() {
        let passage = Arc::<MoveState>::default();
        for _ in 0..2 {
            packing(&mut Vec::new(), || depart(&passage)).unwrap();
            assert!(passage.is_gone());
        }
        let tried = Arc::<MoveState>::default();
        packing(&mut Vec::new(), || {
            depart(&tried).unwrap();
            unstow(0);
        });
        assert!(!tried.is_gone());
    }

    #[test]
    fn outside_a_scope_nothing_is_stowed_or_claimed() {
        let fd = some_fd();
        assert!(stow(fd.as_fd()).is_err() && claim(0).is_err());
        let mut bag = Vec::new();
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            packing(&mut bag, || panic!("in the middle"))
        }));
        assert!(stow(fd.as_fd()).is_err());
    }

    #[test]
    fn a_scope_within_a_scope_has_its_own_bag() {
        let fd = some_fd();
        let (mut outer, mut inner) = (Vec::new(), Vec::new());
        packing(&mut outer, || {
            stow(fd.as_fd()).unwrap();
            packing(&mut inner, || stow(fd.as_fd()).unwrap());
            assert_eq!(stow(fd.as_fd()), Ok(1));
        });
        assert_eq!((outer.len(), inner.len()), (2, 1));
    }

    #[test]
    fn more_than_the_kernel_takes_are_refused() {
        let fd = some_fd();
        let mut bag = Vec::new();
        let stowed = packing(&mut bag, || {
            (0..=DESCRIPTORS_PER_MESSAGE).all(|_| stow(fd.as_fd()).is_ok())
        });
        assert!(!stowed);
    }
}
