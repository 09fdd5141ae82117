//! The identity of a process: group, session, name and directory.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::text;

/// The id of the parent; 0 if that is not in this PID namespace.
pub(crate) fn parent() -> u32 {
    rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get() as u32)
}

/// Makes this process the leader of a group of its own.
pub(crate) fn lead_group() -> io::Result<()> {
    rustix::process::setpgid(None, None)?;
    Ok(())
}

/// Makes this process the leader of a session of its own, which has no terminal, and of a group.
pub(crate) fn lead_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// The number of the calling thread.
pub(crate) fn thread() -> u32 {
    rustix::thread::gettid()
        .as_raw_nonzero()
        .get()
        .unsigned_abs()
}

/// A working directory. Its process may lack the permission to enter it again.
#[derive(Debug)]
pub(crate) struct WorkingDirectory {
    /// An `O_PATH` descriptor.
    pub(crate) fd: OwnedFd,
    /// Whether this process has the right to enter it.
    pub(crate) can_be_entered: bool,
}

impl WorkingDirectory {
    /// The working directory of the calling thread. A process needs no right to the directory that it works in: it may
    /// have given the right up.
    pub(crate) fn now() -> io::Result<Self> {
        use rustix::fs::{Mode, OFlags};
        let open = |path: &str| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty())
        };
        // The path `.` needs the right to search the directory (`path_resolution(7)`). The link in `/proc` needs none.
        match open(".") {
            Err(rustix::io::Errno::ACCESS) => Ok(Self {
                fd: open("/proc/thread-self/cwd")?,
                can_be_entered: false,
            }),
            opened => Ok(Self {
                fd: opened?,
                can_be_entered: true,
            }),
        }
    }

    /// Whether `other` is the same directory.
    fn is(&self, other: impl AsFd) -> io::Result<bool> {
        let (own, other) = (rustix::fs::fstat(&self.fd)?, rustix::fs::fstat(other)?);
        Ok((own.st_dev, own.st_ino) == (other.st_dev, other.st_ino))
    }
}

/// Changes the working directory of this process, unless this is the directory already.
pub(crate) fn change_directory(directory: impl AsFd) -> io::Result<()> {
    match rustix::process::fchdir(&directory) {
        Err(rustix::io::Errno::ACCESS) if WorkingDirectory::now()?.is(directory)? => Ok(()),
        changed => Ok(changed?),
    }
}

/// Sets the name of the calling thread (`PR_SET_NAME(2const)`), which `ps` and `top` show. Of a function's path the
/// last part is used. The kernel keeps 15 bytes.
pub(crate) fn set_thread_name(name: &str) {
    let last = name.rsplit("::").find(|part| !part.starts_with('{'));
    let name = last.unwrap_or(name);
    let kept = text::prefix(name, 15);
    let name: Vec<u8> = kept.bytes().filter(|byte| *byte != 0).collect();
    if let Ok(name) = std::ffi::CString::new(name) {
        // The name is for display only: an error has no effect on the process.
        let _ = rustix::thread::set_name(&name);
    }
}
