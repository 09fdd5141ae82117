//! Anonymous shared memory: a sealed memfd and its mappings.
//!
//! Nothing is named in the file system, so SIGKILL leaves nothing behind. The memfd is sealed against shrinking before
//! another process sees it: access to a truncated mapping would be SIGBUS (`memfd_create(2)`, "File sealing"). Most are
//! sealed against growing too; what is beyond the mapped part of the others is for `unmapped`.
//!
//! # Safety
//!
//! A [`Mapping`] owns its address range from `mmap` to `munmap`, or keeps the `Mapping` that owns it. It hands out only
//! pointers and lengths inside the range. The memory is shared with another process, so it is never exposed as a Rust
//! reference to plain data: readers copy out, writers copy in, words are atomics.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, compiler_fence};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

use super::buffer::{StackBuf, WriteCursor, copy_short};
use super::limits;

/// Creates anonymous memory of `len` bytes, whose size is sealed.
///
/// Its pages come when they are written. They are not allocated ahead (`fallocate(2)`): that would clear all of a blob
/// before it is filled. So where the kernel does not give the memory that it has promised (`vm.overcommit_memory=2`, a
/// memory cgroup), writing ends the process, as with any other memory.
pub(crate) fn memfd(name: &str, len: usize) -> io::Result<OwnedFd> {
    sealed_memfd(
        name,
        len,
        SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
    )
}

/// Creates anonymous memory of `len` bytes, whose size is sealed, and whose content can be sealed later.
pub(super) fn sealable_memfd(name: &str, len: usize) -> io::Result<OwnedFd> {
    sealed_memfd(name, len, SealFlags::SHRINK | SealFlags::GROW)
}

/// Creates anonymous memory of `len` bytes, which can grow and never shrinks.
pub(crate) fn growing_memfd(name: &str, len: usize) -> io::Result<OwnedFd> {
    sealed_memfd(name, len, SealFlags::SHRINK | SealFlags::SEAL)
}

fn sealed_memfd(name: &str, len: usize, seals: SealFlags) -> io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    limits::with_file_size(len, || Ok(rustix::fs::ftruncate(&fd, len as u64)?))?;
    rustix::fs::fcntl_add_seals(&fd, seals)?;
    Ok(fd)
}

/// Creates anonymous memory with these bytes, and a page at least, which can be neither written nor resized.
pub(crate) fn sealed_copy(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let len = bytes.len().max(1);
    limits::with_file_size(len, || {
        rustix::fs::ftruncate(&fd, len as u64)?;
        let mut left = bytes;
        while !left.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::write(&fd, left))?;
            left = &left[written..];
        }
        Ok(())
    })?;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&fd, seals)?;
    Ok(fd)
}

/// The size of the memory behind `fd`, in bytes. Memory whose size is not sealed is an error.
pub(crate) fn sealed_len(fd: &OwnedFd) -> io::Result<usize> {
    len_with_seals(fd, SealFlags::SHRINK | SealFlags::GROW)
}

/// The size of the memory behind `fd` at this time, in bytes. Memory that can shrink is an error.
pub(crate) fn least_len(fd: &OwnedFd) -> io::Result<usize> {
    len_with_seals(fd, SealFlags::SHRINK)
}

/// The kind of file system that ordinary memfds are on (`TMPFS_MAGIC`, `statfs(2)`).
const SHMEM_MAGIC: rustix::fs::FsWord = 0x0102_1994;

fn len_with_seals(fd: &OwnedFd, wanted: SealFlags) -> io::Result<usize> {
    let refused = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
    let seals = rustix::fs::fcntl_get_seals(fd)?;
    if !seals.contains(wanted) {
        let why = "shared memory that is not sealed against resizing was refused";
        return Err(refused(why));
    }
    // Huge pages that another process takes out of a mapping (`fallocate(2)`, FALLOC_FL_PUNCH_HOLE) may not come back:
    // then access is SIGBUS.
    if rustix::fs::fstatfs(fd)?.f_type != SHMEM_MAGIC {
        return Err(refused("shared memory of huge pages was refused"));
    }
    let size = rustix::fs::fstat(fd)?.st_size;
    usize::try_from(size).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// The inode number of the memory behind `fd`. It is unique among memory that some process holds: the kernel gives no
/// number twice (64 bits since Linux 5.9, `shmem_reserve_inode`). A file of a file system may have the same number.
pub(crate) fn identity(fd: impl AsFd) -> io::Result<u64> {
    Ok(rustix::fs::fstat(fd)?.st_ino)
}

/// The device and the inode of the memory behind `fd`: no other file has both, in whatever process it was made.
pub(crate) fn device_and_inode(fd: &OwnedFd) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::fstat(fd)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Whether `len` bytes of the memory behind `fd` were ever written. Pages that were not do not exist.
pub(crate) fn has_bytes(fd: &OwnedFd, len: usize) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| stat.st_blocks as u64 * BLOCK >= len as u64)
}

/// The unit of `st_blocks`, in bytes (`stat(3type)`).
const BLOCK: u64 = 512;

/// How much memory this machine has, in bytes.
pub(crate) fn machine_bytes() -> Option<u64> {
    // SAFETY: the call takes a number and returns one.
    let pages = unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) };
    let pages = u64::try_from(pages).ok()?;
    Some(pages.saturating_mul(rustix::param::page_size() as u64))
}

/// A range of address space backed by shared memory.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
    /// The mapping that owns the range, if this is a part of one.
    whole: Option<Arc<Mapping>>,
}

// SAFETY: the range is owned by this value alone and valid from any thread until it is dropped.
unsafe impl Send for Mapping {}
// SAFETY: all access goes through copies and atomics; see the module's rule.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes of `fd` from the start.
    pub(crate) fn whole(fd: impl AsFd, len: usize) -> io::Result<Self> {
        // SAFETY: a fresh range chosen by the kernel; nothing existing is replaced.
        let base = unsafe {
            rustix::mm::mmap(ptr::null_mut(), len, read_write(), MapFlags::SHARED, fd, 0)?
        };
        Ok(Self::own(base, len))
    }

    /// Maps `len` bytes of `fd` from the start, for reading only: a write is a segmentation fault.
    pub(crate) fn read_only(fd: impl AsFd, len: usize) -> io::Result<Self> {
        // SAFETY: a fresh range chosen by the kernel; nothing existing is replaced.
        let base = unsafe {
            rustix::mm::mmap(
                ptr::null_mut(),
                len,
                ProtFlags::READ,
                MapFlags::SHARED,
                fd,
                0,
            )?
        };
        Ok(Self::own(base, len))
    }

    /// Splits the mapping at `at`, a multiple of the page size.
    pub(crate) fn split(self, at: usize) -> (Self, Self) {
        assert!(at > 0 && at < self.len && at % rustix::param::page_size() == 0);
        let whole = Arc::new(self);
        let part = |from: usize, to: usize| Self {
            base: whole.at(from),
            len: to - from,
            whole: Some(Arc::clone(&whole)),
        };
        (part(0, at), part(at, whole.len))
    }

    fn at(&self, offset: usize) -> NonNull<u8> {
        let address = self.base.as_ptr().wrapping_add(offset);
        NonNull::new(address).unwrap_or(self.base)
    }

    /// Maps `head + body` bytes of `fd` from `offset`, and the body once more right behind itself.
    ///
    /// A write across the end of the body appears at its beginning, so a ring's frames are always contiguous
    /// ("Virtual Ring Buffer", Phil Howard).
    pub(crate) fn mirrored(
        fd: impl AsFd,
        offset: usize,
        head: usize,
        body: usize,
    ) -> io::Result<Self> {
        let len = head + 2 * body;
        let fd = fd.as_fd();
        let flags = MapFlags::SHARED;
        // SAFETY: a fresh range chosen by the kernel. The part behind the body shows the next bytes of the file until
        // `place` replaces it, and no pointer into that part exists yet.
        let base = unsafe {
            rustix::mm::mmap(ptr::null_mut(), len, read_write(), flags, fd, offset as u64)?
        };
        let range = Self::own(base, len);
        range.place(head + body, fd, offset + head, body)?;
        Ok(range)
    }

    /// `len` bytes of private memory, because Miri has no shared memory.
    #[cfg(miri)]
    pub(crate) fn private(len: usize) -> Self {
        // SAFETY: no layout of a ring is empty.
        let base = unsafe { std::alloc::alloc_zeroed(Self::layout(len)) };
        Self::own(base.cast(), len)
    }

    #[cfg(miri)]
    fn layout(len: usize) -> std::alloc::Layout {
        std::alloc::Layout::from_size_align(len, 4096).expect("a ring is small")
    }

    fn own(base: *mut std::ffi::c_void, len: usize) -> Self {
        Self {
            base: NonNull::new(base.cast()).unwrap_or(NonNull::dangling()),
            len,
            whole: None,
        }
    }

    fn place(
        &self,
        at: usize,
        fd: std::os::fd::BorrowedFd<'_>,
        offset: usize,
        len: usize,
    ) -> io::Result<()> {
        debug_assert!(at + len <= self.len);
        let target = self.base.as_ptr().wrapping_add(at).cast();
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: `target .. target + len` lies inside the range this value reserved and owns, and
        // nothing has a pointer into it yet.
        unsafe { rustix::mm::mmap(target, len, read_write(), flags, fd, offset as u64)? };
        Ok(())
    }

    /// The number of bytes mapped.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Copies `bytes` to `at`. Panics if they do not fit: the caller checks first.
    #[inline]
    pub(crate) fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at <= self.len && bytes.len() <= self.len - at);
        let target = self.base.as_ptr().wrapping_add(at);
        // SAFETY: the range was just checked; `bytes` is private memory, so the two do not overlap.
        unsafe { copy_short(bytes.as_ptr(), target, bytes.len()) }
    }

    /// Lends `len` bytes from `at` for writing in order. Panics if they lie outside.
    #[inline]
    pub(crate) fn write_cursor(&self, at: usize, len: usize) -> WriteCursor<'_> {
        assert!(at <= self.len && len <= self.len - at);
        let start = self.base.as_ptr().wrapping_add(at);
        // SAFETY: the range was just checked, and the cursor borrows the mapping.
        unsafe { WriteCursor::new(start, len) }
    }

    /// Appends `len` bytes from `at` to `out`. Panics if they lie outside: the caller checks first.
    #[inline]
    pub(crate) fn read(&self, at: usize, len: usize, out: &mut Vec<u8>) {
        assert!(at <= self.len && len <= self.len - at);
        out.reserve(len);
        let source = self.base.as_ptr().wrapping_add(at);
        let target = out.spare_capacity_mut().as_mut_ptr().cast::<u8>();
        // SAFETY: the source was just checked, the target just reserved; one is shared memory, the
        // other private, so they do not overlap.
        unsafe { ptr::copy_nonoverlapping(source, target, len) };
        // Whatever is done with the copy must not be done with the source once more.
        compiler_fence(Ordering::Acquire);
        // SAFETY: the `len` bytes behind the old length were just written.
        unsafe { out.set_len(out.len() + len) };
    }

    /// Fills `buffer` with the `len` bytes from `at` on. Panics if they lie outside or do not fit: the caller checks
    /// first.
    #[inline]
    pub(crate) fn copy_to(&self, at: usize, len: usize, buffer: &mut StackBuf) {
        assert!(at <= self.len && len <= self.len - at);
        let source = self.base.as_ptr().wrapping_add(at);
        // SAFETY: the source was just checked. It is shared memory and the buffer is not, so they do not overlap.
        unsafe { buffer.copy_from(source, len) };
        // As in `read`.
        compiler_fence(Ordering::Acquire);
    }

    /// Fills `out` with the bytes from `at` on. Panics if they lie outside: the caller checks first.
    #[inline]
    pub(crate) fn load(&self, at: usize, out: &mut [u8]) {
        assert!(at <= self.len && out.len() <= self.len - at);
        let source = self.base.as_ptr().wrapping_add(at);
        // SAFETY: the range was just checked. It is shared memory and `out` is not, so they do not overlap.
        unsafe { copy_short(source, out.as_mut_ptr(), out.len()) }
        // As in `read`.
        compiler_fence(Ordering::Acquire);
    }

    /// The 64-bit word at `at`. Panics if it lies outside or is not aligned.
    #[inline]
    pub(crate) fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at % 8 == 0 && at <= self.len && self.len - at >= 8);
        let word = self.base.as_ptr().wrapping_add(at).cast::<AtomicU64>();
        // SAFETY: inside the mapping, aligned (pages are), and any bit pattern is a valid atomic.
        unsafe { &*word }
    }

    /// The `count` 64-bit words from `at` on. Panics if they lie outside or are not aligned.
    pub(crate) fn words(&self, at: usize, count: usize) -> &[AtomicU64] {
        assert!(at % 8 == 0 && at <= self.len && (self.len - at) / 8 >= count);
        let first = self.base.as_ptr().wrapping_add(at).cast::<AtomicU64>();
        // SAFETY: inside the mapping, aligned (pages are), and any bit pattern is a valid atomic.
        unsafe { std::slice::from_raw_parts(first, count) }
    }

    /// The 32-bit word at `at`. Panics if it lies outside or is not aligned.
    #[inline]
    pub(crate) fn half_word(&self, at: usize) -> &AtomicU32 {
        assert!(at % 4 == 0 && at <= self.len && self.len - at >= 4);
        let word = self.base.as_ptr().wrapping_add(at).cast::<AtomicU32>();
        // SAFETY: inside the mapping, aligned (pages are), and any bit pattern is a valid atomic.
        unsafe { &*word }
    }

    /// The `len` bytes from `at` on, to be copied in order. Panics if they lie outside: the caller checks first.
    pub(crate) fn shared(&self, at: usize, len: usize) -> SharedBytes<'_> {
        assert!(at <= self.len && len <= self.len - at);
        SharedBytes {
            mapping: self,
            at,
            len,
        }
    }
}

/// Bytes of a mapping that another process may still write. They can only be copied, each once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SharedBytes<'a> {
    mapping: &'a Mapping,
    at: usize,
    len: usize,
}

impl SharedBytes<'_> {
    /// How many bytes are left.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Appends the next `len` bytes to `out`. Panics if there are fewer.
    pub(crate) fn take(&mut self, len: usize, out: &mut Vec<u8>) {
        assert!(len <= self.len);
        self.mapping.read(self.at, len, out);
        self.at += len;
        self.len -= len;
    }
}

#[cfg(miri)]
impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout, by `private`.
        unsafe { std::alloc::dealloc(self.base.as_ptr(), Self::layout(self.len)) };
    }
}

#[cfg(not(miri))]
impl Drop for Mapping {
    fn drop(&mut self) {
        if self.whole.is_some() {
            return; // the owner of the range unmaps it
        }
        // SAFETY: the range was mapped by this value, and borrows of it have ended.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}

fn read_write() -> ProtFlags {
    ProtFlags::READ | ProtFlags::WRITE
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn only_sealed_memory_of_ordinary_pages_is_taken() {
        const LEN: usize = 2 << 20;
        assert_eq!(sealed_len(&memfd("test", LEN).unwrap()).unwrap(), LEN);
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let seals = SealFlags::SHRINK | SealFlags::GROW;
        for (kind, seals) in [
            (MemfdFlags::HUGETLB, seals),
            (MemfdFlags::empty(), SealFlags::GROW),
        ] {
            // A kernel may have been built without huge pages.
            let Ok(memory) = rustix::fs::memfd_create("test", flags | kind) else {
                continue;
            };
            rustix::fs::ftruncate(&memory, LEN as u64).unwrap();
            rustix::fs::fcntl_add_seals(&memory, seals).unwrap();
            let error = sealed_len(&memory).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }
}
