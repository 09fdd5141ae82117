//! Who a process is: its group, session, name, directory and credentials.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::text;

/// Makes this process the leader of a group of its own.
pub(crate) fn lead_group() -> io::Result<()> {
    rustix::process::setpgid(None, None)?;
    Ok(())
}

/// Makes this process the leader of a session of its own, which has no terminal, and so of a group.
pub(crate) fn lead_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// What the kernel lets the calling thread, and what it starts, do: by whose right it acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    users: (u32, u32),
    groups: (u32, u32),
    more_groups: Vec<u32>,
    capabilities: Option<rustix::thread::CapabilitySets>,
    no_new: bool,
}

impl Credentials {
    /// Those of the calling thread.
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

/// The directory this process works in, as a descriptor that only leads there.
pub(crate) fn open_current_directory() -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(".", flags, Mode::empty())?)
}

/// Makes `directory` the one this process works in.
pub(crate) fn change_directory(directory: impl AsFd) -> io::Result<()> {
    rustix::process::fchdir(directory)?;
    Ok(())
}

/// What `ps` and `top` show as the command of the calling thread, of which the kernel keeps 15 bytes: of
/// the path of a function the last part.
pub(crate) fn set_thread_name(name: &str) {
    let last = name.rsplit("::").find(|part| !part.starts_with('{'));
    let name = last.unwrap_or(name);
    let kept = text::prefix(name, 15);
    let name: Vec<u8> = kept.bytes().filter(|byte| *byte != 0).collect();
    if let Ok(name) = std::ffi::CString::new(name) {
        // Only for eyes: without it the process works as well.
        let _ = rustix::thread::set_name(&name);
    }
}
