//! What a thread may do, as far as the kernel tells. A child inherits the rights of the process that forks it.
//!
//! The rights are read at each start of a child, so the calls are cheap: two microseconds, and six more for a process
//! that could change its namespaces.

use std::ffi::CString;

use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::thread::{CapabilitySet, CapabilitySets, SecureComputingMode};

/// The rights of a thread (`credentials(7)`, `capabilities(7)`, `namespaces(7)`, `chroot(2)`, `seccomp(2)`).
///
/// Landlock's rules (`landlock(7)`) cannot be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rights {
    users: (u32, u32),
    groups: (u32, u32),
    more_groups: Vec<u32>,
    capabilities: Option<CapabilitySets>,
    no_new: bool,
    root: Option<Root>,
    namespaces: Option<[Option<CString>; 2]>,
    filters: Option<String>,
}

/// The root directory: device, inode and mount.
type Root = ((u32, u32), u64, u64);

/// The namespaces that take access away, beside the mount namespace, which the mount of the root tells.
const NAMESPACES: [&str; 2] = [
    "/proc/thread-self/ns/net",
    "/proc/thread-self/ns/pid_for_children",
];

impl Rights {
    /// The rights of the calling thread.
    pub(crate) fn now() -> Self {
        use rustix::process::{getegid, geteuid, getgid, getgroups, getuid};
        let more = getgroups().unwrap_or_default();
        let capabilities = rustix::thread::capabilities(None).ok();
        Self {
            users: (getuid().as_raw(), geteuid().as_raw()),
            groups: (getgid().as_raw(), getegid().as_raw()),
            more_groups: more.iter().map(|group| group.as_raw()).collect(),
            capabilities,
            no_new: rustix::thread::no_new_privs().unwrap_or(false),
            root: root(),
            namespaces: can_change_namespaces(capabilities).then(namespaces),
            filters: filters(),
        }
    }
}

fn root() -> Option<Root> {
    let wanted = StatxFlags::INO | StatxFlags::MNT_ID;
    let found = rustix::fs::statx(CWD, "/", AtFlags::empty(), wanted).ok()?;
    let device = (found.stx_dev_major, found.stx_dev_minor);
    Some((device, found.stx_ino, found.stx_mnt_id))
}

/// Whether a process of these capabilities can enter other namespaces. A process that changed its namespaces and then
/// gave the capability up differs in its capabilities. A user namespace cannot be changed by a process with several
/// threads (`unshare(2)`).
fn can_change_namespaces(capabilities: Option<CapabilitySets>) -> bool {
    capabilities.is_none_or(|own| own.permitted.contains(CapabilitySet::SYS_ADMIN))
}

fn namespaces() -> [Option<CString>; 2] {
    NAMESPACES.map(|link| rustix::fs::readlink(link, Vec::new()).ok())
}

/// The lines about filters of system calls; `None` without a filter. Read only where there is one: this takes twenty
/// microseconds.
fn filters() -> Option<String> {
    match rustix::thread::secure_computing_mode() {
        Ok(SecureComputingMode::Filter) => {
            let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
            let lines = status.lines().filter(|line| line.starts_with("Seccomp"));
            Some(lines.collect())
        }
        _ => None,
    }
}
