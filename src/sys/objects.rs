//! The program and the shared libraries that are loaded into this process, and which of them has an address.
//!
//! An address relative to its object means the same in every process that has loaded the object.
//!
//! # Safety
//!
//! The descriptions are the loader's, and are read while it lends them. `_dl_find_object` ("GNU C Library", "Dynamic
//! Linker Introspection") may be called in the handler of a signal. It stores a structure of at most 16 words. The
//! description to which it leads stays until the object is unloaded, and the object has the address.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
use std::sync::OnceLock;

/// An object that is loaded.
#[derive(Debug, Clone, Copy)]
pub(super) struct LoadedObject {
    pub(super) start: usize,
    pub(super) end: usize,
    /// What is added to the object's own addresses.
    pub(super) base: usize,
    /// Its path; empty for the program.
    pub(super) path: &'static CStr,
}

impl LoadedObject {
    pub(super) fn has(&self, address: usize) -> bool {
        (self.start..self.end).contains(&address)
    }
}

/// What [`prepare`] has found.
#[derive(Debug)]
struct FinderState {
    program: Option<LoadedObject>,
    /// The function `_dl_find_object`, which glibc has from 2.35 on.
    find: Option<FindObject>,
}

type FindObject = unsafe extern "C" fn(address: usize, result: *mut [usize; 16]) -> libc::c_int;

static FINDER: OnceLock<FinderState> = OnceLock::new();

/// Looks up what [`find`] needs. Not in a handler of a signal.
pub(super) fn prepare() {
    FINDER.get_or_init(|| {
        let mut program = None;
        each(&mut |base, _, headers| {
            program.get_or_insert(object(base, c"", headers));
        });
        // SAFETY: looks up a symbol.
        let find = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_dl_find_object".as_ptr()) };
        // SAFETY: null, or the function of this name, whose type this is.
        let find = unsafe { std::mem::transmute::<*mut libc::c_void, Option<FindObject>>(find) };
        FinderState { program, find }
    });
}

/// The object that has the address. Can be called in the handler of a signal.
pub(super) fn find(address: usize) -> Option<LoadedObject> {
    let prepared = FINDER.get()?;
    if let Some(program) = prepared.program.filter(|it| it.has(address)) {
        return Some(program);
    }
    let mut found = [0_usize; 16];
    // SAFETY: see the module.
    if unsafe { prepared.find?(address, &raw mut found) } != 0 {
        return None;
    }
    // Its first fields: flags, start, end, and the loader's description.
    let [_, start, end, description, ..] = found;
    let description: *const LinkMap = std::ptr::with_exposed_provenance(description);
    // SAFETY: null, or see the module.
    let map = unsafe { description.as_ref() }?;
    let path = match map.name.is_null() {
        true => c"",
        // SAFETY: a text that ends with zero and lives as long as the object.
        false => unsafe { CStr::from_ptr(map.name) },
    };
    Some(LoadedObject {
        start,
        end,
        base: map.base,
        path,
    })
}

/// The first fields of `struct link_map` (`link.h`).
#[repr(C)]
struct LinkMap {
    base: usize,
    name: *const c_char,
}

/// What is added in this process to the own addresses of the object with this path; the program's is empty. `None` if
/// it is not loaded.
pub(crate) fn base_of(path: &str) -> Option<usize> {
    let mut found = None;
    let mut is_program = true;
    each(&mut |base, name, _| {
        let name = match std::mem::take(&mut is_program) {
            true => c"",
            false => name,
        };
        if found.is_none() && name.to_bytes() == path.as_bytes() {
            found = Some(base);
        }
    });
    found
}

/// Is called with an object's base, name and headers.
type Visit<'a> = &'a mut dyn FnMut(usize, &CStr, &[libc::Elf64_Phdr]);

/// Visits all objects, the program first.
fn each(mut visit: Visit<'_>) {
    // SAFETY: calls `note` for each object with the given pointer, before it returns (`dl_iterate_phdr(3)`).
    unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut visit).cast()) };
}

unsafe extern "C" fn note(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    visit: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the C library's description of an object, valid during this call.
    let info = unsafe { &*info };
    // SAFETY: the pointer that `each` passed; `each` does not use the value during the call.
    let visit = unsafe { &mut *visit.cast::<Visit<'_>>() };
    if info.dlpi_phdr.is_null() || info.dlpi_name.is_null() {
        return 0;
    }
    // SAFETY: as many headers as the description says.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    // SAFETY: a text that ends with zero.
    let name = unsafe { CStr::from_ptr(info.dlpi_name) };
    visit(info.dlpi_addr as usize, name, headers);
    0
}

fn object(base: usize, path: &'static CStr, headers: &[libc::Elf64_Phdr]) -> LoadedObject {
    let loaded = headers.iter().filter(|it| it.p_type == libc::PT_LOAD);
    let start = loaded.clone().map(|it| it.p_vaddr).min();
    let end = loaded.map(|it| it.p_vaddr.saturating_add(it.p_memsz)).max();
    LoadedObject {
        start: base.wrapping_add(start.unwrap_or(0) as usize),
        end: base.wrapping_add(end.unwrap_or(0) as usize),
        base,
        path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_found_in_its_object() {
        prepare();
        let here: fn() = address_is_found_in_its_object;
        let program = find(here as usize).unwrap();
        assert!(program.path.is_empty());
        assert_eq!(base_of(""), Some(program.base));
        assert!(find(1).is_none());
        let library = find(libc::getpid as *const () as usize).unwrap();
        let path = library.path.to_str().unwrap();
        assert_eq!(base_of(path), Some(library.base));
        assert_eq!(base_of("/nowhere"), None);
    }
}
