//! Memory that processes share: sent as a descriptor, read and written in place.
//!
//! | type | who writes | sending it |
//! |---|---|---|
//! | [`SharedBufMut`] | its owner | moves it |
//! | [`SharedBuf`] | no process, ever again | shares it |
//! | [`SharedSlice<T>`](SharedSlice) | as `SharedBuf`, of plain data | shares it |
//! | [`Shared<T>`](Shared) | all, by atomic operations | shares it |
//!
//! All of them may sit anywhere inside arguments, results and messages, several in one. The receiver maps the same
//! pages, so neither the length nor the number of receivers matters.
//!
//! ```
//! use procession::memory::{SharedBuf, SharedBufMut};
//!
//! fn count(text: SharedBuf, byte: u8) -> usize {
//!     text.iter().filter(|it| **it == byte).count()
//! }
//!
//! # #[procession::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut text = SharedBufMut::zeroed(1 << 20)?;
//! text.fill(b'x');
//! let text = text.freeze()?;
//!
//! let pool = procession::Pool::with_workers(2)?;
//! // Every worker reads the same megabyte. Slices of it travel like the whole.
//! let halves = [text.slice(..1 << 19), text.slice(1 << 19..)];
//! let counts = pool.map(count, halves.map(|half| (half, b'x'))).await?;
//! assert_eq!(counts, [1 << 19, 1 << 19]);
//! # Ok(())
//! # }
//! ```
//!
//! # Lifetime
//!
//! The memory is anonymous (`memfd_create(2)`): it has no name in any file system. The kernel frees it when its last
//! holder drops it or ends, also by `SIGKILL`. A message that waits in a queue is a holder.
//!
//! # Descriptors
//!
//! A process has one descriptor open for each memory that it holds, because forwarding the memory takes the descriptor:
//! the kernel makes none from a mapping. Clones and slices share it, in one message too: a thousand slices of one
//! buffer travel with one descriptor. The same memory, received again, is mapped once. A program that holds many
//! thousand buffers puts them into one, or raises `RLIMIT_NOFILE`.
//!
//! # Speed
//!
//! A seal is final, so sealed memory cannot be filled again: every buffer takes fresh pages from the kernel. Their cost
//! is what a large buffer costs. So buffers of half a huge page (1 MiB) and more are in huge pages of 2 MiB, which the
//! kernel makes in a fifteenth of the time. This rounds the size up: 1 MiB takes 2 MiB. Shorter buffers, and all on a
//! machine without a free huge page, are in small pages.
//!
//! No setting is needed for huge pages (`MADV_COLLAPSE`, `madvise(2)`, since Linux 6.1). They are made a little faster
//! where the administrator has written `advise` to `/sys/kernel/mm/transparent_hugepage/shmem_enabled`.
//!
//! All pages are made at once by `zeroed`, so writing and reading them later causes no fault for want of memory. Making
//! 64 MiB takes some milliseconds: on a runtime's thread, use `spawn_blocking` for more than that.
//!
//! # Trust
//!
//! What arrives is checked before it is mapped. A file, memory without the right seals, with missing pages, or
//! shorter than it says is an error of that message; so `SIGBUS` does not reach the receiver. No process can change a
//! [`SharedBuf`]. The other two can be written by every process that has had them. Take them from processes that you
//! trust, or [`freeze`](SharedBufMut::freeze) a [`SharedBufMut`] before you read it, so that no other process still
//! writes.
//!
//! # Implementation
//!
//! The types here are thin. `sys` makes, maps, checks and seals the memory. Runs in every process. Must stay true: a
//! value holds its memory, its descriptor and its mapping together; `known` has no memory that no value holds. Never
//! here: how descriptors travel, which is the codec's.

mod buf;
mod buf_mut;
mod known;
mod shared;
mod slice;

pub use crate::sys::atomics::{AtomicLayout, Atomics};
pub use buf::SharedBuf;
pub use buf_mut::SharedBufMut;
pub use shared::Shared;
pub use slice::SharedSlice;
