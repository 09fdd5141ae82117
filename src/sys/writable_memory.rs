//! Shared memory that this process reads and writes in place.
//!
//! Its size is sealed, so no process can truncate what another has mapped. All its pages exist when it is made, and
//! when it arrives. Behind the bytes lies a word that counts how often the memory has moved: memory that was sent twice
//! arrives once.
//!
//! # Safety
//!
//! A [`WritableMemory`] lends its bytes as a `Vec` does: its owner holds one for each process that may write, and gives
//! it up where the memory moves. The word is outside the bytes that are lent. What another process does with memory
//! that it has kept is outside of Rust's rules, as it is for every mapping of a file: any bytes are valid here, and the
//! length and the pages do not change.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{SealFlags, Stat};

use super::available::available_bytes;
use super::memory;
use super::page_range::{PageRange, PageUse};
use super::populate::{PagePlan, populate};

/// The name of the memory in `/proc/PID/maps`.
const NAME: &str = "procession-memory";

/// The length of the word behind the bytes.
const MOVES_WORD: usize = 8;

/// The unit of `st_blocks`, in bytes (`stat(3type)`).
const BLOCK_LEN: u64 = 512;

/// From this length on it is checked first whether there is so much memory: the check takes 50 µs.
const LONGEST_UNASKED: usize = 16 << 20;

/// Anonymous memory that can be written, and be sealed.
#[derive(Debug)]
pub(crate) struct WritableMemory {
    memory: OwnedFd,
    range: PageRange,
    /// How many of the bytes belong to the user.
    len: usize,
}

impl WritableMemory {
    /// Makes memory of `len` bytes, all zero.
    ///
    /// # Errors
    ///
    /// `len` is zero, or more than there can be, or there is no memory or descriptor left.
    pub(crate) fn zeroed(len: usize) -> io::Result<Self> {
        let invalid = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        if len == 0 {
            return invalid("shared memory of zero bytes cannot be made".to_owned());
        }
        let Some(plan) = len.checked_add(MOVES_WORD).and_then(PagePlan::of) else {
            return invalid(format!("{len} bytes are more than a process can have"));
        };
        check_available(plan.len)?;
        let made = Self::make(len, plan);
        made.map_err(|error| match error.kind() {
            io::ErrorKind::OutOfMemory => out_of_memory(len),
            _ => error,
        })
    }

    fn make(len: usize, plan: PagePlan) -> io::Result<Self> {
        let memory = memory::sealable_memfd(NAME, plan.len)?;
        let range = PageRange::map(memory.as_fd(), plan.len, PageUse::ReadWrite)?;
        populate(memory.as_fd(), &range, plan)?;
        Ok(Self { memory, range, len })
    }

    /// Maps memory of `len` bytes that came from another process.
    ///
    /// # Errors
    ///
    /// It is not what [`zeroed`](Self::zeroed) makes, or the kernel cannot map it.
    pub(crate) fn open(memory: OwnedFd, len: usize) -> io::Result<Self> {
        let stat = checked_stat(&memory, SealFlags::SHRINK | SealFlags::GROW)?;
        let size = stat.st_size as usize;
        if rustix::fs::fcntl_get_seals(&memory)?.intersects(unwritable()) {
            return Err(refused("it is sealed against writing"));
        }
        if len == 0 || len > size.saturating_sub(MOVES_WORD) {
            return Err(refused("it is shorter than it says"));
        }
        let range = PageRange::map(memory.as_fd(), size, PageUse::ReadWrite)?;
        Ok(Self { memory, range, len })
    }

    /// The number of bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the bytes are mapped, and borrowed from their owner; see the module.
        unsafe { std::slice::from_raw_parts(self.range.base().as_ptr(), self.len) }
    }

    /// The bytes, to be written.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the bytes are mapped, and borrowed from their owner; see the module.
        unsafe { std::slice::from_raw_parts_mut(self.range.base().as_ptr(), self.len) }
    }

    /// The address of the bytes.
    pub(super) fn base(&self) -> *mut u8 {
        self.range.base().as_ptr()
    }

    /// How often the memory has moved.
    fn moves(&self) -> &AtomicU64 {
        let at = self.range.len() - MOVES_WORD;
        let word = self.range.base().as_ptr().wrapping_add(at);
        // SAFETY: inside the range, behind the bytes, and aligned; any bits are a valid atomic.
        unsafe { &*word.cast::<AtomicU64>() }
    }

    /// Counts the arrival of memory that had moved `moves` times when it was sent, and returns how often it has moved.
    /// `None` if it has arrived before.
    pub(crate) fn count_move(&self, moves: u64) -> Option<u64> {
        let now = moves.wrapping_add(1);
        let exchanged =
            self.moves()
                .compare_exchange(moves, now, Ordering::AcqRel, Ordering::Acquire);
        exchanged.is_ok().then_some(now)
    }

    /// Unmaps the memory.
    pub(super) fn into_fd(self) -> OwnedFd {
        self.memory
    }
}

impl AsFd for WritableMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

fn check_available(len: usize) -> io::Result<()> {
    let is_too_much = |most: u64| len as u64 > most;
    match len > LONGEST_UNASKED && available_bytes().is_some_and(is_too_much) {
        true => Err(out_of_memory(len)),
        false => Ok(()),
    }
}

fn out_of_memory(len: usize) -> io::Error {
    let why = format!("there is not enough memory for {len} bytes of shared memory");
    io::Error::new(io::ErrorKind::OutOfMemory, why)
}

/// The status of memory that came from another process, which must be a memfd with these seals, with all its pages. Its
/// size is what a slice can have.
///
/// Reading a file of another kind could end in `SIGBUS`, or wait for ever. Reading pages that do not exist makes them:
/// a few bytes of another process would take gigabytes here.
pub(super) fn checked_stat(memory: &OwnedFd, seals: SealFlags) -> io::Result<Stat> {
    let found = rustix::fs::fcntl_get_seals(memory);
    if !found.is_ok_and(|found| found.contains(seals)) {
        return Err(refused("it is not memory of this kind, or not sealed"));
    }
    let stat = rustix::fs::fstat(memory)?;
    if stat.st_dev != own_device()? {
        return Err(refused("it is in a file system that can fail"));
    }
    let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
    let in_memory = (stat.st_blocks as u64).saturating_mul(BLOCK_LEN);
    if size == 0 {
        return Err(refused("it is empty"));
    }
    if size % rustix::param::page_size() != 0 {
        return Err(refused("it does not end with a page"));
    }
    if isize::try_from(size).is_err() || in_memory < size as u64 {
        return Err(refused("it is longer than what was written"));
    }
    Ok(stat)
}

/// The device of all memfds that have small pages: the kernel's own mount of `tmpfs(5)`.
fn own_device() -> io::Result<u64> {
    static DEVICE: OnceLock<u64> = OnceLock::new();
    if let Some(device) = DEVICE.get() {
        return Ok(*device);
    }
    let memory = memory::memfd(NAME, 1)?;
    let device = rustix::fs::fstat(&memory)?.st_dev;
    Ok(*DEVICE.get_or_init(|| device))
}

fn unwritable() -> SealFlags {
    SealFlags::WRITE | SealFlags::FUTURE_WRITE
}

pub(super) fn refused(why: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("shared memory from another process was refused: {why}"),
    )
}
