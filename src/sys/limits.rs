//! Resource limits (`getrlimit(2)`).
//!
//! Memory is limited by `RLIMIT_DATA`, which counts all private writable memory since Linux 4.7, touched or not. The
//! memory that a process has when the limit is set is added to the limit: a forked process has all the memory of its
//! fork server.
//!
//! # Safety
//!
//! The calls read or store one structure of the caller's.
#![allow(unsafe_code)]

use std::io;
use std::ptr::{self, null_mut};
use std::sync::{Mutex, PoisonError};

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
/// (`getrlimit(2)`). Shared memory is none to the user. So a soft limit that is too low is lifted during the call.
/// Another thread could write a larger file meanwhile.
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
