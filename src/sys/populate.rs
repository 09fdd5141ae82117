//! Memory that is all there: every page of it exists before it is used.
//!
//! A page that does not exist is made when it is touched. Where there is no memory for it then, the kernel sends
//! `SIGBUS`, so the pages are made at once, by a call that fails instead.
//!
//! Making pages is what costs: 2.5 µs for each 4 KiB on the machine this was measured on, twenty times as long as
//! filling them. The kernel makes huge pages of shared memory only where the administrator has allowed it
//! (`/sys/kernel/mm/transparent_hugepage/shmem_enabled`, by default `never`). But it collapses existing pages to a huge
//! page for a process that asks for that (`MADV_COLLAPSE`, `madvise(2)`, since Linux 6.1), whatever that file says, and
//! a range of which one page exists is enough. This takes 85 µs for 2 MiB, instead of 1300 µs. Half of that time is the
//! kernel's wait for its lists of pages on all processors (`lru_add_drain_all`), so where huge pages are allowed, they
//! are made as the pages are touched. Where the kernel has no huge page left, the pages are small.
//!
//! # Safety
//!
//! Only advice about writable memory of this process, which does not change the content.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::FallocateFlags;

use super::page_range::{HUGE_PAGE, PageRange};

/// `include/uapi/asm-generic/mman-common.h`.
const MADV_COLLAPSE: libc::c_int = 25;

/// How many ranges get small pages after the kernel had no huge page: looking for one takes long.
const SMALL_AFTER_REFUSAL: u32 = 64;

/// How many of the next ranges get small pages.
static SMALL_RANGES: AtomicU32 = AtomicU32::new(0);

/// In which pages a length is best stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PagePlan {
    /// The length of the memory, in bytes.
    pub(super) len: usize,
    /// How many of its bytes are in huge pages.
    huge: usize,
}

impl PagePlan {
    /// The plan for at least `len` bytes. `None` if there cannot be so many.
    pub(super) fn of(len: usize) -> Option<Self> {
        let is_long = len >= HUGE_PAGE / 2;
        Self::with(len, is_long && has_huge_pages())
    }

    /// The last part is in a huge page, if it may, and takes half of one.
    fn with(len: usize, may_be_huge: bool) -> Option<Self> {
        let whole = len.checked_next_multiple_of(rustix::param::page_size())?;
        let last = whole % HUGE_PAGE;
        let len = match may_be_huge && last >= HUGE_PAGE / 2 {
            true => whole.checked_next_multiple_of(HUGE_PAGE)?,
            false => whole,
        };
        let huge = match may_be_huge {
            true => len / HUGE_PAGE * HUGE_PAGE,
            false => 0,
        };
        isize::try_from(len).is_ok().then_some(Self { len, huge })
    }
}

/// Makes all pages of `memory`, which is mapped at `range`, as planned.
///
/// # Errors
///
/// There is no memory for them.
pub(super) fn populate(
    memory: BorrowedFd<'_>,
    range: &PageRange,
    plan: PagePlan,
) -> io::Result<()> {
    if plan.huge > 0 {
        match allows_huge_pages() {
            // If it is refused, the pages are small.
            true => drop(advise(range, 0, plan.huge, libc::MADV_HUGEPAGE)),
            false => collapse(range, plan.huge),
        }
    }
    match advise(range, 0, plan.len, libc::MADV_POPULATE_WRITE) {
        Ok(()) => Ok(()),
        Err(libc::EINVAL) => allocate(memory, plan.len),
        Err(_) => Err(io::Error::from(io::ErrorKind::OutOfMemory)),
    }
}

/// Whether the kernel has huge pages, as far as is known.
fn has_huge_pages() -> bool {
    let count_down = |left: u32| left.checked_sub(1);
    let counted = SMALL_RANGES.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count_down);
    counted.is_err()
}

/// Makes the first `len` bytes of `range` huge pages, if the kernel has them and knows how.
fn collapse(range: &PageRange, len: usize) {
    let page = rustix::param::page_size();
    let mut starts = (0..len).step_by(HUGE_PAGE);
    let touched = starts.try_for_each(|at| advise(range, at, page, libc::MADV_POPULATE_WRITE));
    let collapse = || advise(range, 0, len, MADV_COLLAPSE);
    let collapsed = touched.and_then(|()| match collapse() {
        // Something holds a page for a moment.
        Err(libc::EAGAIN) => collapse(),
        other => other,
    });
    if collapsed.is_err_and(|error| error != libc::EAGAIN) {
        SMALL_RANGES.store(SMALL_AFTER_REFUSAL, Ordering::Relaxed);
    }
}

/// Whether shared memory whose owner asks for huge pages gets them as it is touched.
fn allows_huge_pages() -> bool {
    static ALLOWED: OnceLock<bool> = OnceLock::new();
    let read = |path: &str| {
        let text = std::fs::read_to_string(format!("/sys/kernel/mm/transparent_hugepage/{path}"));
        text.unwrap_or_default()
    };
    *ALLOWED.get_or_init(|| {
        let of_size = read("hugepages-2048kB/shmem_enabled");
        are_allowed(&read("shmem_enabled"), &of_size)
    })
}

/// By the files of all sizes and of the size of 2 MiB, which overrides the other since Linux 6.10. The choice stands in
/// brackets.
fn are_allowed(of_all: &str, of_size: &str) -> bool {
    fn chosen(choices: &str) -> Option<&str> {
        choices.split_once('[')?.1.split_once(']').map(|it| it.0)
    }
    let choice = match chosen(of_size) {
        None | Some("inherit") => chosen(of_all),
        own => own,
    };
    matches!(choice, Some("always" | "within_size" | "advise" | "force"))
}

fn advise(range: &PageRange, at: usize, len: usize, advice: libc::c_int) -> Result<(), i32> {
    debug_assert!(at <= range.len() && len <= range.len() - at);
    let start = range.base().as_ptr().wrapping_add(at);
    // SAFETY: the part lies inside the range, which is mapped; the advice makes pages, all zero, where there are none.
    match unsafe { libc::madvise(start.cast(), len, advice) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)),
    }
}

/// The most bytes that are allocated by one call. A signal undoes what the call has done.
const ALLOCATED_AT_ONCE: usize = 8 << 20;

/// Makes the pages of a memfd on a kernel before Linux 5.14.
fn allocate(memory: BorrowedFd<'_>, len: usize) -> io::Result<()> {
    for at in (0..len).step_by(ALLOCATED_AT_ONCE) {
        let part = ALLOCATED_AT_ONCE.min(len - at) as u64;
        let call = || rustix::fs::fallocate(memory, FallocateFlags::empty(), at as u64, part);
        match rustix::io::retry_on_intr(call) {
            Ok(()) => {}
            Err(rustix::io::Errno::NOSPC | rustix::io::Errno::NOMEM) => {
                return Err(io::Error::from(io::ErrorKind::OutOfMemory));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::super::page_range::PageUse;
    use super::*;
    use crate::sys::memory;

    #[test]
    fn last_part_is_in_a_huge_page_if_it_takes_half_of_one() {
        let page = rustix::param::page_size();
        let half = HUGE_PAGE / 2;
        for (wanted, len, huge) in [
            (1, page, 0),
            (page + 1, 2 * page, 0),
            (half - page, half - page, 0),
            (half, HUGE_PAGE, HUGE_PAGE),
            (HUGE_PAGE + 1, HUGE_PAGE + page, HUGE_PAGE),
            (HUGE_PAGE + half, 2 * HUGE_PAGE, 2 * HUGE_PAGE),
        ] {
            let plan = PagePlan { len, huge };
            assert_eq!(PagePlan::with(wanted, true), Some(plan), "{wanted}");
        }
        let (len, huge) = (half + page, 0);
        let plan = PagePlan { len, huge };
        assert_eq!(PagePlan::with(half + 1, false), Some(plan));
        assert_eq!(PagePlan::of(usize::MAX), None);
        assert_eq!(PagePlan::of(isize::MAX as usize), None);
    }

    #[test]
    fn kernels_files_say_whether_huge_pages_are_allowed() {
        let inherit = "always [inherit] within_size advise never";
        for (of_all, of_size, allowed) in [
            (
                "always within_size advise [never] deny force",
                inherit,
                false,
            ),
            (
                "always within_size [advise] never deny force",
                inherit,
                true,
            ),
            ("always within_size [advise] never deny force", "", true),
            ("[always] within_size", "always inherit [never]", false),
            ("always [never]", "[always] inherit", true),
            ("", "", false),
        ] {
            assert_eq!(are_allowed(of_all, of_size), allowed, "{of_all} {of_size}");
        }
    }

    #[test]
    fn all_pages_exist_by_every_way() {
        let plan = PagePlan::of((9 << 20) + 1).unwrap();
        let len = plan.len;
        for old_kernel in [false, true] {
            let memory = memory::memfd("populate-test", len).unwrap();
            let range = PageRange::map(memory.as_fd(), len, PageUse::ReadWrite).unwrap();
            assert!(!memory::has_bytes(&memory, 1));
            match old_kernel {
                true => allocate(memory.as_fd(), len).unwrap(),
                false => populate(memory.as_fd(), &range, plan).unwrap(),
            }
            assert!(memory::has_bytes(&memory, len));
        }
    }
}
