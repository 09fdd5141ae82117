//! Forking children that are the parent's: what a fork server is made of.
//!
//! `clone3` (`clone(2)`) with `CLONE_PARENT` makes the new process a child of the caller's parent, which
//! can then wait for it as for any other of its children, and with `CLONE_PIDFD` there is a descriptor
//! for it from the first moment on. The exit signal is the caller's own, which is `SIGCHLD`: the kernel
//! takes no other with `CLONE_PARENT`.
//!
//! # Safety
//!
//! A raw clone copies one thread and knows nothing of the C library. Copying a process that has one
//! thread leaves no lock held by anybody who is not there, so [`sibling`] makes sure of that first. The C
//! library keeps three things about its main thread in the kernel or from it: where the thread's number
//! is stored, that number, and the list of its robust locks. The kernel is asked for the first and the
//! third, stores the new number where the old one was, as `fork(3)` has it do, and is told the list again.
//! `pthread_atfork` handlers are not run; with one thread they have nothing to protect.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

/// What a process is after it was copied.
#[derive(Debug)]
pub(crate) enum Sibling {
    /// The one that was copied; the copy is a child of its parent.
    Original { pid: u32, pidfd: OwnedFd },
    /// The copy.
    Copy,
}

/// A thread that was joined is still there for a moment, in the kernel.
const LEAVING: Duration = Duration::from_millis(100);

/// Whether the calling thread is the only one of this process.
pub(crate) fn is_alone() -> bool {
    let mut begin = None;
    loop {
        match is_alone_now() {
            Ok(true) => return true,
            Ok(false) if begin.get_or_insert_with(Instant::now).elapsed() < LEAVING => {
                std::thread::sleep(Duration::from_millis(1));
            }
            _ => return false,
        }
    }
}

fn is_alone_now() -> io::Result<bool> {
    // Changes nothing, and is an error where there are others (`unshare(2)`): one short call.
    // SAFETY: an integer; where the call is known, it does nothing.
    if unsafe { libc::unshare(libc::CLONE_THREAD) } == 0 {
        return Ok(true);
    }
    // Or somebody forbids that call altogether. One link per thread beside the three of any directory there
    // (`proc_task_getattr` in the kernel's `fs/proc/base.c`).
    let found = rustix::fs::stat("/proc/self/task")?;
    Ok(found.st_nlink == 3)
}

/// Copies this process, which has one thread, `thread`; the copy is a child of its parent.
pub(crate) fn sibling(thread: &MainThread) -> io::Result<Sibling> {
    if !is_alone() {
        return Err(io::Error::other("it has started threads"));
    }
    let mut pidfd: libc::c_int = -1;
    // SAFETY: all-zero is the documented "nothing asked for" of every field.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = (libc::CLONE_PARENT | libc::CLONE_PIDFD) as u64;
    arguments.pidfd = (&raw mut pidfd) as u64;
    if let Some(number) = thread.number {
        arguments.flags |= (libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID) as u64;
        arguments.child_tid = number;
    }
    // SAFETY: the structure lives until the call returns and its size is given. No memory is shared
    // with the copy, which goes on here on its own copy of this stack. There is no other thread whose
    // locks it could miss. `child_tid` is where the kernel itself says the number belongs.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw mut arguments,
            size_of::<libc::clone_args>(),
        )
    };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            thread.restore();
            Ok(Sibling::Copy)
        }
        pid => Ok(Sibling::Original {
            pid: pid as u32,
            // SAFETY: the call succeeded, so it stored a new descriptor that is nobody else's.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        }),
    }
}

/// What the kernel knows about the main thread on behalf of the C library. It stays the same.
#[derive(Debug)]
pub(crate) struct MainThread {
    number: Option<u64>,
    robust_list: Option<(*mut libc::c_void, usize)>,
}

impl MainThread {
    /// Asks the kernel about the calling thread, which is the main one.
    pub(crate) fn ask() -> Self {
        let mut number: u64 = 0;
        // SAFETY: stores one address where it is told (`PR_GET_TID_ADDRESS(2const)`).
        let asked = unsafe { libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut number) };
        let number = (asked == 0 && number != 0).then_some(number);
        let mut head = MaybeUninit::<*mut libc::c_void>::zeroed();
        let mut len = 0_usize;
        // SAFETY: stores an address and a length where it is told (`get_robust_list(2)`).
        let asked = unsafe {
            libc::syscall(
                libc::SYS_get_robust_list,
                0,
                head.as_mut_ptr(),
                &raw mut len,
            )
        };
        // SAFETY: zero was there before, so there is a value in any case.
        let head = unsafe { head.assume_init() };
        let robust_list = (asked == 0 && !head.is_null()).then_some((head, len));
        Self {
            number,
            robust_list,
        }
    }

    /// In the copy: tells the kernel again what it does not copy.
    fn restore(&self) {
        if let Some((head, len)) = self.robust_list {
            // SAFETY: the list the C library registered for this thread, at the same address in the
            // copied memory, and its own length.
            unsafe { libc::syscall(libc::SYS_set_robust_list, head, len) };
        }
    }
}

/// Mappings from this size on are worth being made of huge pages, in bytes: below, copying their page
/// tables costs less than a tenth of a fork.
const LARGE: usize = 16 << 20;

/// Asks for huge pages behind all large private memory of this process, so that copying it copies few
/// page tables: 20 times faster per gibibyte. Where the kernel cannot (before 6.1), nothing happens.
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

/// Ends this process as it stands, without what the program has arranged for its end.
pub(crate) fn quit(code: i32) -> ! {
    // SAFETY: ends the process; nothing follows.
    unsafe { libc::_exit(code) }
}

/// Writes out what C code has printed, so that no copy of this process writes it once more.
pub(crate) fn flush_c_streams() {
    // SAFETY: null means all streams of this process.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

/// Sets and removes variables of this process's environment.
pub(crate) fn change_environment<'a>(
    changes: impl Iterator<Item = (&'a std::ffi::OsStr, Option<&'a std::ffi::OsStr>)>,
) {
    for (key, value) in changes {
        match value {
            // SAFETY: called in a new copy of a process that had one thread. If it has started another by now, that is
            // one of this crate's own, which waits for its first work and looks at no variable before.
            Some(value) => unsafe { std::env::set_var(key, value) },
            // SAFETY: likewise.
            None => unsafe { std::env::remove_var(key) },
        }
    }
}
