//! What a process that crashes leaves about it, in words that its parent reads when it has ended.
//!
//! Written in the handler of a signal: word by word, without allocation, into memory that was made before. Each address
//! counts as soon as it is there, because a second thread may end the process meanwhile. The reader copies the words
//! once and takes nothing for granted: the process may have overwritten them.
//!
//! ```text
//! │ signal, code │ flags │ address │ count │ addresses … │ count of objects │ objects: length of path, path │
//! ```

use std::ffi::CStr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::objects;
use super::objects::LoadedObject;

const SIGNAL: usize = 0;
const FLAG_BITS: usize = 1;
const ADDRESS: usize = 2;
const PLACES: usize = 3;
const FIRST_PLACE: usize = 4;
const OBJECTS: usize = FIRST_PLACE + MOST_PLACES;
const FIRST_OBJECT: usize = OBJECTS + 1;

/// The words of an object: the length of its path in bytes, and the path.
const OBJECT_WORDS: usize = 1 + LONGEST_PATH / 8;

/// The most addresses of a backtrace.
pub(crate) const MOST_PLACES: usize = 128;
/// The most objects that they are in. Other addresses are in none.
const MOST_OBJECTS: usize = 8;
/// The end of a longer path is cut, in bytes.
const LONGEST_PATH: usize = 192;

/// How many words a note takes.
pub(crate) const NOTE_WORDS: usize = FIRST_OBJECT + MOST_OBJECTS * OBJECT_WORDS;

const HAS_ADDRESS: u64 = 1;
const IS_OVERFLOW: u64 = 2;

/// An address and its object, in one word: the number of the object is above these bits.
const OBJECT_SHIFT: u32 = 56;
const OFFSET: u64 = (1 << OBJECT_SHIFT) - 1;
/// The number for no object.
const NO_OBJECT: u64 = 0xff;

/// A note that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CrashNote {
    /// Zero if the process has left no note.
    pub(crate) signal: i32,
    /// That could not be accessed, or the instruction that could not be executed.
    pub(crate) address: Option<u64>,
    pub(crate) is_stack_overflow: bool,
    /// Where the thread was, and its callers.
    pub(crate) places: Vec<CodePlace>,
    /// The paths of the objects; empty for the program.
    pub(crate) objects: Vec<String>,
}

/// An instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CodePlace {
    /// The object, as an index. `None` if none is known.
    pub(crate) object: Option<usize>,
    /// The instruction's address, without the object's base.
    pub(crate) offset: u64,
}

/// What the kernel has said about a crash.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    pub(super) signal: i32,
    pub(super) address: Option<usize>,
    pub(super) is_stack_overflow: bool,
}

/// Writes a note.
#[derive(Debug)]
pub(super) struct NoteWriter {
    words: &'static [AtomicU64],
    places: usize,
    objects: [Option<LoadedObject>; MOST_OBJECTS],
}

impl NoteWriter {
    /// Begins the note about `fault`.
    pub(super) fn begin(words: &'static [AtomicU64], fault: Fault) -> Self {
        let writer = Self {
            words,
            places: 0,
            objects: [None; MOST_OBJECTS],
        };
        let mut flags = 0;
        if fault.address.is_some() {
            flags |= HAS_ADDRESS;
        }
        if fault.is_stack_overflow {
            flags |= IS_OVERFLOW;
        }
        writer.put(PLACES, 0);
        writer.put(OBJECTS, 0);
        writer.put(FLAG_BITS, flags);
        writer.put(ADDRESS, fault.address.unwrap_or(0) as u64);
        writer.put(SIGNAL, fault.signal as u64);
        writer
    }

    /// Adds the address of an instruction. False if there is no room for another.
    pub(super) fn add(&mut self, address: usize) -> bool {
        if self.places == MOST_PLACES {
            return false;
        }
        let (number, base) = match self.object_of(address) {
            Some((number, base)) => (number as u64, base),
            None => (NO_OBJECT, 0),
        };
        let offset = address.wrapping_sub(base) as u64 & OFFSET;
        self.put(FIRST_PLACE + self.places, number << OBJECT_SHIFT | offset);
        self.places += 1;
        self.put(PLACES, self.places as u64);
        true
    }

    /// The number of the object that has the address, and its base.
    fn object_of(&mut self, address: usize) -> Option<(usize, usize)> {
        for (number, slot) in self.objects.iter_mut().enumerate() {
            let object = match slot {
                Some(object) => *object,
                None => {
                    let found = *slot.insert(objects::find(address)?);
                    put_path(self.words, number, found.path);
                    found
                }
            };
            if object.has(address) {
                return Some((number, object.base));
            }
        }
        None
    }

    fn put(&self, at: usize, value: u64) {
        put(self.words, at, value);
    }
}

fn put(words: &[AtomicU64], at: usize, value: u64) {
    if let Some(word) = words.get(at) {
        word.store(value, Ordering::Release);
    }
}

fn put_path(words: &[AtomicU64], number: usize, path: &CStr) {
    let path = path.to_bytes();
    let path = path.get(..LONGEST_PATH).unwrap_or(path);
    let at = FIRST_OBJECT + number * OBJECT_WORDS;
    for (index, part) in path.chunks(8).enumerate() {
        let mut word = [0; 8];
        for (byte, from) in word.iter_mut().zip(part) {
            *byte = *from;
        }
        put(words, at + 1 + index, u64::from_le_bytes(word));
    }
    put(words, at, path.len() as u64);
    put(words, OBJECTS, number as u64 + 1);
}

impl CrashNote {
    /// Reads a note that another process may have overwritten. `None` if it is none.
    pub(crate) fn read(words: &[AtomicU64]) -> Option<Self> {
        let words: Vec<u64> = words.iter().map(|it| it.load(Ordering::Acquire)).collect();
        if words.len() < NOTE_WORDS {
            return None;
        }
        let signal = i32::try_from(words[SIGNAL]).ok().filter(|it| *it != 0)?;
        let objects: Option<Vec<_>> = (0..count(words[OBJECTS], MOST_OBJECTS)?)
            .map(|number| path(&words[FIRST_OBJECT + number * OBJECT_WORDS..]))
            .collect();
        let objects = objects?;
        let places = &words[FIRST_PLACE..][..count(words[PLACES], MOST_PLACES)?];
        Some(Self {
            signal,
            address: (words[FLAG_BITS] & HAS_ADDRESS != 0).then_some(words[ADDRESS]),
            is_stack_overflow: words[FLAG_BITS] & IS_OVERFLOW != 0,
            places: places.iter().map(|it| place(*it, objects.len())).collect(),
            objects,
        })
    }
}

fn count(word: u64, most: usize) -> Option<usize> {
    usize::try_from(word).ok().filter(|count| *count <= most)
}

fn place(word: u64, objects: usize) -> CodePlace {
    let number = (word >> OBJECT_SHIFT) as usize;
    CodePlace {
        object: (number < objects).then_some(number),
        offset: word & OFFSET,
    }
}

/// The path at the beginning of these words.
fn path(words: &[u64]) -> Option<String> {
    let len = count(*words.first()?, LONGEST_PATH)?;
    let bytes: Vec<u8> = words[1..]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .take(len)
        .collect();
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> &'static [AtomicU64] {
        let words: Vec<_> = (0..NOTE_WORDS).map(|_| AtomicU64::new(0)).collect();
        Vec::leak(words)
    }

    fn fault() -> Fault {
        Fault {
            signal: libc::SIGSEGV,
            address: Some(8),
            is_stack_overflow: false,
        }
    }

    #[test]
    fn note_is_read_as_it_was_written() {
        objects::prepare();
        let words = empty();
        assert_eq!(CrashNote::read(words), None);
        let here: fn() = note_is_read_as_it_was_written;
        let (here, library) = (here as usize, libc::getpid as *const () as usize);
        let mut writer = NoteWriter::begin(words, fault());
        for address in [here, library, 1, here] {
            assert!(writer.add(address));
        }
        let note = CrashNote::read(words).unwrap();
        assert_eq!((note.signal, note.address), (libc::SIGSEGV, Some(8)));
        assert!(!note.is_stack_overflow);
        let numbers: Vec<_> = note.places.iter().map(|it| it.object).collect();
        assert_eq!(numbers, [Some(0), Some(1), None, Some(0)]);
        assert_eq!(note.objects[0], "");
        let base = objects::base_of("").unwrap();
        assert_eq!(note.places[0].offset as usize + base, here);
        assert!((0..MOST_PLACES).any(|_| !writer.add(here)));
        assert_eq!(CrashNote::read(words).unwrap().places.len(), MOST_PLACES);
    }

    /// Every word in turn is overwritten: the reader neither fails nor gives more than the limits.
    #[test]
    fn overwritten_note_is_read_or_refused() {
        objects::prepare();
        let words = empty();
        let mut writer = NoteWriter::begin(words, fault());
        writer.add(libc::getpid as *const () as usize);
        for at in 0..NOTE_WORDS {
            for value in [u64::MAX, 1 << 63, 1 << 32, 300, 0] {
                let old = words[at].swap(value, Ordering::Relaxed);
                if let Some(note) = CrashNote::read(words) {
                    assert!(note.places.len() <= MOST_PLACES);
                    assert!(note.objects.len() <= MOST_OBJECTS);
                    let known = |it: &CodePlace| it.object.is_none_or(|it| it < note.objects.len());
                    assert!(note.places.iter().all(known));
                }
                words[at].store(old, Ordering::Relaxed);
            }
        }
        assert_eq!(CrashNote::read(&words[..9]), None);
    }
}
