//! Shared memory that no process can write any more.
//!
//! The kernel seals it (`F_SEAL_WRITE`, `fcntl(2)`, "File Sealing"): the seal is refused while any process has the
//! memory mapped for writing, and afterwards no call writes it, shrinks it, grows it or gives its pages back. A shared
//! mapping of it cannot be made writable, not even by a debugger through `/proc/PID/mem`, which writes private mappings
//! alone (`check_vma_flags` in the kernel's `mm/gup.c`). So a slice of it is what Rust asks of a slice, in every
//! process.
//!
//! # Safety
//!
//! A [`SealedMemory`] exists only of memory whose seals were seen, with all its pages, mapped as shared and read-only.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, SealFlags};

use super::page_range::{PageRange, PageUse};
use super::writable_memory::{WritableMemory, checked_stat};

/// Memory that cannot be written.
#[derive(Debug)]
pub(crate) struct SealedMemory {
    memory: OwnedFd,
    range: PageRange,
    identity: u64,
}

impl SealedMemory {
    /// Seals `memory`.
    ///
    /// That is not possible while another process has it mapped (a copy of this process made by `fork`, or a sender
    /// that has kept it), or while the kernel writes into it. Then the bytes are copied to new memory, which is sealed.
    ///
    /// # Errors
    ///
    /// The kernel has no memory left.
    pub(crate) fn seal(memory: WritableMemory) -> io::Result<Self> {
        let len = memory.len();
        let unsealed = memory.into_fd();
        match add_seals(&unsealed) {
            Ok(()) => Self::open(unsealed),
            Err(rustix::io::Errno::BUSY) => {
                let source = WritableMemory::open(unsealed, len)?;
                let mut copy = WritableMemory::zeroed(len)?;
                copy.bytes_mut().copy_from_slice(source.bytes());
                let copy = copy.into_fd();
                add_seals(&copy)?;
                Self::open(copy)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Maps memory that came from another process.
    ///
    /// # Errors
    ///
    /// It is not what [`seal`](Self::seal) makes, or the kernel cannot map it.
    pub(crate) fn open(memory: OwnedFd) -> io::Result<Self> {
        let stat = checked_stat(&memory, sealed())?;
        let size = stat.st_size as usize;
        let range = match PageRange::map(memory.as_fd(), size, PageUse::Read) {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                let read_only = reopen(&memory)?;
                PageRange::map(read_only.as_fd(), size, PageUse::Read)?
            }
            mapped => mapped?,
        };
        Ok(Self {
            memory,
            range,
            identity: stat.st_ino,
        })
    }

    /// The identity of memory that came from another process.
    ///
    /// # Errors
    ///
    /// It is not what [`seal`](Self::seal) makes.
    pub(crate) fn identity_of(memory: &OwnedFd) -> io::Result<u64> {
        Ok(checked_stat(memory, sealed())?.st_ino)
    }

    /// All bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the range is mapped for as long as this value exists, and cannot be written by any process; see the
        // module.
        unsafe { std::slice::from_raw_parts(self.range.base().as_ptr(), self.range.len()) }
    }

    /// The inode number of the memory, which is unique while a process holds the memory.
    pub(crate) fn identity(&self) -> u64 {
        self.identity
    }
}

impl AsFd for SealedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

fn sealed() -> SealFlags {
    SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW
}

fn add_seals(memory: &OwnedFd) -> rustix::io::Result<()> {
    rustix::fs::fcntl_add_seals(memory, sealed() | SealFlags::SEAL)
}

/// Opens the memory again, for reading. Before Linux 6.7 the kernel refuses every shared mapping of a sealed memfd
/// that is open for writing ("mm: perform the mapping_map_writable() check after call_mmap()").
fn reopen(memory: &OwnedFd) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_mapped_elsewhere_is_copied() {
        let mut memory = WritableMemory::zeroed(5000).unwrap();
        memory.bytes_mut()[4999] = 7;
        let kept = memory.as_fd().try_clone_to_owned().unwrap();
        let mut kept = WritableMemory::open(kept, 5000).unwrap();
        let sealed = SealedMemory::seal(memory).unwrap();
        kept.bytes_mut()[4999] = 8;
        assert_eq!(sealed.bytes()[4999], 7);
    }

    #[test]
    fn sealed_memory_is_mapped_as_before_linux_6_7() {
        let mut memory = WritableMemory::zeroed(10).unwrap();
        memory.bytes_mut().fill(3);
        let sealed = SealedMemory::seal(memory).unwrap();
        let reopened = reopen(&sealed.memory).unwrap();
        let again = SealedMemory::open(reopened).unwrap();
        assert_eq!(again.bytes()[..10], [3; 10]);
        assert_eq!(again.identity(), sealed.identity());
    }
}
