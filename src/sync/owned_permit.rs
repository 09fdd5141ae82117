//! Permits that travel.
//!
//! A permit belongs to a process, whose end gives it back. While a permit is in a message, it belongs to the message:
//! it has a registration of its own with the kernel, whose description travels with it. The process that has the
//! description has the permit. If the message is lost, the kernel closes the description, which is noticed as the end
//! of a process is.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::enrolment::Enrolment;
use super::local_side;
use super::local_side::LocalSide;
use super::object_kind::ObjectKind;
use super::object_memory::{MOST_PARTIES, Party};
use super::party_word::{PartyState, PartyWord};
use crate::codec::attachments;
use crate::codec::move_state::MoveState;
use crate::sys::fork_epoch;
use crate::sys::presence::Presence;

/// Permits of a semaphore that borrow nothing, and can be sent to another process. Dropping them gives them back.
///
/// Sending moves them: the sender has them no longer. If the process that has them ends, or the message with them is
/// lost, they are given back.
#[derive(Debug)]
#[must_use = "permits are given back when they are dropped"]
pub struct OwnedSemaphorePermit {
    side: Arc<LocalSide>,
    permits: u64,
    held: Mutex<Held>,
    moved: Arc<MoveState>,
}

/// How permits are held.
#[derive(Debug)]
enum Held {
    ByProcess(Enrolment),
    ByDescription(DescribedPermit),
}

/// A granted record that belongs to a description.
#[derive(Debug)]
struct DescribedPermit {
    party: Party,
    description: OwnedFd,
    /// A forked copy of the process has no permits.
    epoch: u64,
}

impl OwnedSemaphorePermit {
    pub(super) fn new(held: Enrolment) -> Self {
        Self {
            side: Arc::clone(held.side()),
            permits: held.party().amount,
            held: Mutex::new(Held::ByProcess(held)),
            moved: Arc::default(),
        }
    }

    /// How many permits these are.
    pub fn num_permits(&self) -> usize {
        usize::try_from(self.permits).unwrap_or(usize::MAX)
    }

    /// Removes the permits from the semaphore for good, unless they were sent to another process.
    pub fn forget(self) {
        if self.moved.is_here() {
            // In this order: a process that is killed in between has forgotten its permits.
            forget(&self.side, self.permits);
        }
        drop(self);
    }

    /// Has the permits belong to a description; returns what the receiver must know.
    fn describe(&self) -> Result<(usize, u64, u32), String> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Held::ByProcess(enrolment) = &mut *held {
            let registered = Presence::register(self.side.memory.file().as_fd());
            let registered = registered.map_err(|error| error.to_string())?;
            let party = enrolment.move_to(registered.number());
            let party = party.ok_or("the permits were given back before")?;
            *held = Held::ByDescription(DescribedPermit {
                party,
                description: registered.into_description(),
                epoch: fork_epoch::current(),
            });
        }
        let Held::ByDescription(DescribedPermit {
            party, description, ..
        }) = &*held
        else {
            return Err("the permits belong to no description".to_owned());
        };
        let place = attachments::attach(description.as_fd())?;
        Ok((party.index, party.word.to_bits(), place))
    }
}

/// Removes `permits` permits from the semaphore.
pub(super) fn forget(side: &LocalSide, permits: u64) {
    let remove = |total: u64| Some(total.saturating_sub(permits));
    let state = side.memory.state();
    // Never an error: there is always a next value.
    let _ = state.fetch_update(Ordering::SeqCst, Ordering::Relaxed, remove);
}

impl Drop for OwnedSemaphorePermit {
    fn drop(&mut self) {
        let held = self.held.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Held::ByDescription(described) = held {
            let is_here = self.moved.is_here() && described.epoch == fork_epoch::current();
            let (index, word) = (described.party.index, described.party.word);
            if is_here && self.side.memory.change(index, word, PartyWord::FREE) {
                self.side.serve(false);
            }
        }
    }
}

/// Permits inside a value: their description travels beside the bytes.
impl Serialize for OwnedSemaphorePermit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        attachments::attach_end(&self.moved, "a permit of a semaphore")
            .map_err(ser::Error::custom)?;
        let (index, word, place) = self.describe().map_err(ser::Error::custom)?;
        let index = index as u64;
        (index, word, place, SemaphoreOf(Arc::clone(&self.side))).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for OwnedSemaphorePermit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parts = <(u64, u64, u32, SemaphoreOf)>::deserialize(deserializer)?;
        let (index, word, place, SemaphoreOf(side)) = parts;
        let description = attachments::take(place).map_err(de::Error::custom)?;
        let word = PartyWord::from_bits(word);
        let index = usize::try_from(index).ok().filter(|it| *it < MOST_PARTIES);
        let party = index.and_then(|index| side.memory.read_party(index));
        let is_it = |party: &Party| party.word == word && word.state() == Some(PartyState::Granted);
        let party = party
            .filter(is_it)
            .ok_or_else(|| de::Error::custom("the permits were given back before they arrived"))?;
        Ok(Self {
            permits: party.amount,
            held: Mutex::new(Held::ByDescription(DescribedPermit {
                party,
                description,
                epoch: fork_epoch::current(),
            })),
            side,
            moved: Arc::default(),
        })
    }
}

/// The semaphore of a permit inside a value.
struct SemaphoreOf(Arc<LocalSide>);

impl Serialize for SemaphoreOf {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        local_side::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for SemaphoreOf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        local_side::deserialize(deserializer, ObjectKind::Semaphore, 0).map(Self)
    }
}
