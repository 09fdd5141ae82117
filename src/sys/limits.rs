//! What the kernel lets a process have (`getrlimit(2)`), and the note that it was not enough.
//!
//! Memory is limited by `RLIMIT_DATA`, which since Linux 4.7 counts all private writable memory, touched or
//! not. What a process has when it is limited does not count: a forked one has all that its server had.
//!
//! Nothing tells a process that it is about to end because of memory: the allocator returns null, with
//! `ENOMEM`, and whoever asked for it aborts. So the handler of `SIGABRT` looks whether that is in `errno`
//! still, or whether it is Rust's own complaint that aborts, which may have printed a backtrace in between.
//!
//! # Safety
//!
//! The calls read or store one structure of the caller's. The handler runs in a thread that aborts: it reads
//! `errno`, walks the frames of that thread's stack as a backtrace does, neither of which allocates, and stores
//! to one word of memory that is never unmapped.
#![allow(unsafe_code)]

use std::io;
use std::ptr::{self, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// Processor time, in seconds.
pub(crate) const CPU_TIME: u32 = libc::RLIMIT_CPU;
/// The size of a file, in bytes.
pub(crate) const FILE_SIZE: u32 = libc::RLIMIT_FSIZE;
/// The size of a core dump, in bytes.
pub(crate) const CORE_SIZE: u32 = libc::RLIMIT_CORE;
/// Open descriptors.
pub(crate) const DESCRIPTORS: u32 = libc::RLIMIT_NOFILE;
const DATA: u32 = libc::RLIMIT_DATA;

/// The kinds of limits the kernel has (`RLIMIT_NLIMITS`).
const KINDS: u32 = 16;

/// The soft and the hard limits of this process, by the kernel's numbers.
pub(crate) fn all() -> Vec<(u64, u64)> {
    (0..KINDS).map(get).collect()
}

/// Gives this process, which has the limits `own`, these limits, as far as it may. Descriptors of it beyond a
/// limit stay open.
pub(crate) fn set_all(limits: &[(u64, u64)], own: &[(u64, u64)]) {
    for (kind, (wanted, own)) in (0..KINDS).zip(limits.iter().zip(own)) {
        if wanted != own {
            // Refused only where it was raised by somebody with more rights.
            let _ = set(kind, *wanted);
        }
    }
}

/// Lets this process, which has the limits `own`, have as many open descriptors as it may. Returns what limits it has
/// then.
pub(crate) fn have_all_descriptors(own: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut limits = own.to_vec();
    if let Some(limit) = limits.get_mut(DESCRIPTORS as usize) {
        let most = limit.1;
        if set(DESCRIPTORS, (most, most)).is_ok() {
            limit.0 = most;
        }
    }
    limits
}

/// Gives this process at most so much of `kind`, for good.
pub(crate) fn at_most(kind: u32, amount: u64) -> io::Result<()> {
    let amount = amount.min(get(kind).1);
    set(kind, (amount, amount))
}

/// Lets this process take at most so many bytes of memory beyond what it has.
pub(crate) fn at_most_more_memory(bytes: u64) -> io::Result<()> {
    at_most(DATA, data()?.saturating_add(bytes))
}

/// The private writable memory of this process, in bytes (`VmData`, `proc_pid_status(5)`).
fn data() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes
        .map(|kibibytes| kibibytes * 1024)
        .ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
}

fn get(kind: u32) -> (u64, u64) {
    let mut limit = libc::rlimit64 {
        rlim_cur: libc::RLIM64_INFINITY,
        rlim_max: libc::RLIM64_INFINITY,
    };
    // SAFETY: stores one structure where it is told.
    unsafe { libc::prlimit64(0, kind, ptr::null(), &raw mut limit) };
    (limit.rlim_cur, limit.rlim_max)
}

fn set(kind: u32, (soft, hard): (u64, u64)) -> io::Result<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: reads one structure.
    match unsafe { libc::prlimit64(0, kind, &raw const limit, null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Where the note goes.
static NOTE: AtomicPtr<AtomicU32> = AtomicPtr::new(null_mut());

/// From here on `word` becomes 1 when this process aborts for want of memory.
pub(crate) fn note_want_of_memory(word: &'static AtomicU32) -> io::Result<()> {
    NOTE.store(ptr::from_ref(word).cast_mut(), Ordering::Release);
    // SAFETY: all-zero is an action with no flags and an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_abort as *const () as usize;
    // Once, and then the default: the signal still ends the process.
    action.sa_flags = libc::SA_RESETHAND | libc::SA_ONSTACK;
    // SAFETY: reads one structure, whose handler has the signature that its flags ask for.
    match unsafe { libc::sigaction(libc::SIGABRT, &raw const action, null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

extern "C" fn on_abort(_: libc::c_int) {
    let no_memory = io::Error::last_os_error().raw_os_error() == Some(libc::ENOMEM);
    if !no_memory && !complains() {
        return;
    }
    // SAFETY: null, or from a `&'static`.
    if let Some(word) = unsafe { NOTE.load(Ordering::Acquire).as_ref() } {
        word.store(1, Ordering::Release);
    }
}

// The unwinder that panics use (Itanium C++ ABI: Exception Handling, and libgcc's addition).
unsafe extern "C" {
    fn _Unwind_Backtrace(step: Step, found: *mut libc::c_void) -> libc::c_int;
    fn _Unwind_GetIP(frame: *mut libc::c_void) -> usize;
    fn _Unwind_FindEnclosingFunction(place: *mut libc::c_void) -> *mut libc::c_void;
}

type Step = extern "C" fn(frame: *mut libc::c_void, found: *mut libc::c_void) -> libc::c_int;

/// Whether Rust's complaint about an allocation that failed is among the callers of this.
fn complains() -> bool {
    let mut found = false;
    // SAFETY: the step is given a frame and the address of `found`, and both live as long as the call.
    unsafe { _Unwind_Backtrace(look_at, (&raw mut found).cast()) };
    found
}

extern "C" fn look_at(frame: *mut libc::c_void, found: *mut libc::c_void) -> libc::c_int {
    const GO_ON: libc::c_int = 0;
    const ENOUGH: libc::c_int = 5;
    // SAFETY: a frame that the unwinder has just given.
    let place = unsafe { _Unwind_GetIP(frame) };
    // The call itself, before the place where it would return to.
    let call = ptr::without_provenance_mut(place.saturating_sub(1));
    // SAFETY: looks an address up in tables; it need not be one of code.
    let function = unsafe { _Unwind_FindEnclosingFunction(call) };
    let complaint: fn(std::alloc::Layout) -> ! = std::alloc::handle_alloc_error;
    if function.addr() != complaint as usize {
        return GO_ON;
    }
    // SAFETY: the address of the `bool` that `complains` waits with.
    unsafe { found.cast::<bool>().write(true) };
    ENOUGH
}
