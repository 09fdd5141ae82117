//! Whether a process that uses shared memory still exists, as the kernel knows it.
//!
//! A process registers at the memory under a number: it opens the memory's file again and locks the byte with that
//! number for its own open file description ("Open file description locks", `fcntl_locking(2)`). The kernel removes the
//! lock when the last descriptor of the description is closed. For a killed process it closes them after all threads
//! have stopped. So a process that finds no lock knows that the other changes nothing in the memory any more. A stopped
//! process keeps its lock.
//!
//! Nothing of this lies in the memory, so no process can overwrite it. Nothing depends on process numbers, which are
//! used again and differ between pid namespaces, or on the right to see other processes in `/proc`. Only registering
//! needs `/proc/self/fd`: no other path leads to anonymous memory.
//!
//! Must stay true: the description by which a process is registered is never sent to another process. A forked copy
//! shares it, so the copy registers again (see `fork_epoch`); until the copy ends or executes a program, the process
//! seems to exist.
//!
//! # Safety
//!
//! `fcntl(2)` reads and writes one structure at the given address.
#![allow(unsafe_code)]

use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use super::clock::Moment;

/// How many numbers are tried. A number is in use once in 2³¹ times for each other process.
const NUMBER_ATTEMPTS: usize = 16;

/// A descriptor in a standard slot would be overwritten when the program opens that stream.
const FIRST_DESCRIPTOR: i32 = 3;

/// The registration of this process at shared memory. Dropping it ends the registration.
#[derive(Debug)]
pub(crate) struct Presence {
    witness: Witness,
    number: NonZeroU32,
}

/// A description of the memory's file, through which the kernel is asked about other processes.
#[derive(Debug)]
pub(crate) struct Witness {
    file: OwnedFd,
    /// The device and the inode of the memory.
    identity: (u64, u64),
}

impl Presence {
    /// Registers this process at `memory` under a random number below 2³¹.
    pub(crate) fn register(memory: BorrowedFd<'_>) -> io::Result<Self> {
        let witness = Witness::new(reopen(memory)?)?;
        for _ in 0..NUMBER_ATTEMPTS {
            let number = random_number();
            if lock_byte(&witness.file, number)? {
                return Ok(Self { witness, number });
            }
        }
        Err(io::Error::other("every number is in use"))
    }

    #[inline]
    pub(crate) fn number(&self) -> NonZeroU32 {
        self.number
    }
}

impl Presence {
    #[inline]
    pub(crate) fn witness(&self) -> &Witness {
        &self.witness
    }

    /// The registered description. What is registered exists for as long as a process has the description, or a message
    /// that carries it.
    pub(crate) fn into_description(self) -> OwnedFd {
        self.witness.file
    }
}

impl Witness {
    /// Asks through the description of `memory` itself, without registering.
    pub(crate) fn of(memory: BorrowedFd<'_>) -> io::Result<Self> {
        Self::new(rustix::io::fcntl_dupfd_cloexec(memory, FIRST_DESCRIPTOR)?)
    }

    fn new(file: OwnedFd) -> io::Result<Self> {
        let identity = identity(&file)?;
        Ok(Self { file, identity })
    }

    /// Whether another process is registered under `number`.
    pub(crate) fn is_registered(&self, number: NonZeroU32) -> bool {
        // Code that closes descriptors which are not its own may have put another file in this place. It has no locks.
        is_registered(&self.file, number)
            || identity(&self.file).map_or(true, |found| found != self.identity)
    }
}

impl AsFd for Witness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn identity(file: &OwnedFd) -> io::Result<(u64, u64)> {
    let found = rustix::fs::fstat(file)?;
    Ok((found.st_dev, found.st_ino))
}

/// Whether a process is registered under `number` at the memory of `file`, through another description than `file`. An
/// error of the kernel says nothing: then the process is taken to exist.
pub(crate) fn is_registered(file: impl AsFd, number: NonZeroU32) -> bool {
    let mut lock = byte(number);
    // SAFETY: reads the structure and stores a lock of another description in it.
    let asked = unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    asked != 0 || lock.l_type != libc::F_UNLCK as libc::c_short
}

/// A random number from 1 to 2³¹ - 1. A number that was used before must not be likely: a lock may still name it.
pub(crate) fn random_number() -> NonZeroU32 {
    let mut bytes = [0_u8; 4];
    // SAFETY: stores at most 4 bytes.
    let filled = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), 4, libc::GRND_NONBLOCK) };
    let random = match filled {
        4 => u32::from_ne_bytes(bytes),
        // Refused by a filter. The time is as good against accidents.
        _ => Moment::now().to_bits() as u32 ^ std::process::id().rotate_left(16),
    };
    NonZeroU32::new(random >> 1).unwrap_or(NonZeroU32::MIN)
}

/// Opens the file of `memory` again: an open file description of this process's own.
fn reopen(memory: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    match file.as_raw_fd() < FIRST_DESCRIPTOR {
        true => Ok(rustix::io::fcntl_dupfd_cloexec(file, FIRST_DESCRIPTOR)?),
        false => Ok(file),
    }
}

/// Locks the byte `number` for the description of `file`. False if another description has it.
fn lock_byte(file: &OwnedFd, number: NonZeroU32) -> io::Result<bool> {
    let lock = byte(number);
    // SAFETY: reads the structure.
    let locked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    match locked {
        0 => Ok(true),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            error if error.raw_os_error() == Some(libc::EACCES) => Ok(false),
            error => Err(error),
        },
    }
}

/// An exclusive lock of the byte `number`, which may lie behind the end of the file.
fn byte(number: NonZeroU32) -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: libc::off_t::from(number.get()),
        l_len: 1,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::memory;

    #[test]
    fn process_is_registered_until_its_description_is_closed() {
        let memory = memory::memfd("presence-test", 4096).unwrap();
        let presence = Presence::register(memory.as_fd()).unwrap();
        let other = Presence::register(memory.as_fd()).unwrap();
        let number = presence.number();
        assert_ne!(number, other.number());
        assert!(is_registered(&memory, number));
        assert!(other.witness().is_registered(number));
        drop(presence);
        assert!(!is_registered(&memory, number));
        assert!(!other.witness().is_registered(number));
        assert!(is_registered(&memory, other.number()));
    }

    #[test]
    fn number_is_registered_once() {
        let memory = memory::memfd("presence-test", 4096).unwrap();
        let presence = Presence::register(memory.as_fd()).unwrap();
        let file = reopen(memory.as_fd()).unwrap();
        assert!(!lock_byte(&file, presence.number()).unwrap());
        drop(presence);
    }

    #[test]
    fn descriptor_that_shows_another_file_says_nothing() {
        let memory = memory::memfd("presence-test", 4096).unwrap();
        let mut witness = Witness::of(memory.as_fd()).unwrap();
        assert!(!witness.is_registered(NonZeroU32::MIN));
        witness.file = std::os::unix::net::UnixStream::pair().unwrap().0.into();
        assert!(witness.is_registered(NonZeroU32::MIN));
    }
}
