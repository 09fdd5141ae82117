//! What `ps` shows as the command line of a process.
//!
//! The kernel is told of another place where the command line is (`PR_SET_MM_MAP`, `PR_SET_MM(2const)`). The
//! old one is not written to, as is customary: `std::env::args()` still points there. A kernel that does not
//! know the call (one without `CONFIG_CHECKPOINT_RESTORE`) shows the old one.
//!
//! # Safety
//!
//! The kernel only takes note of the addresses, for others to look at; `brk` alone is used by itself, and stays
//! what it is. The title is never freed.
#![allow(unsafe_code)]

use std::sync::OnceLock;

/// Of `<linux/prctl.h>`; the `libc` crate does not have it.
const PR_SET_MM_MAP: libc::c_ulong = 14;

/// The kernel's notes on where the parts of a process's memory are (`struct prctl_mm_map`).
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Map {
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

/// What they were at first. A forked child has what its server had.
static FIRST: OnceLock<Option<Map>> = OnceLock::new();

/// Finds out what takes a moment, before it is copied.
pub(crate) fn prepare() {
    FIRST.get_or_init(read);
}

/// Shows `title` as the command line of this process.
pub(crate) fn set_title(title: &str) {
    let Some(first) = FIRST.get_or_init(read) else {
        return;
    };
    let mut bytes: Vec<u8> = title.bytes().filter(|byte| *byte != 0).collect();
    bytes.push(0);
    let bytes: &'static [u8] = Box::leak(bytes.into_boxed_slice());
    let start = bytes.as_ptr().addr() as u64;
    // SAFETY: no increment asks where the break is.
    let brk = unsafe { libc::sbrk(0) };
    let map = Map {
        brk: brk.addr() as u64,
        arg_start: start,
        arg_end: start + bytes.len() as u64,
        ..*first
    };
    // Only for eyes: where it is refused, the process works as well.
    // SAFETY: reads one structure of the size that is given with it.
    unsafe {
        libc::prctl(
            libc::PR_SET_MM,
            PR_SET_MM_MAP,
            &raw const map,
            size_of::<Map>(),
            0,
        )
    };
}

/// From `/proc/self/stat` (`proc_pid_stat(5)`), whose fields are numbered from 1.
fn read() -> Option<Map> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field may hold anything, parentheses too; what follows the last one may not.
    let (_, tail) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse().ok();
    Some(Map {
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
