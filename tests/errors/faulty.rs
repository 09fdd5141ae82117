//! A value that fails at one place: where it is encoded, decoded or used.

#![allow(unsafe_code, reason = "one fault is an invalid memory access")]

use rustix::process::Signal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_bytes::ByteBuf;

use Fault::{Abort, Error, Exit, Kill, Overflow, Panic, PanicWithoutText, WriteThroughNull};

/// Where the value fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Place {
    EncodeArguments,
    DecodeArguments,
    Run,
    EncodeResult,
    DecodeResult,
    Nowhere,
}

/// How the value fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fault {
    /// The `Serialize` or `Deserialize` implementation returns an error.
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
    pub(crate) fn trigger(self) -> Result<(), &'static str> {
        match self {
            Error => return Err("refused"),
            Panic => panic!("a {} word", "last"),
            PanicWithoutText => std::panic::panic_any(5),
            Abort => std::process::abort(),
            Exit(code) => std::process::exit(code),
            Kill => rustix::process::kill_process(rustix::process::getpid(), Signal::KILL).unwrap(),
            Overflow => {
                overflow(0);
            }
            WriteThroughNull => {
                // Not address zero: debug builds turn a write there into a panic.
                let nowhere = std::ptr::without_provenance_mut::<u8>(8);
                // SAFETY: none. No memory is mapped in the first page, so the process gets SIGSEGV, which
                // is the purpose of this fault.
                unsafe { nowhere.write_volatile(1) };
            }
        }
        unreachable!("{self:?} does not return")
    }
}

#[allow(unconditional_recursion, reason = "the test needs a stack overflow")]
fn overflow(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    overflow(depth + 1) + std::hint::black_box(frame)[1]
}

/// An argument or result that fails at one place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Faulty {
    place: Place,
    fault: Fault,
    payload: ByteBuf,
}

impl Faulty {
    pub(crate) fn new(place: Place, fault: Fault, payload: usize) -> Self {
        Self {
            place,
            fault,
            payload: ByteBuf::from(vec![7; payload]),
        }
    }

    /// Fails if this value is to fail at `in_child`, in a child, or at `in_parent`, in the application.
    fn pass(&self, in_child: Place, in_parent: Place) -> Result<(), &'static str> {
        let place = match procession::current().is_child() {
            true => in_child,
            false => in_parent,
        };
        match self.place == place {
            true => self.fault.trigger(),
            false => Ok(()),
        }
    }
}

impl Serialize for Faulty {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let passed = self.pass(Place::EncodeResult, Place::EncodeArguments);
        passed.map_err(ser::Error::custom)?;
        (self.place, self.fault, &self.payload).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Faulty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (place, fault, payload) = Deserialize::deserialize(deserializer)?;
        let value = Self {
            place,
            fault,
            payload,
        };
        let passed = value.pass(Place::DecodeArguments, Place::DecodeResult);
        passed.map_err(de::Error::custom)?;
        Ok(value)
    }
}

pub(crate) fn echo(value: Faulty) -> Faulty {
    value.pass(Place::Run, Place::Nowhere).unwrap();
    value
}

pub(crate) async fn echo_async(value: Faulty) -> Faulty {
    tokio::task::yield_now().await;
    echo(value)
}

/// Sizes of values that are carried in the ring and in shared memory of their own, in bytes.
pub(crate) const PAYLOADS: [usize; 2] = [0, 1 << 20];
