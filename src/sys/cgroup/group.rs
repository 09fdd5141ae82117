//! One group: its directory and the lock on it.
//!
//! Runs in the application, and in its fork server when the application has ended.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};

use super::own_group;
use crate::sys::process_mark::LocalFd;

/// How all names begin. The pid of the application and a number follow.
const GROUP_PREFIX: &str = "procession-";

/// How long the processes of a killed group may take to end. A process that waits for a device may take longer.
const LONGEST_END_OF_GROUP: Duration = Duration::from_secs(1);

/// How long a fork server waits for groups whose application is ending, and how often it looks.
const LONGEST_WAIT_FOR_APPLICATION: Duration = Duration::from_secs(2);
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(10);

/// A group that this process has locked.
#[derive(Debug)]
pub(super) struct Group {
    path: PathBuf,
    directory: LocalFd,
}

impl Group {
    /// Makes a group below `parent`. No other one has its `number`.
    pub(super) fn create(parent: &Path, number: u64) -> io::Result<Self> {
        let path = parent.join(format!("{GROUP_PREFIX}{}-{number}", std::process::id()));
        fs::create_dir(&path)?;
        Self::lock(path.clone()).inspect_err(|_| {
            let _ = fs::remove_dir(&path);
        })
    }

    /// Takes a group whose application has ended.
    fn lock(path: PathBuf) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&path, flags, Mode::empty())?;
        flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
        let directory = LocalFd::new(directory);
        Ok(Self { path, directory })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a process in it, or in a group below.
    pub(super) fn has_processes(&self) -> bool {
        let events = fs::read_to_string(self.path.join("cgroup.events"));
        events.is_ok_and(|it| is_populated(&it))
    }

    /// Kills all processes in it and below.
    pub(super) fn kill(&self) -> io::Result<()> {
        // By the directory and not by its path: that could be another group's.
        let kill = self.open("cgroup.kill", OFlags::WRONLY)?;
        rustix::io::write(kill, b"1")?;
        Ok(())
    }

    /// Kills all processes in it, waits for their ends, and removes it. Gives up if the ends take too long.
    pub(super) fn end(&self) -> io::Result<()> {
        self.kill()?;
        self.wait_until_empty();
        remove(&self.path)
    }

    fn wait_until_empty(&self) {
        let Ok(events) = self.open("cgroup.events", OFlags::RDONLY) else {
            return;
        };
        let deadline = Instant::now() + LONGEST_END_OF_GROUP;
        let mut text = [0; 256];
        loop {
            let len = rustix::io::pread(&events, &mut text, 0).unwrap_or(0);
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !is_populated(&String::from_utf8_lossy(&text[..len])) {
                return;
            }
            // The kernel reports a change since the last read so.
            let mut watched = [PollFd::new(&events, PollFlags::PRI)];
            let limit = Timespec::try_from(left).ok();
            let _ = rustix::event::poll(&mut watched, limit.as_ref());
        }
    }

    fn open(&self, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        Ok(openat(self.directory.as_fd(), name, flags, Mode::empty())?)
    }
}

/// Removes a group without processes, and the groups below it.
fn remove(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)?.flatten() {
        if entry.file_type().is_ok_and(|it| it.is_dir()) {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}

/// Whether `cgroup.events` says that there are processes.
fn is_populated(events: &str) -> bool {
    events.lines().any(|line| line == "populated 1")
}

/// Ends the groups of the application `pid`, which has closed its connection. It may have ended, or it is ending, or it
/// has given up its fork server: then its groups are its own.
pub(crate) fn end_all_of(pid: u32) {
    let Ok(own) = own_group::directory() else {
        return;
    };
    let began = Instant::now();
    loop {
        let mut left = named(&own).filter(|(of, _)| *of == pid).peekable();
        if left.peek().is_none() {
            return;
        }
        for (_, path) in left {
            let _ = Group::lock(path).and_then(|it| it.end());
        }
        if began.elapsed() > LONGEST_WAIT_FOR_APPLICATION {
            return;
        }
        thread::sleep(BETWEEN_ATTEMPTS);
    }
}

/// Ends the groups below `parent` of applications that have ended.
pub(super) fn sweep(parent: &Path) {
    let own = std::process::id();
    for (pid, path) in named(parent) {
        // A group is not locked in the moment in which it is made. This process makes none yet.
        if pid == own || !Path::new(&format!("/proc/{pid}")).exists() {
            let _ = Group::lock(path).and_then(|it| it.end());
        }
    }
}

/// The groups below `parent` that have the names of this crate, with the pid in the name.
fn named(parent: &Path) -> impl Iterator<Item = (u32, PathBuf)> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid = owner(entry.file_name().to_str()?)?;
        Some((pid, entry.path()))
    })
}

/// The pid in the name of a group; `None` if the name is none of this crate's.
pub(super) fn owner(name: &str) -> Option<u32> {
    let (pid, number) = name.strip_prefix(GROUP_PREFIX)?.split_once('-')?;
    number.parse::<u64>().ok()?;
    pid.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_whose_group_it_is() {
        assert_eq!(owner("procession-12-3"), Some(12));
        for other in [
            "procession-12",
            "procession-a-3",
            "procession-12-x",
            "init.scope",
        ] {
            assert_eq!(owner(other), None);
        }
    }

    #[test]
    fn population_is_read_from_the_kernels_file() {
        assert!(is_populated("populated 1\nfrozen 0\n"));
        assert!(!is_populated("populated 0\nfrozen 1\n"));
        assert!(!is_populated(""));
    }
}
