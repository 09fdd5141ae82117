//! Prefaulting the pages that a forked process is about to write to.
//!
//! A forked process shares all pages with its original until it writes to them. Each first write costs a page fault. A
//! spare, which is idle, has the kernel copy these pages in one call (`MADV_POPULATE_WRITE`, `madvise(2)`, since Linux
//! 5.14; an older kernel refuses the advice).
//!
//! # Safety
//!
//! Only advice about writable memory of this process, which does not change the content.
#![allow(unsafe_code)]

use std::ops::Range;

use rustix::param::page_size;

/// Longer segments are left alone, in bytes: a program may have large variables that it never writes to.
const LONGEST_SEGMENT: usize = 64 << 10;

/// The pages of the stack below the caller's frame that are prefaulted: the next calls need about this much.
const STACK_PAGES: usize = 2;

/// The address ranges that every process writes to.
#[derive(Debug, Default)]
pub(crate) struct Pages(Vec<Range<usize>>);

impl Pages {
    /// The ranges of the variables of the program and its libraries.
    pub(crate) fn find() -> Self {
        let mut pages = Self::default();
        // SAFETY: calls `note` for each object with the given pointer, before it returns (`dl_iterate_phdr(3)`).
        unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut pages).cast()) };
        pages
    }

    /// Copies these pages, and the part of the stack that is used next.
    pub(crate) fn copy(&self) {
        let here = std::ptr::from_ref(&self).addr();
        let page = page_size();
        let stack = (here - STACK_PAGES * page)..here;
        self.0.iter().for_each(copy);
        copy(&stack);
    }
}

fn copy(range: &Range<usize>) {
    let start = range.start & !(page_size() - 1);
    let len = range.end - start;
    // SAFETY: see the module.
    unsafe { libc::madvise(start as *mut libc::c_void, len, libc::MADV_POPULATE_WRITE) };
}

/// Adds the ranges of the variables of one object.
unsafe extern "C" fn note(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    pages: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the C library's description of an object, valid during this call.
    let info = unsafe { &*info };
    // SAFETY: the pointer that `find` passed; `find` does not use the value during the call.
    let pages = unsafe { &mut *pages.cast::<Pages>() };
    if info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: as many headers as the description says.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let range = |header: &libc::Elf64_Phdr| {
        let start = info.dlpi_addr.wrapping_add(header.p_vaddr) as usize;
        start..start.saturating_add(header.p_filesz as usize)
    };
    // The dynamic linker writes this range and then makes it read-only.
    let constant = headers.iter().find(|it| it.p_type == libc::PT_GNU_RELRO);
    let constant_end = constant.map_or(0, |it| range(it).end);
    let writable = headers
        .iter()
        .filter(|it| it.p_type == libc::PT_LOAD && it.p_flags & libc::PF_W != 0);
    for header in writable {
        let Range { start, end } = range(header);
        let start = match start < constant_end && constant_end <= end {
            true => constant_end,
            false => start,
        };
        if start < end && end - start <= LONGEST_SEGMENT {
            pages.0.push(start..end);
        }
    }
    0
}
