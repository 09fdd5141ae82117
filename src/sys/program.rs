//! The program that this process runs, and the rights that its file gives.
//!
//! # Safety
//!
//! The callback of `dl_iterate_phdr(3)` reads what the C library passes to it, and only while it is called. The other
//! calls take integers.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsFd;

use rustix::process::{getegid, geteuid};

/// Whether this crate is part of the program, and not of a shared library that a program has loaded.
pub(crate) fn contains_this_crate() -> bool {
    let mut found = false;
    // SAFETY: calls `look` with the given pointer, before it returns.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut found).cast()) };
    found
}

/// Stores whether the first object, which is the program (`dl_iterate_phdr(3)`), contains this function.
unsafe extern "C" fn look(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    found: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the C library's description of an object, valid during this call.
    let info = unsafe { &*info };
    if !info.dlpi_phdr.is_null() {
        // SAFETY: as many headers as the description says.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
        let here = contains_this_crate as fn() -> bool as usize as u64;
        let offset = here.wrapping_sub(info.dlpi_addr);
        let contains = |header: &libc::Elf64_Phdr| {
            header.p_type == libc::PT_LOAD && offset.wrapping_sub(header.p_vaddr) < header.p_memsz
        };
        // SAFETY: the pointer that `contains_this_crate` passed; it does not use the value during the call.
        unsafe { *found.cast::<bool>() = headers.iter().any(contains) };
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

/// Calls `start`, which executes the program at `path`. The program gains no rights by its file: it would not believe
/// that it is a child (`PR_SET_NO_NEW_PRIVS(2const)`).
pub(crate) fn start_without_gaining_rights<T: Send>(
    path: &std::path::Path,
    start: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    if !gives_rights(path) {
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
fn gives_rights(path: &std::path::Path) -> bool {
    let is_set_id = rustix::fs::stat(path).is_ok_and(|file| file.st_mode & 0o6000 != 0);
    is_set_id || rustix::fs::getxattr(path, "security.capability", &mut [0_u8; 0]).is_ok()
}
