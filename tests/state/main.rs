//! State that lives in a process: one in every worker of a pool, or one in a process of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../deadline/mod.rs"]
mod deadline;
#[path = "../leftovers/mod.rs"]
mod leftovers;
#[path = "../notes/mod.rs"]
mod notes;

mod list;
mod managed;
mod managed_ends;
mod managed_kills;
mod managed_reads;
mod managed_reads_spoiled;
mod managed_streams;
mod managed_travels;
mod pool_exit;
mod pool_functions;
mod pool_state;
mod types;

use std::cell::Cell;
use std::marker::PhantomData;

use crate::notes::Notes;

/// A state that is neither `Send` nor serialisable, and that notes its life.
pub(crate) struct Document {
    pub(crate) pages: Vec<String>,
    pub(crate) reads: u32,
    notes: Notes,
    /// Neither `Send` nor `Sync`.
    _thread: PhantomData<*const Cell<u8>>,
}

impl Drop for Document {
    fn drop(&mut self) {
        self.notes.write("closed", self.reads);
    }
}

/// Notes that it was called, and makes a document of two pages.
pub(crate) fn open(notes: Notes) -> Document {
    notes.write("opened", std::process::id());
    Document {
        pages: vec!["one".to_owned(), "two words".to_owned()],
        reads: 0,
        notes,
        _thread: PhantomData,
    }
}

/// How many words a page has. Panics if there is no such page.
pub(crate) fn words(document: &mut Document, page: usize) -> usize {
    document.reads += 1;
    document.pages[page].split_whitespace().count()
}

/// How many words a page has.
pub(crate) fn words_of(document: &Document, page: usize) -> usize {
    document.pages[page].split_whitespace().count()
}

/// How many calls this state has had.
pub(crate) fn reads(document: &mut Document) -> u32 {
    document.reads += 1;
    document.reads
}
