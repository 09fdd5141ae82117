//! Functions that look at the state, beside each other.
//!
//! A read goes through the pool as a call does, so it is begun in the order of its caller, after the calls before it
//! and before the calls behind it. In the state's process the state's thread does not run it: it lends the state to one
//! of a few threads (`read_threads`), says that the read has begun (`begin`), and takes the next request. A call, which
//! changes the state, waits for what is lent (`sys/thread_value.rs`). So a stream of reads cannot keep a call from
//! running: those behind it wait for it.
//!
//! ```text
//! home: read ──▶ engine ──▶ state's thread ── lends ──▶ thread ── answer ──▶ queue ──▶ home: pending reads ──▶ read
//!                    ◀── has begun ──┘
//! ```
//!
//! The answer of a read comes through a queue, because a worker replies in the order of its requests. When the state's
//! process dies, `pending_reads` takes what is left in the queue, and then fails the reads that had begun there with
//! the cause.
//!
//! Must stay true: a read that has begun gets its answer, or the cause of the loss of its process, and never both; the
//! state is not changed while it is lent. Never here: a read of a state that is not `Sync` on another thread.

mod begin;
pub(super) mod pending_reads;
mod read_answer;
mod read_call;
mod read_threads;

pub(super) use begin::OpenWithReads;
pub(super) use read_call::{EngineRead, ReadCall};
