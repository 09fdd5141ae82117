//! The part of a memfd that no process maps: it is written and read by system calls.
//!
//! The memfd can grow (`memory::growing_memfd`). Writing beyond its end makes it longer, and a range that is given back
//! takes no memory until it is written again. What must stay true: a write never exceeds the limit on the size of
//! files, because the kernel kills a process for that (`SIGXFSZ`, `setrlimit(2)`).

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;

use rustix::fs::FallocateFlags;

use super::limits;

/// The size of a block of `stat(2)`, in bytes.
const BLOCK_BYTES: u64 = 512;

/// Writes `bytes` at `at`. On an error a part of them may be written.
///
/// # Errors
///
/// The size of files is limited to less, or there is no memory.
pub(crate) fn write(memory: impl AsFd, at: u64, bytes: &[u8]) -> io::Result<()> {
    let end = at.saturating_add(bytes.len() as u64);
    if end > limits::soft(limits::FILE_SIZE) {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    let mut written = 0;
    while written < bytes.len() {
        let position = at + written as u64;
        match rustix::io::pwrite(&memory, &bytes[written..], position) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(count) => written += count,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads the `len` bytes at `at`. `None` if the memory does not have so many bytes there.
///
/// # Errors
///
/// There is no memory for them.
pub(crate) fn read(memory: impl AsFd, at: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
    if !holds(&memory, at, len)? {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(len)
        .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    while bytes.len() < len {
        let position = at + bytes.len() as u64;
        let spare = rustix::buffer::spare_capacity(&mut bytes);
        match rustix::io::pread(&memory, spare, position) {
            Ok(0) => return Ok(None),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(len);
    Ok(Some(bytes))
}

/// Whether the memory can have `len` bytes at `at`: it is that long, and has so many bytes at all.
fn holds(memory: impl AsFd, at: u64, len: usize) -> io::Result<bool> {
    let stat = rustix::fs::fstat(memory)?;
    let end = at.checked_add(len as u64);
    let in_memory = (stat.st_blocks as u64).saturating_mul(BLOCK_BYTES);
    Ok(end.is_some_and(|end| end <= stat.st_size as u64) && len as u64 <= in_memory)
}

/// Gives the whole pages in `range` back to the kernel. The memory stays as long as it is.
pub(crate) fn give_back(memory: impl AsFd, range: Range<u64>) -> io::Result<()> {
    let page = rustix::param::page_size() as u64;
    let start = range.start.checked_next_multiple_of(page);
    let (start, end) = (start.unwrap_or(u64::MAX), page_start(range.end));
    if start >= end {
        return Ok(());
    }
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(memory, flags, start, end - start)?;
    Ok(())
}

/// Gives all memory from `at` on back to the kernel, except for a last part of a page.
pub(crate) fn give_back_from(memory: impl AsFd, at: u64) -> io::Result<()> {
    let len = rustix::fs::fstat(&memory)?.st_size as u64;
    let page = rustix::param::page_size() as u64;
    give_back(memory, at..len.next_multiple_of(page))
}

/// Where the page of `at` begins.
pub(crate) fn page_start(at: u64) -> u64 {
    at - at % rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::memory;

    fn blocks(memory: impl AsFd) -> u64 {
        rustix::fs::fstat(memory).unwrap().st_blocks as u64
    }

    #[test]
    fn bytes_beyond_the_end_are_read_back_and_given_back() {
        let memory = memory::growing_memfd("unmapped-test", 4096).unwrap();
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        write(&memory, 5000, &bytes).unwrap();
        assert_eq!(read(&memory, 5000, bytes.len()).unwrap(), Some(bytes));
        assert!(blocks(&memory) > 0);
        give_back(&memory, 4096..4096 * 2).unwrap();
        assert_eq!(read(&memory, 5000, 3).unwrap(), Some(vec![0; 3]));
        give_back_from(&memory, 4096).unwrap();
        assert_eq!(blocks(&memory), 0);
    }

    #[test]
    fn range_that_the_memory_does_not_have_is_not_read() {
        let memory = memory::growing_memfd("unmapped-test", 4096).unwrap();
        write(&memory, 4096, &[1; 4096]).unwrap();
        for (at, len) in [(8192, 1), (0, 8193), (u64::MAX, 2), (0, 8192)] {
            assert_eq!(read(&memory, at, len).unwrap(), None, "{at} {len}");
        }
        assert!(read(&memory, 4096, 4096).unwrap().is_some());
    }
}
