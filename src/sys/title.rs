//! The title of a process: the command line that `ps` shows (`setproctitle(3)`).
//!
//! The kernel gets a new address of the command line (`PR_SET_MM_MAP`, `PR_SET_MM(2const)`). The old command line is
//! not overwritten: `std::env::args()` still points there. A kernel without `CONFIG_CHECKPOINT_RESTORE` does not know
//! the call and shows the old command line.
//!
//! # Safety
//!
//! The kernel stores the addresses for readers of `/proc`. It uses only `brk` itself, which keeps its value. The title
//! is never freed.
#![allow(unsafe_code)]

use std::sync::{Mutex, OnceLock, PoisonError};

/// From `<linux/prctl.h>`; the `libc` crate does not have it.
const PR_SET_MM_MAP: libc::c_ulong = 14;

/// The addresses of the parts of a process's memory (`struct prctl_mm_map`).
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct MemoryMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

/// The addresses at the start. A forked child has those of its fork server.
static FIRST: OnceLock<Option<MemoryMap>> = OnceLock::new();

/// Reads `/proc/self/stat` in a fork server, so that its children need not.
pub(crate) fn prepare() {
    FIRST.get_or_init(read);
}

/// The start of the title of a detached process. The search for the descendants of its parent skips such processes.
pub(crate) const DETACHED: &str = "procession: detached: ";

/// A title, and the one before it. None is freed: where a new one is refused, the kernel reads an earlier one, and a
/// fork that frees memory copies pages.
#[derive(Debug)]
struct KeptTitle {
    bytes: Vec<u8>,
    _earlier: Option<Box<Self>>,
}

/// All titles of this process, for as long as it lives.
static TITLES: Mutex<Option<Box<KeptTitle>>> = Mutex::new(None);

/// Keeps a title. Returns its address and its length.
fn keep(bytes: Vec<u8>) -> (u64, u64) {
    let mut titles = TITLES.lock().unwrap_or_else(PoisonError::into_inner);
    let _earlier = titles.take();
    let title = titles.insert(Box::new(KeptTitle { bytes, _earlier }));
    (title.bytes.as_ptr().addr() as u64, title.bytes.len() as u64)
}

/// Shows `title` as the command line of this process.
pub(crate) fn set_title(title: &str) {
    let Some(first) = FIRST.get_or_init(read) else {
        return;
    };
    let mut bytes: Vec<u8> = title.bytes().filter(|byte| *byte != 0).collect();
    bytes.push(0);
    let (start, len) = keep(bytes);
    // SAFETY: no increment asks where the break is.
    let brk = unsafe { libc::sbrk(0) };
    let map = MemoryMap {
        brk: brk.addr() as u64,
        arg_start: start,
        arg_end: start + len,
        ..*first
    };
    // The title is for display only: an error has no effect on the process. SAFETY: reads one structure of the given
    // size.
    unsafe {
        libc::prctl(
            libc::PR_SET_MM,
            PR_SET_MM_MAP,
            &raw const map,
            size_of::<MemoryMap>(),
            0,
        )
    };
}

/// Parses `/proc/self/stat` (`proc_pid_stat(5)`), whose fields are numbered from 1.
fn read() -> Option<MemoryMap> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field may contain parentheses. No field after it does.
    let (_, tail) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse().ok();
    Some(MemoryMap {
        start_code: field(26)?,
        end_code: field(27)?,
        start_data: field(45)?,
        end_data: field(46)?,
        start_brk: field(47)?,
        brk: 0,
        start_stack: field(28)?,
        arg_start: field(48)?,
        arg_end: field(49)?,
        env_start: field(50)?,
        env_end: field(51)?,
        auxv: 0,
        auxv_size: 0,
        exe_fd: u32::MAX,
    })
}
