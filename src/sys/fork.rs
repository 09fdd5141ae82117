//! Forking siblings: the primitive of a fork server.
//!
//! `clone3` or `clone` (`clone(2)`) with `CLONE_PARENT` makes the new process a child of the caller's parent, which can
//! wait for it as for any other of its children. With `CLONE_PIDFD` the caller has a descriptor of the new process from
//! the start. The exit signal is the caller's own, `SIGCHLD`: the kernel takes no other with `CLONE_PARENT`.
//!
//! # Safety
//!
//! A raw clone copies one thread and bypasses the C library. In a copy of a process with several threads, a lock could
//! be held by a thread that does not exist, so [`sibling`] checks first that the caller is the only thread. The C
//! library and the kernel share three facts about the main thread: the address where its number is stored, that number,
//! and the list of its robust locks. The kernel is asked for the address and the list. It stores the new number at that
//! address, as for `fork(3)`, and the copy registers the list again. `pthread_atfork` handlers do not run; with one
//! thread they have nothing to protect.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::ptr;
use std::time::{Duration, Instant};

use super::procfs;

/// The two returns of a fork.
#[derive(Debug)]
pub(crate) enum Sibling {
    /// In the caller: the ids of the new process.
    Original { pid: u32, pidfd: OwnedFd },
    /// In the new process.
    Copy,
}

/// How long another thread may take to end, if it is not known whether it does.
const LEAVING: Duration = Duration::from_millis(100);

/// How long a thread may take that is ending, as a joined thread is: the kernel removes it after `join` has returned, and
/// it needs the processor for that. On a machine under load it may wait for it.
const LONGEST_END_OF_THREAD: Duration = Duration::from_secs(10);

/// Whether the calling thread is the only one of this process.
pub(crate) fn is_alone() -> bool {
    let mut begin = None;
    loop {
        match is_alone_now() {
            Ok(true) => return true,
            Ok(false) if begin.get_or_insert_with(Instant::now).elapsed() < patience() => {
                std::thread::sleep(Duration::from_millis(1));
            }
            _ => return false,
        }
    }
}

/// How long the other threads of this process are waited for.
fn patience() -> Duration {
    match procfs::other_threads_are_ending() {
        true => LONGEST_END_OF_THREAD,
        false => LEAVING,
    }
}

fn is_alone_now() -> io::Result<bool> {
    // The directory has two links and one for each thread (`proc_task_getattr` in the kernel's `fs/proc/base.c`).
    if let Ok(found) = rustix::fs::stat("/proc/self/task") {
        return Ok(found.st_nlink == 3);
    }
    // Without `/proc`. With this flag alone the call changes nothing, and fails if there are other threads
    // (`unshare(2)`). It is not used where `/proc` is mounted: a filter may kill the caller.
    // SAFETY: takes an integer and changes nothing.
    match unsafe { libc::unshare(libc::CLONE_THREAD) } {
        0 => Ok(true),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Forks this process, whose only thread is `thread`. The new process is a child of this process's parent.
pub(crate) fn sibling(thread: &MainThread) -> io::Result<Sibling> {
    if !is_alone() {
        return Err(io::Error::other("it has started threads"));
    }
    let mut pidfd: libc::c_int = -1;
    let pid = clone(thread, &mut pidfd);
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            thread.restore();
            Ok(Sibling::Copy)
        }
        pid => Ok(Sibling::Original {
            pid: pid as u32,
            // SAFETY: the call succeeded, so it stored a new descriptor, which has no other owner.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        }),
    }
}

const FLAGS: libc::c_int = libc::CLONE_PARENT | libc::CLONE_PIDFD;
const NUMBER_FLAGS: libc::c_int = libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID;

/// Returns as the system call does, -1 with `errno`. The filters of container runtimes refuse `clone3`, whose flags
/// they cannot inspect, with ENOSYS or EPERM, and allow `clone` with the same flags (moby/moby#42681).
fn clone(thread: &MainThread, pidfd: &mut libc::c_int) -> libc::c_long {
    let pid = clone3(thread, pidfd);
    let refused = matches!(
        io::Error::last_os_error().raw_os_error(),
        Some(libc::ENOSYS | libc::EPERM)
    );
    match pid {
        -1 if refused => clone_by_registers(thread, pidfd),
        pid => pid,
    }
}

fn clone3(thread: &MainThread, pidfd: &mut libc::c_int) -> libc::c_long {
    // SAFETY: zero is the documented default of every field.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = FLAGS as u64;
    arguments.pidfd = ptr::from_mut(pidfd) as u64;
    if let Some(number) = thread.number {
        arguments.flags |= NUMBER_FLAGS as u64;
        arguments.child_tid = number;
    }
    // SAFETY: the structure lives until the call returns and its size is given. The copy shares no memory and continues
    // here on its own copy of this stack. There is no other thread that could hold a lock. `child_tid` is the address
    // that the kernel itself reported.
    unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw mut arguments,
            size_of::<libc::clone_args>(),
        )
    }
}

/// The older `clone(2)` with the same flags. It stores the pidfd where it would store the number for the parent.
fn clone_by_registers(thread: &MainThread, pidfd: &mut libc::c_int) -> libc::c_long {
    let flags = match thread.number {
        Some(_) => FLAGS | NUMBER_FLAGS,
        None => FLAGS,
    } as libc::c_ulong;
    let pidfd = ptr::from_mut(pidfd);
    let (no_stack, no_tls) = (0_usize, 0_usize);
    let number = thread.number.unwrap_or(0);
    // The last two arguments are in the opposite order on the two architectures (`clone(2)`, "C library/kernel
    // differences").
    let (fourth, fifth) = match cfg!(target_arch = "x86_64") {
        true => (number, no_tls as u64),
        false => (no_tls as u64, number),
    };
    // SAFETY: as in `clone3`: no memory is shared, the stack is the copy's own, and no other thread exists.
    unsafe { libc::syscall(libc::SYS_clone, flags, no_stack, pidfd, fourth, fifth) }
}

/// The facts about the main thread that the kernel keeps for the C library. They never change.
#[derive(Debug)]
pub(crate) struct MainThread {
    /// Where the C library has the thread's number. `None` on a kernel without `CONFIG_CHECKPOINT_RESTORE`: copies then
    /// keep the fork server's number there. Nothing of this crate reads it. A robust mutex of the C library that user
    /// code holds when the copy dies is not marked as the copy's, and `raise` of a C library before glibc 2.34 fails in
    /// it.
    number: Option<u64>,
    /// Its address and its length.
    robust_list: Option<(usize, usize)>,
}

impl MainThread {
    /// Asks the kernel about the calling thread, which is the main one.
    pub(crate) fn ask() -> Self {
        let mut number: u64 = 0;
        // SAFETY: stores one address at the given place (`PR_GET_TID_ADDRESS(2const)`).
        let asked = unsafe { libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut number) };
        let number = (asked == 0 && number != 0).then_some(number);
        let mut head = MaybeUninit::<*mut libc::c_void>::zeroed();
        let mut len = 0_usize;
        // SAFETY: stores an address and a length at the given places (`get_robust_list(2)`).
        let asked = unsafe {
            libc::syscall(
                libc::SYS_get_robust_list,
                0,
                head.as_mut_ptr(),
                &raw mut len,
            )
        };
        // SAFETY: zero is a valid pointer value, if the call stored nothing.
        let head = unsafe { head.assume_init() };
        let robust_list = (asked == 0 && !head.is_null()).then_some((head.addr(), len));
        Self {
            number,
            robust_list,
        }
    }

    /// In the copy: registers the robust list, which the kernel does not copy.
    fn restore(&self) {
        if let Some((head, len)) = self.robust_list {
            // SAFETY: the list that the C library registered for this thread, at the same address in the copied memory,
            // and its length.
            unsafe { libc::syscall(libc::SYS_set_robust_list, head, len) };
        }
    }
}

/// The smallest mapping that gets huge pages, in bytes. Copying the page tables of a smaller mapping costs less than a
/// tenth of a fork.
const LARGE: usize = 16 << 20;

/// Asks for huge pages behind all large private memory of this process, so that a fork copies few page tables: 20 times
/// faster per gibibyte. A kernel before 6.1 refuses the second advice, without effect.
pub(crate) fn gather_pages() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (base, len) in maps.lines().filter_map(large_private) {
        // SAFETY: advice about memory of this process; `MADV_HUGEPAGE` changes no content.
        unsafe { libc::madvise(base as *mut libc::c_void, len, libc::MADV_HUGEPAGE) };
        // SAFETY: likewise; `MADV_COLLAPSE` (`madvise(2)`) moves content to huge pages at the same addresses.
        unsafe { libc::madvise(base as *mut libc::c_void, len, libc::MADV_COLLAPSE) };
    }
}

/// The base and the length of a line of `/proc/self/maps` (`proc_pid_maps(5)`) that is anonymous, private,
/// writable and large.
fn large_private(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (from, to) = fields.next()?.split_once('-')?;
    let rights = fields.next()?;
    let inode = fields.nth(2)?;
    let from = usize::from_str_radix(from, 16).ok()?;
    let len = usize::from_str_radix(to, 16).ok()?.checked_sub(from)?;
    (rights.starts_with("rw") && rights.ends_with('p') && inode == "0" && len >= LARGE)
        .then_some((from, len))
}

/// Exits at once, without `atexit` handlers and destructors.
pub(crate) fn quit(code: i32) -> ! {
    // SAFETY: ends the process; nothing follows.
    unsafe { libc::_exit(code) }
}

/// Flushes the streams of the C library, so that no copy of this process writes their content again.
pub(crate) fn flush_c_streams() {
    // SAFETY: null means all streams of this process.
    unsafe { libc::fflush(ptr::null_mut()) };
}

/// Sets and removes variables of this process's environment.
pub(crate) fn change_environment<'a>(
    changes: impl Iterator<Item = (&'a std::ffi::OsStr, Option<&'a std::ffi::OsStr>)>,
) {
    for (key, value) in changes {
        match value {
            // SAFETY: called in a new copy of a process that had one thread. If the copy has started another thread,
            // that thread belongs to this crate, waits for its first task, and reads no variable before.
            Some(value) => unsafe { std::env::set_var(key, value) },
            // SAFETY: likewise.
            None => unsafe { std::env::remove_var(key) },
        }
    }
}
