//! The group that this process is in.
//!
//! Runs in every process of this crate.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The directory of the group of this process.
pub(super) fn directory() -> io::Result<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::"));
    let own = own.ok_or_else(|| unsupported("this process is in no group of version 2"))?;
    mounts
        .lines()
        .filter_map(group_mount)
        .find_map(|(root, at)| Some(at.join(Path::new(own).strip_prefix(root).ok()?)))
        .ok_or_else(|| unsupported("the group of this process is not mounted"))
}

/// The root and the place of a mount of control groups, from a line of `/proc/PID/mountinfo` (`proc_pid_mountinfo(5)`).
fn group_mount(line: &str) -> Option<(PathBuf, PathBuf)> {
    let (mount, source) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let (root, at) = (fields.next()?, fields.next()?);
    (source.split(' ').next() == Some("cgroup2")).then(|| (unescaped(root), unescaped(at)))
}

/// A path in which the kernel has written some bytes as `\` and three octal digits.
fn unescaped(path: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..3).filter(|_| *first == b'\\');
        let digits = digits.and_then(|it| std::str::from_utf8(it).ok());
        let byte = digits.and_then(|it| u8::from_str_radix(it, 8).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = &behind[if byte.is_some() { 3 } else { 0 }..];
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// An error that says why there can be no groups.
pub(super) fn unsupported(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_from_the_kernels_file() {
        let line = "33 32 0:27 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
        let expected = ("/".into(), "/sys/fs/cgroup/unified".into());
        assert_eq!(group_mount(line), Some(expected));
        let with_options = r"33 32 0:27 /a\040b /c\134 rw shared:9 - cgroup2 none rw";
        assert_eq!(
            group_mount(with_options),
            Some(("/a b".into(), r"/c\".into()))
        );
        assert_eq!(
            group_mount("33 32 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw"),
            None
        );
        assert_eq!(unescaped(r"/a\9"), PathBuf::from(r"/a\9"));
    }
}
