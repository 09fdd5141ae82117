//! The program that this process runs, and the rights that its file gives.
//!
//! # Safety
//!
//! The callback of `dl_iterate_phdr(3)` reads what the C library passes to it, and only while it is called. The other
//! calls take integers.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::process::{getegid, geteuid};

/// The program's file, whatever has become of the file that was executed.
const EXECUTED: &str = "/proc/self/exe";

/// By which path this program can be executed again.
///
/// This is `/proc/self/exe`, except where the dynamic linker was executed with the program as its argument.
pub(crate) fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let by_linker = was_started_by_linker().then(path_of_this_code).flatten();
        by_linker.unwrap_or_else(|| EXECUTED.into())
    })
}

/// Whether the program is an argument of the dynamic linker (`ld.so(8)`). Then the kernel has loaded no other linker
/// for it (`AT_BASE`, `getauxval(3)`), though the program asks for one.
pub(crate) fn was_started_by_linker() -> bool {
    // SAFETY: takes an integer.
    let linker = unsafe { libc::getauxval(libc::AT_BASE) };
    linker == 0 && Found::inspect().asks_for_linker
}

/// The path from which this code was mapped (`proc_pid_maps(5)`).
fn path_of_this_code() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let here = address_of_this_code();
    maps.lines().find_map(|line| {
        let (from, rest) = line.split_once('-')?;
        let (to, _) = rest.split_once(' ')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        let contains = (number(from)?..number(to)?).contains(&here);
        // No field before the path contains a slash.
        let path = &line[line.find('/')?..];
        contains.then(|| path.into())
    })
}

fn address_of_this_code() -> u64 {
    contains_this_crate as fn() -> bool as usize as u64
}

/// Whether this crate is part of the program, and not of a shared library that a program has loaded.
pub(crate) fn contains_this_crate() -> bool {
    Found::inspect().contains_this_crate
}

/// What the program's headers say.
#[derive(Debug, Default)]
struct Found {
    contains_this_crate: bool,
    asks_for_linker: bool,
}

impl Found {
    fn inspect() -> Self {
        let mut found = Self::default();
        // SAFETY: calls `inspect_first` with the given pointer, before it returns.
        unsafe { libc::dl_iterate_phdr(Some(inspect_first), (&raw mut found).cast()) };
        found
    }
}

/// Inspects the first object, which is the program (`dl_iterate_phdr(3)`).
unsafe extern "C" fn inspect_first(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    found: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the C library's description of an object, valid during this call.
    let info = unsafe { &*info };
    if !info.dlpi_phdr.is_null() {
        // SAFETY: as many headers as the description says.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
        let offset = address_of_this_code().wrapping_sub(info.dlpi_addr);
        let contains = |header: &libc::Elf64_Phdr| {
            header.p_type == libc::PT_LOAD && offset.wrapping_sub(header.p_vaddr) < header.p_memsz
        };
        // SAFETY: the pointer that `Found::inspect` passed; it does not use the value during the call.
        let found = unsafe { &mut *found.cast::<Found>() };
        found.contains_this_crate = headers.iter().any(contains);
        found.asks_for_linker = headers.iter().any(|it| it.p_type == libc::PT_INTERP);
    }
    1
}

/// Whether this process was executed with rights that the caller of `execve` lacked, as by a set-user-ID program
/// (`AT_SECURE`, `getauxval(3)`). What the caller has set must not be believed.
pub(crate) fn has_gained_rights() -> bool {
    // SAFETY: takes an integer.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Whether the process that made `socket` had the rights of this process then (`SO_PEERCRED`, `unix(7)`).
pub(crate) fn shares_rights_with_peer(socket: impl AsFd) -> bool {
    let Ok(peer) = rustix::net::sockopt::socket_peercred(socket) else {
        return false;
    };
    let is_same_user = peer.uid == geteuid() && peer.gid == getegid();
    // A file gives capabilities without changing the user.
    let has_capabilities = || match rustix::thread::capabilities(None) {
        Ok(own) => !own.permitted.is_empty(),
        Err(_) => true,
    };
    is_same_user && (peer.uid.is_root() || !has_capabilities())
}

/// Calls `start`, which executes this program. The program gains no rights by its file: it would not believe
/// that it is a child (`PR_SET_NO_NEW_PRIVS(2const)`).
pub(crate) fn start_without_gaining_rights<T: Send>(
    start: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    if !gives_rights(path()) {
        return Ok(start());
    }
    // The flag is a thread's, and cannot be reset.
    std::thread::scope(|scope| {
        let started = std::thread::Builder::new().spawn_scoped(scope, || {
            rustix::thread::set_no_new_privs(true)?;
            Ok(start())
        });
        let joined = started?.join();
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Whether the program at `path` is set-user-ID, set-group-ID, or has capabilities (`capabilities(7)`).
fn gives_rights(path: &Path) -> bool {
    let is_set_id = rustix::fs::stat(path).is_ok_and(|file| file.st_mode & 0o6000 != 0);
    is_set_id || rustix::fs::getxattr(path, "security.capability", &mut [0_u8; 0]).is_ok()
}
