//! The table of all entry points that another process can call, built by the compiler and the linker.
//!
//! Every monomorphised entry point has a record in the section `procession_tasks`: the function that mentions the entry
//! point carries the record's bytes as inline assembly. The linker concatenates the records and brackets them with
//! `__start_`/`__stop_` symbols (GNU ld manual, "Input Section Example"; lld and mold do the same). A message carries
//! the record's offset in the table. The receiver takes the function's address from *its own* table: no integer from a
//! message is ever jumped to.
//!
//! The section is marked `R` (`SHF_GNU_RETAIN`), so that `--gc-sections` keeps it.
//!
//! # Safety
//!
//! A record is written by the assembler from `sym enter::<E>`, so the address it leads to is a
//! function of exactly the type [`Enter`]. The symbols `__start_` and `__stop_` bracket records and
//! nothing else, because only this file names the section.
#![allow(unsafe_code)]

use std::any::Any;
use std::io;

/// An entry point. It reads its arguments from the call it is given and stores its result there.
pub(crate) type Enter = fn(&mut dyn Any);

/// A call that another process of the same image can enter.
pub(crate) trait Entry: 'static {
    /// Runs the call. The layer above defines the type behind `call`.
    fn enter(call: &mut dyn Any);
}

/// An offset in the table, which is the same in every process of this image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token(u64);

impl Token {
    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

/// One record: the distance from the record to its entry point.
#[repr(C)]
struct TableRecord {
    enter: i64,
}

const RECORD_BYTES: u64 = size_of::<TableRecord>() as u64;

unsafe extern "C" {
    #[link_name = "__start_procession_tasks"]
    static START: TableRecord;
    #[link_name = "__stop_procession_tasks"]
    static STOP: TableRecord;
}

fn enter<E: Entry>(call: &mut dyn Any) {
    E::enter(call);
}

/// The token of `E`. A mention of this function for `E` puts `E` into the table.
///
/// # Errors
///
/// `E` was compiled into another image (a Rust `dylib`), where a child cannot find it.
#[inline(never)]
pub(crate) fn token<E: Entry>() -> io::Result<Token> {
    let record: u64;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: writes only its output register; the section it adds is data.
    unsafe {
        std::arch::asm!(
            ".pushsection procession_tasks,\"aR\",@progbits",
            ".balign 8",
            "22: .quad {enter} - .",
            ".popsection",
            "lea {record}, [rip + 22b]",
            enter = sym enter::<E>,
            record = out(reg) record,
            options(nomem, nostack, preserves_flags),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: writes only its output register; the section it adds is data.
    unsafe {
        std::arch::asm!(
            ".pushsection procession_tasks,\"aR\",@progbits",
            ".balign 8",
            "22: .xword {enter} - .",
            ".popsection",
            "adrp {record}, 22b",
            "add {record}, {record}, :lo12:22b",
            enter = sym enter::<E>,
            record = out(reg) record,
            options(nomem, nostack, preserves_flags),
        );
    }
    let (start, stop) = bounds();
    if record < start || record >= stop {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the function was compiled into a shared library; link it into the executable",
        ));
    }
    Ok(Token(record - start))
}

/// The entry point at `token`, or `None` if this image's table has none there.
pub(crate) fn lookup(token: Token) -> Option<Enter> {
    let (start, stop) = bounds();
    let inside = token.0 % RECORD_BYTES == 0 && token.0 < stop - start;
    if !inside {
        return None;
    }
    let record = (&raw const START).wrapping_byte_add(token.0 as usize);
    // SAFETY: the offset is a multiple of the record's size and below the end of the table.
    let distance = unsafe { (*record).enter };
    if distance == 0 {
        return None; // the anchor
    }
    let address = record.cast::<()>().wrapping_byte_offset(distance as isize);
    // SAFETY: every record but the anchor holds the distance to an `enter::<E>`, which is an `Enter`.
    Some(unsafe { std::mem::transmute::<*const (), Enter>(address) })
}

/// A hash of the table: the same in every process of this image and, almost surely, different in others.
pub(crate) fn fingerprint() -> u64 {
    let (start, stop) = bounds();
    let count = (stop - start) / RECORD_BYTES;
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ count; // FNV-1a over the distances
    for index in 0..count as usize {
        let record = (&raw const START).wrapping_add(index);
        // SAFETY: `index` is below the number of records.
        let distance = unsafe { (*record).enter };
        hash = (hash ^ distance as u64).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

fn bounds() -> (u64, u64) {
    anchor();
    ((&raw const START) as u64, (&raw const STOP) as u64)
}

/// Adds one empty record, without which a program with no tasks would not link.
#[inline(always)]
fn anchor() {
    // SAFETY: adds eight bytes of data to a section; no instruction is executed.
    unsafe {
        std::arch::asm!(
            ".pushsection procession_tasks,\"aR\",@progbits",
            ".balign 8",
            ".8byte 0",
            ".popsection",
            options(nomem, nostack, preserves_flags),
        );
    }
}

/// Makes a value of a type of size zero.
///
/// A larger type does not compile: a closure that captures, a function pointer.
pub(crate) fn conjure<F: Copy + 'static>() -> F {
    const {
        assert!(
            size_of::<F>() == 0,
            "procession: a function sent to another process must capture nothing, and must not be a \
             function pointer; pass what it needs as an argument"
        );
    }
    // SAFETY: no bytes are read for a type of size zero. `F: Copy` permits a second value, and the caller of the public
    // API has passed the first one.
    unsafe { std::ptr::NonNull::<F>::dangling().read() }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Doubles;

    impl Entry for Doubles {
        fn enter(call: &mut dyn Any) {
            if let Some(n) = call.downcast_mut::<u32>() {
                *n *= 2;
            }
        }
    }

    #[test]
    fn lookup_finds_mentioned_entries_alone() {
        let token = token::<Doubles>().unwrap();
        let enter = lookup(token).unwrap();
        let mut n = 21_u32;
        enter(&mut n);
        assert_eq!(n, 42);
        let (start, stop) = bounds();
        assert!(lookup(Token(stop - start)).is_none());
        assert!(lookup(Token(token.0 + 1)).is_none());
        assert!(lookup(Token(u64::MAX)).is_none());
        assert!(lookup(Token(u64::MAX - 7)).is_none());
    }

    #[test]
    fn lookup_of_the_anchor_finds_nothing() {
        let (start, stop) = bounds();
        let empty = (0..(stop - start) / RECORD_BYTES)
            .filter(|index| lookup(Token(index * RECORD_BYTES)).is_none())
            .count();
        assert!(empty >= 1);
    }
}
