//! Descriptors without close-on-exec, which an executed child inherits although it should not.
//!
//! The parent lists its own before it executes a child, each with its file. The child closes what is listed and nothing
//! else: constructors of shared libraries open descriptors before any code of this crate runs there.
//!
//! # Safety
//!
//! Calls that take a descriptor as a number, which need not be open, and a call that stores a structure of the
//! caller's.
#![allow(unsafe_code)]

use std::fmt;

use super::procfs;

/// The longest list, in bytes: an environment variable has at most 128 KiB (`MAX_ARG_STRLEN`, `execve(2)`). About eight
/// thousand descriptors fit; further ones stay open in the child.
const LONGEST_LIST: usize = 100 * 1024;

/// A list of inheritable descriptors beyond the standard streams.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Inheritable(Vec<InheritableFd>);

/// A descriptor's number, and the file that it had in the parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct InheritableFd {
    fd: i32,
    device: u64,
    inode: u64,
}

impl Inheritable {
    /// Those of this process.
    pub(crate) fn now() -> Self {
        let numbers = 3..procfs::descriptor_table_size();
        Self(numbers.filter_map(InheritableFd::at).collect())
    }

    /// The list in a text that [`fmt::Display`] has written. What is no entry is skipped.
    pub(crate) fn parse(text: &str) -> Self {
        Self(text.split(',').filter_map(InheritableFd::parse).collect())
    }

    /// Closes these descriptors of a child, where they are what the parent had.
    pub(crate) fn close(self) {
        for listed in self.0 {
            if InheritableFd::at(listed.fd) == Some(listed) {
                // SAFETY: the descriptor came with `execve`, so no value in this process owns it.
                unsafe { libc::close(listed.fd) };
            }
        }
    }
}

/// Entries, each after a comma. Nothing for an empty list.
impl fmt::Display for Inheritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut written = 0;
        for InheritableFd { fd, device, inode } in &self.0 {
            let entry = format!(",{fd:x}:{device:x}:{inode:x}");
            written += entry.len();
            if written > LONGEST_LIST {
                return Ok(());
            }
            f.write_str(&entry)?;
        }
        Ok(())
    }
}

impl InheritableFd {
    /// The descriptor `fd`, if it is open and inheritable.
    fn at(fd: i32) -> Option<Self> {
        // SAFETY: takes integers.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        if flags < 0 || flags & libc::FD_CLOEXEC != 0 {
            return None;
        }
        // SAFETY: all-zero is a valid value of this structure.
        let mut found: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: takes an integer and stores one structure.
        let asked = unsafe { libc::fstat(fd, &raw mut found) };
        (asked == 0).then_some(Self {
            fd,
            device: found.st_dev,
            inode: found.st_ino,
        })
    }

    fn parse(entry: &str) -> Option<Self> {
        let mut fields = entry.split(':');
        let mut next = || u64::from_str_radix(fields.next()?, 16).ok();
        Some(Self {
            fd: i32::try_from(next()?).ok()?,
            device: next()?,
            inode: next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd as _, IntoRawFd as _, OwnedFd};

    use rustix::io::FdFlags;

    use super::*;

    fn inheritable_null() -> OwnedFd {
        let null = crate::sys::stdio::null().unwrap();
        rustix::io::fcntl_setfd(&null, FdFlags::empty()).unwrap();
        null
    }

    #[test]
    fn list_is_read_as_it_was_written() {
        let null = inheritable_null();
        let list = Inheritable::now();
        assert!(list.0.iter().any(|it| it.fd == null.as_raw_fd()));
        assert_eq!(Inheritable::parse(&list.to_string()), list);
        assert_eq!(
            Inheritable::parse(",,1:2,x:1:1,-1:1:1"),
            Inheritable::default()
        );
    }

    #[test]
    fn descriptor_that_has_another_file_or_is_close_on_exec_stays_open() {
        let null = inheritable_null();
        let fd = null.as_raw_fd();
        let same = InheritableFd::at(fd).unwrap();
        let other = InheritableFd {
            inode: same.inode + 1,
            ..same
        };
        Inheritable(vec![other]).close();
        assert_eq!(InheritableFd::at(fd), Some(same));
        rustix::io::fcntl_setfd(&null, FdFlags::CLOEXEC).unwrap();
        Inheritable(vec![same]).close();
        assert!(rustix::io::fcntl_getfd(&null).is_ok());
        rustix::io::fcntl_setfd(&null, FdFlags::empty()).unwrap();
        let _ = null.into_raw_fd();
        Inheritable(vec![same]).close();
        assert_ne!(InheritableFd::at(fd), Some(same));
    }
}
