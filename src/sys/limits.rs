//! Resource limits (`getrlimit(2)`), and the report that memory was not enough.
//!
//! Memory is limited by `RLIMIT_DATA`, which counts all private writable memory since Linux 4.7, touched or not. The
//! memory that a process has when the limit is set is added to the limit: a forked process has all the memory of its
//! fork server.
//!
//! The kernel does not tell a process that it ends for want of memory: the allocator returns null with `ENOMEM`, and its
//! caller aborts. So the handler of `SIGABRT` looks for `ENOMEM` in `errno`. It also looks for `handle_alloc_error` among
//! the callers, because that function may have printed a backtrace and so changed `errno`.
//!
//! Walking the stack takes no lock from glibc 2.35 on (`_dl_find_object`). Before, it may wait for the loader's lock, if the
//! thread has aborted inside `dlopen`: then the process ends by its time limit, its abort or its parent.
//!
//! # Safety
//!
//! The calls read or store one structure of the caller's. The handler runs in a thread that aborts: it reads `errno`,
//! walks the frames of that thread's stack as a backtrace does, and stores to one word of memory that is never unmapped.
//! None of this allocates.
#![allow(unsafe_code)]

use std::io;
use std::ptr::{self, null_mut};
use std::sync::{Mutex, PoisonError};

use super::exit_cause;
use super::exit_cause::ExitCause;

/// Processor time, in seconds.
pub(crate) const CPU_TIME: u32 = libc::RLIMIT_CPU;
/// The size of a file, in bytes.
pub(crate) const FILE_SIZE: u32 = libc::RLIMIT_FSIZE;
/// The size of a core dump, in bytes.
pub(crate) const CORE_SIZE: u32 = libc::RLIMIT_CORE;
/// Open descriptors.
pub(crate) const DESCRIPTORS: u32 = libc::RLIMIT_NOFILE;
/// The amount that is no limit.
pub(crate) const UNLIMITED: u64 = libc::RLIM_INFINITY;

const DATA: u32 = libc::RLIMIT_DATA;

/// The number of limits the kernel has (`RLIMIT_NLIMITS`).
const KINDS: u32 = 16;

/// The soft and the hard limits of this process, indexed by the kernel's numbers.
pub(crate) fn all() -> Vec<(u64, u64)> {
    (0..KINDS).map(get).collect()
}

/// Sets the limits of this process, which has the limits `own`, as far as it may. Open descriptors beyond a limit stay
/// open.
pub(crate) fn set_all(limits: &[(u64, u64)], own: &[(u64, u64)]) {
    for (kind, (wanted, own)) in (0..KINDS).zip(limits.iter().zip(own)) {
        if wanted != own {
            // Refused only if a more privileged process has raised the limit.
            let _ = set(kind, *wanted);
        }
    }
}

/// Raises the soft limit of open descriptors to the hard one, in a process with the limits `own`. Returns its limits
/// afterwards.
pub(crate) fn raise_descriptor_limit(own: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut limits = own.to_vec();
    if let Some(limit) = limits.get_mut(DESCRIPTORS as usize) {
        let most = limit.1;
        if set(DESCRIPTORS, (most, most)).is_ok() {
            limit.0 = most;
        }
    }
    limits
}

/// The soft limit `kind` of this process.
pub(crate) fn soft(kind: u32) -> u64 {
    get(kind).0
}

/// Lowers the soft and the hard limit `kind` of this process to `amount`.
pub(crate) fn lower(kind: u32, amount: u64) -> io::Result<()> {
    let amount = amount.min(get(kind).1);
    set(kind, (amount, amount))
}

/// Lowers the soft limit `kind` of this process to `amount`. The hard limit stays.
pub(crate) fn lower_soft(kind: u32, amount: u64) -> io::Result<()> {
    let (_, hard) = get(kind);
    set(kind, (amount.min(hard), hard))
}

/// Held while the limit on the size of files is asked and changed: a thread that restores it must not do so between
/// another thread's question and its call.
static FILE_SIZE_LIMIT: Mutex<()> = Mutex::new(());

/// Calls `grow`, which makes shared memory of `len` bytes.
///
/// The kernel counts a memfd as a file, and ends a process that makes a file beyond its limit by `SIGXFSZ`
/// (`getrlimit(2)`). Shared memory is none to the user. So a soft limit that is too low is lifted during the call. Another
/// thread could write a larger file meanwhile.
///
/// # Errors
///
/// The hard limit is too low, and this process may not raise it.
pub(crate) fn with_file_size<T>(len: usize, grow: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let len = len as u64;
    let _held = FILE_SIZE_LIMIT
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let (soft, hard) = get(FILE_SIZE);
    if len <= soft {
        return grow();
    }
    if set(FILE_SIZE, (len, hard.max(len))).is_err() {
        let why = format!(
            "{len} bytes of shared memory are needed, and the limit on the size of files (`ulimit -f`) is {hard}"
        );
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    let grown = grow();
    // Allowed to every process.
    let _ = set(FILE_SIZE, (soft, hard));
    grown
}

/// Limits the memory of this process to `bytes` beyond the memory it has.
pub(crate) fn limit_memory_growth(bytes: u64) -> io::Result<()> {
    lower(DATA, data()?.saturating_add(bytes))
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

/// Makes an abort of this process for want of memory leave that as its cause.
pub(crate) fn report_out_of_memory() -> io::Result<()> {
    // SAFETY: all-zero is an action with no flags and an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_abort as *const () as usize;
    // The handler runs once and then the default action applies: the signal still ends the process.
    action.sa_flags = libc::SA_RESETHAND | libc::SA_ONSTACK;
    // SAFETY: reads one structure, whose handler has the signature that its flags ask for.
    match unsafe { libc::sigaction(libc::SIGABRT, &raw const action, null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes an abort of this thread later on say nothing about allocations that have failed before. Successful calls leave
/// `errno` as it was (`errno(3)`).
#[inline]
pub(crate) fn forget_failed_allocations() {
    // SAFETY: takes nothing.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: the address of this thread's own `errno`.
    unsafe { errno.write(0) };
}

extern "C" fn on_abort(_: libc::c_int) {
    let no_memory = io::Error::last_os_error().raw_os_error() == Some(libc::ENOMEM);
    if no_memory || is_allocation_error() {
        exit_cause::leave(ExitCause::OutOfMemory);
    }
}

// The unwinder that panics use (Itanium C++ ABI: Exception Handling, and libgcc's addition).
unsafe extern "C" {
    fn _Unwind_Backtrace(step: UnwindStep, found: *mut libc::c_void) -> libc::c_int;
    fn _Unwind_GetIP(frame: *mut libc::c_void) -> usize;
    fn _Unwind_FindEnclosingFunction(place: *mut libc::c_void) -> *mut libc::c_void;
}

type UnwindStep = extern "C" fn(frame: *mut libc::c_void, found: *mut libc::c_void) -> libc::c_int;

/// Whether `handle_alloc_error` is among the callers of this function.
fn is_allocation_error() -> bool {
    let mut found = false;
    // SAFETY: the step gets a frame and the address of `found`; both live as long as the call.
    unsafe { _Unwind_Backtrace(look_at, (&raw mut found).cast()) };
    found
}

extern "C" fn look_at(frame: *mut libc::c_void, found: *mut libc::c_void) -> libc::c_int {
    // `_URC_NO_REASON` and `_URC_END_OF_STACK` of the ABI.
    const NEXT_FRAME: libc::c_int = 0;
    const STOP: libc::c_int = 5;
    // SAFETY: a frame that the unwinder has just given.
    let return_address = unsafe { _Unwind_GetIP(frame) };
    // The call instruction lies before the return address.
    let call = ptr::without_provenance_mut(return_address.saturating_sub(1));
    // SAFETY: looks an address up in tables; any address is allowed.
    let function = unsafe { _Unwind_FindEnclosingFunction(call) };
    let handler: fn(std::alloc::Layout) -> ! = std::alloc::handle_alloc_error;
    if function.addr() != handler as usize {
        return NEXT_FRAME;
    }
    // SAFETY: the address of the `bool` in `is_allocation_error`.
    unsafe { found.cast::<bool>().write(true) };
    STOP
}
