//! The identity of a process: group, session, name, directory and credentials.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::text;

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

/// The credentials of a thread (`credentials(7)`), which its children inherit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    users: (u32, u32),
    groups: (u32, u32),
    more_groups: Vec<u32>,
    capabilities: Option<rustix::thread::CapabilitySets>,
    no_new: bool,
}

impl Credentials {
    /// The credentials of the calling thread.
    pub(crate) fn now() -> Self {
        use rustix::process::{getegid, geteuid, getgid, getgroups, getuid};
        let more = getgroups().unwrap_or_default();
        Self {
            users: (getuid().as_raw(), geteuid().as_raw()),
            groups: (getgid().as_raw(), getegid().as_raw()),
            more_groups: more.iter().map(|group| group.as_raw()).collect(),
            capabilities: rustix::thread::capabilities(None).ok(),
            no_new: rustix::thread::no_new_privs().unwrap_or(false),
        }
    }
}

/// The working directory of this process, as an `O_PATH` descriptor.
pub(crate) fn open_current_directory() -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(".", flags, Mode::empty())?)
}

/// Changes the working directory of this process.
pub(crate) fn change_directory(directory: impl AsFd) -> io::Result<()> {
    rustix::process::fchdir(directory)?;
    Ok(())
}

/// Sets the name of the calling thread (`PR_SET_NAME(2const)`), which `ps` and `top` show. Of a function's path the last
/// part is used. The kernel keeps 15 bytes.
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
