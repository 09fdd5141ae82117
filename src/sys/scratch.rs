//! Directories of workers, and how they are removed.
//!
//! A directory is removed by the first that can, because a process that is killed removes nothing:
//! 1. the worker, when it leaves in an orderly way;
//! 2. the application, when it sees the worker's end ([`remove`]);
//! 3. when the application has ended: its fork server, once the workers have ended too ([`remove_all_of`]). Where there
//!    is none, a worker that sees the end has `rm` do it ([`remove_from_outside`]);
//! 4. the next worker of any application that makes a directory ([`sweep`]), if all of these were killed at once.
//!
//! A worker holds a lock on its directory (`flock(2)`), which the kernel releases when the worker has ended, however it
//! did. So a directory whose lock is free belongs to no process, also if processes of other PID namespaces share the
//! directory for temporary files.
//!
//! The application chooses the names. They begin with its pid, and no other process can guess them. It deletes nothing
//! that a worker has named.

use std::fs;
use std::fs::{DirBuilder, File, Metadata};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

/// How all names begin.
const PREFIX: &str = "procession-scratch-";

/// A directory that is younger may not be locked yet.
const LEAST_AGE: Duration = Duration::from_secs(10);

/// How long a fork server waits for the end of the workers whose directories it removes, and how often it looks.
const LONGEST_WAIT_FOR_END: Duration = Duration::from_secs(5);
const SCRATCH_CHECK_PAUSE: Duration = Duration::from_millis(10);

/// The path of the directory of worker number `serial` of the pool `pool`. It is the same at each call in one process.
pub(crate) fn path(pool: u64, serial: u64) -> PathBuf {
    static KEYS: OnceLock<RandomState> = OnceLock::new();
    let key = KEYS.get_or_init(RandomState::new).hash_one((pool, serial));
    let name = format!("{PREFIX}{}-{key:016x}", std::process::id());
    std::env::temp_dir().join(name)
}

/// Makes the directory, which no other user can enter, and locks it for as long as the returned file is open.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    DirBuilder::new().mode(0o700).create(path)?;
    let directory = File::open(path)?;
    flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
    Ok(directory)
}

/// Removes the directory with all that is in it, if there is one. Follows no symbolic link.
pub(crate) fn remove(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|it| it.is_dir()) {
        // What cannot be removed now is removed by a later sweep.
        let _ = fs::remove_dir_all(path);
    }
}

/// Has another program remove the directory, because this process must end at once.
///
/// The directory has another name then: a task that still writes into it by its path would make it not empty again.
pub(crate) fn remove_from_outside(path: &Path) {
    let gone = path.with_extension("gone");
    let found_at = match fs::rename(path, &gone) {
        Ok(()) => &gone,
        Err(_) => path,
    };
    let mut rm = Command::new("rm");
    rm.arg("-rf").arg("--").arg(found_at).process_group(0);
    rm.stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // Without it, a later sweep removes the directory.
    let _ = rm.spawn();
}

/// Removes the directories of all workers of the application `pid`, which has ended, when the workers have ended too.
pub(crate) fn remove_all_of(pid: u32) {
    let prefix = format!("{PREFIX}{pid}-");
    let began = Instant::now();
    loop {
        let left = own_directories(&prefix);
        if left.iter().all(|path| remove_unlocked(path)) || began.elapsed() > LONGEST_WAIT_FOR_END {
            return;
        }
        thread::sleep(SCRATCH_CHECK_PAUSE);
    }
}

/// Removes directories that other applications have left.
pub(crate) fn sweep() {
    for path in own_directories(PREFIX) {
        let metadata = fs::symlink_metadata(&path).ok();
        let age = metadata.and_then(|it| it.modified().ok()?.elapsed().ok());
        if age.is_some_and(|age| age > LEAST_AGE) {
            remove_unlocked(&path);
        }
    }
}

/// Removes a directory that no process has locked. False if one has.
fn remove_unlocked(path: &Path) -> bool {
    let Ok(directory) = File::open(path) else {
        return true; // it is gone, or not ours
    };
    let is_free = flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok();
    if is_free {
        remove(path);
    }
    is_free
}

/// The directories of this user whose names begin so.
fn own_directories(prefix: &str) -> Vec<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let is_own = |it: Metadata| it.is_dir() && it.uid() == user;
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten();
    let named = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let is_ours = entry.file_name().to_str()?.starts_with(prefix);
        // Of the entry itself, not of what a symbolic link leads to.
        (is_ours && entry.metadata().is_ok_and(is_own)).then(|| entry.path())
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_is_private_and_removed_when_its_lock_is_free() {
        let path = path(u64::MAX, 1);
        let lock = create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        assert!(create(&path).is_err());
        fs::create_dir(path.join("inside")).unwrap();
        fs::write(path.join("inside/file"), "text").unwrap();
        assert!(!remove_unlocked(&path) && path.exists());
        drop(lock);
        assert!(remove_unlocked(&path) && !path.exists());
    }

    #[test]
    fn link_in_the_place_of_a_directory_leads_nowhere() {
        let target = path(u64::MAX, 2);
        let lock = create(&target).unwrap();
        fs::write(target.join("kept"), "text").unwrap();
        let link = path(u64::MAX, 3);
        std::os::unix::fs::symlink(&target, &link).unwrap();
        remove(&link);
        assert!(target.join("kept").exists() && create(&link).is_err());
        fs::remove_file(&link).unwrap();
        drop(lock);
        remove(&target);
        assert!(!target.exists());
    }
}
