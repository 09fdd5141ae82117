//! A value that fails at one place on its way.

#![allow(unsafe_code, reason = "one task has to write where it may not")]

use rustix::process::Signal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_bytes::ByteBuf;

use Fault::{Abort, Error, Exit, Kill, Overflow, Panic, PanicWithoutText, WriteThroughNull};

/// Where a value is being handled when it goes off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Place {
    EncodeArguments,
    DecodeArguments,
    Run,
    EncodeResult,
    DecodeResult,
    Nowhere,
}

/// What happens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fault {
    /// The (de)serialiser says no.
    Error,
    Panic,
    PanicWithoutText,
    Abort,
    Exit(i32),
    Kill,
    Overflow,
    WriteThroughNull,
}

impl Fault {
    pub(crate) fn strike(self) -> Result<(), &'static str> {
        match self {
            Error => return Err("no, it says"),
            Panic => panic!("a {} word", "last"),
            PanicWithoutText => std::panic::panic_any(5),
            Abort => std::process::abort(),
            Exit(code) => std::process::exit(code),
            Kill => rustix::process::kill_process(rustix::process::getpid(), Signal::KILL).unwrap(),
            Overflow => {
                overflow(0);
            }
            WriteThroughNull => {
                // Not address zero itself: debug builds turn that into a panic.
                let nowhere = std::ptr::without_provenance_mut::<u8>(8);
                // SAFETY: there is none. Nothing is ever mapped in the first page, so the process
                // gets the signal it is here for.
                unsafe { nowhere.write_volatile(1) };
            }
        }
        unreachable!("{self:?} has no end")
    }
}

#[allow(unconditional_recursion, reason = "it is about the stack's end")]
fn overflow(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    overflow(depth + 1) + std::hint::black_box(frame)[1]
}

/// An argument and a result that goes off at one place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bomb {
    pub(crate) place: Place,
    pub(crate) fault: Fault,
    pub(crate) weight: ByteBuf,
}

impl Bomb {
    pub(crate) fn new(place: Place, fault: Fault, weight: usize) -> Self {
        Self {
            place,
            fault,
            weight: ByteBuf::from(vec![7; weight]),
        }
    }

    pub(crate) fn pass(&self, there: Place, here: Place) -> Result<(), &'static str> {
        let place = match procession::current().is_child() {
            true => there,
            false => here,
        };
        match self.place == place {
            true => self.fault.strike(),
            false => Ok(()),
        }
    }
}

impl Serialize for Bomb {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fine = self.pass(Place::EncodeResult, Place::EncodeArguments);
        fine.map_err(ser::Error::custom)?;
        (self.place, self.fault, &self.weight).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (place, fault, weight) = Deserialize::deserialize(deserializer)?;
        let bomb = Self {
            place,
            fault,
            weight,
        };
        let fine = bomb.pass(Place::DecodeArguments, Place::DecodeResult);
        fine.map_err(de::Error::custom)?;
        Ok(bomb)
    }
}

pub(crate) fn carried(bomb: Bomb) -> Bomb {
    bomb.pass(Place::Run, Place::Nowhere).unwrap();
    bomb
}

pub(crate) async fn carried_later(bomb: Bomb) -> Bomb {
    tokio::task::yield_now().await;
    carried(bomb)
}

/// Inline in a ring, and in shared memory of its own.
pub(crate) const WEIGHTS: [usize; 2] = [0, 1 << 20];
