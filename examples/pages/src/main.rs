//! Counts the words of documents with a C library that is not thread-safe, and that crashes on one of them.
//!
//! The library has one open document in a process. So every worker has the library for itself, and with it the document
//! that it has opened last; calls with the same key find the worker that has their document open. A crash costs one
//! page.
#![allow(clippy::print_stdout, reason = "an example prints its results")]
#![allow(unsafe_code, reason = "calls of a C library")]

use std::ffi::{CString, c_char, c_long};
use std::path::Path;

use futures::future::join_all;
use procession::{Pool, StatePool};

unsafe extern "C" {
    fn book_open(path: *const c_char) -> c_long;
    fn book_words(page: c_long) -> c_long;
    fn book_close();
}

/// The library, with the document that it has open.
struct Library {
    open: Option<(String, u32)>,
    opened: u32,
}

impl Library {
    fn new() -> Self {
        Self {
            open: None,
            opened: 0,
        }
    }

    /// Opens a document, unless it is open. Returns how many pages it has.
    fn open(&mut self, path: &str) -> Result<u32, String> {
        if let Some((open, pages)) = &self.open {
            if open == path {
                return Ok(*pages);
            }
        }
        let file = CString::new(path).map_err(|error| error.to_string())?;
        // SAFETY: the path ends with a zero. A worker runs one call at a time, and its process has one `Library`.
        let pages = unsafe { book_open(file.as_ptr()) };
        let pages = u32::try_from(pages).map_err(|_| format!("{path} is no document"))?;
        self.open = Some((path.to_owned(), pages));
        self.opened += 1;
        Ok(pages)
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: no document is used any more.
        unsafe { book_close() }
    }
}

fn pages(library: &mut Library, path: String) -> Result<u32, String> {
    library.open(&path)
}

/// The words of a page, and how many documents the library of this worker has opened so far.
fn words(library: &mut Library, path: String, page: u32) -> Result<(i64, u32), String> {
    library.open(&path)?;
    // SAFETY: the document is open and has the page. Where the page is, the library does not check: that is what the
    // process around it is for.
    let words = unsafe { book_words(page.into()) };
    Ok((words, library.opened))
}

#[procession::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let libraries: StatePool<Library> = Pool::builder()
        .workers(2)
        .name("pages")
        .state(Library::new, ())
        .build()?;
    let documents = Path::new(env!("CARGO_MANIFEST_DIR")).join("documents");
    for name in ["harbour", "damaged", "garden"] {
        let path = documents.join(format!("{name}.txt"));
        let path = path.to_str().ok_or("the path is not UTF-8")?.to_owned();
        let pages = libraries.run(pages, path.clone()).key(&path).await??;
        let counts = (0..pages).map(|page| libraries.run(words, (path.clone(), page)).key(&path));
        for (page, counted) in join_all(counts).await.into_iter().enumerate() {
            match counted {
                Ok(Ok((words, _))) => println!("{name}, page {}: {words} words", page + 1),
                Ok(Err(why)) => println!("{name}, page {}: {why}", page + 1),
                Err(error) => println!("{name}, page {}: {error}", page + 1),
            }
        }
    }
    libraries.pool().shutdown().await;
    Ok(())
}
