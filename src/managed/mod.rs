//! One state in a process of its own, and handles on it in any number of processes.
//!
//! # Design
//!
//! The state lives in the only worker of a pool, which holds it as the workers of a [`StatePool`](crate::StatePool)
//! hold theirs (`task/state_slot.rs`). So there is one mechanism: starting the process, running a call, order, limits,
//! and what a death at any moment means are the pool's. The pool lives where the state was made, at *home*.
//!
//! ```text
//! home: handle ──▶ engine (the pool) ──▶ worker with the state
//!                    ▲
//!                  relay ◀── queue of connections, and a pipe each ◀── handle in another process
//! ```
//!
//! A handle at home submits its calls to the pool. A handle that has travelled is the sending end of a queue at home.
//! At its first call it makes a pipe and sends one end of it through the queue. From then on its calls are messages in
//! that pipe (`connection`). The relay at home passes them on to the pool in order, without knowing their types
//! (`relay`).
//!
//! A read goes the same way, but the worker's thread lends the state to another thread, and its answer comes through a
//! queue of its own (`reads`).
//!
//! | who dies | what follows |
//! |---|---|
//! | a caller, at any moment | its pipe ends; what it had asked for and was not begun is removed |
//! | the state's process | its one call, or the reads that it runs, fail with the cause; then the pool ends, and all calls fail, or it starts another process for the calls that were not begun |
//! | the home | the state's process dies with it; queue and pipes end, so every call elsewhere fails |
//!
//! The handles hold sending ends of the queue, wherever they are: in a process, in an argument, in another queue. When
//! the last is gone, the queue ends, and the relay shuts the pool down, in whose orderly end the state is dropped.
//!
//! Must stay true: a dropped call never ends the process, which belongs to other callers too; calls of one process are
//! begun in the order in which they were first polled.

mod away_call;
mod builder;
mod call;
mod connection;
mod engine;
mod handle;
mod home;
#[expect(clippy::module_inception, reason = "the state itself")]
mod managed;
mod messages;
mod reads;
mod relay;
mod relayed_result;
mod state_thread;
mod stream;

pub use builder::{ManagedBuilder, ManagedSpawn};
pub use call::ManagedCall;
pub use managed::Managed;
pub use stream::ManagedStream;
