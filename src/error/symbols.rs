//! Names for the addresses of a crash.
//!
//! Runs in a process of the same program. A program or library that is not loaded here is not opened: its path comes
//! from the process that has crashed.

use std::fmt::Write as _;
use std::ptr;

use crate::sys::crash_note::{CodePlace, CrashNote};
use crate::sys::objects;

/// The longest text, in bytes.
const LONGEST_TEXT: usize = 64 << 10;

/// The backtrace as text: a line for each call, the last first. `None` if the note has no address.
pub(super) fn backtrace(note: &CrashNote) -> Option<String> {
    if note.places.is_empty() {
        return None;
    }
    let bases: Vec<_> = note.objects.iter().map(|it| objects::base_of(it)).collect();
    let mut text = String::new();
    for place in &note.places {
        let base = place.object.and_then(|object| *bases.get(object)?);
        let is_known = base.is_some_and(|base| resolve(base, place.offset, &mut text));
        if !is_known {
            unknown(note, place, &mut text);
        }
        if text.len() > LONGEST_TEXT {
            text.push_str("…\n");
            break;
        }
    }
    Some(text)
}

/// Adds the calls at this place, several where a call was inlined. False if none is known.
fn resolve(base: usize, offset: u64, text: &mut String) -> bool {
    // One is added, because `resolve` takes it for a return address, which lies behind the call.
    let address = base.wrapping_add(offset as usize).wrapping_add(1);
    let mut is_known = false;
    backtrace::resolve(ptr::without_provenance_mut(address), |symbol| {
        let Some(name) = symbol.name() else {
            return;
        };
        is_known = true;
        let _ = write!(text, "{name:#}");
        if let (Some(file), Some(line)) = (symbol.filename(), symbol.lineno()) {
            let _ = write!(text, " at {}:{line}", file.display());
        }
        text.push('\n');
    });
    is_known
}

fn unknown(note: &CrashNote, place: &CodePlace, text: &mut String) {
    let object = place.object.and_then(|object| note.objects.get(object));
    let _ = match object.map(String::as_str) {
        Some("") => writeln!(text, "unknown at {:#x} in the program", place.offset),
        Some(path) => {
            let path: String = path.chars().filter(|it| !it.is_control()).collect();
            writeln!(text, "unknown at {:#x} in {path}", place.offset)
        }
        None => writeln!(text, "unknown at {:#x}", place.offset),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_of_the_program_has_a_name() {
        let here: fn() = address_of_the_program_has_a_name;
        let base = objects::base_of("").unwrap();
        let place = |object, offset| CodePlace { object, offset };
        let note = CrashNote {
            places: vec![
                place(Some(0), (here as usize - base) as u64),
                place(Some(1), 0x10),
                place(None, 0x20),
                place(Some(9), u64::MAX),
            ],
            objects: vec![String::new(), "/no\nwhere".to_owned()],
            ..CrashNote::default()
        };
        let text = backtrace(&note).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines[0].contains("address_of_the_program_has_a_name at "),
            "{text}"
        );
        assert_eq!(lines[1], "unknown at 0x10 in /nowhere");
        assert_eq!(lines[2], "unknown at 0x20");
        assert_eq!(backtrace(&CrashNote::default()), None);
    }
}
