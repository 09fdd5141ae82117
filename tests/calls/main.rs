//! Which functions can be called in another process, and which values can be carried. One file for each topic.
//!
//! This file has what several topics use.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "arguments of tasks are owned values"
)]

#[path = "../deadline/mod.rs"]
mod deadline;
#[path = "../leftovers/mod.rs"]
mod leftovers;

mod functions;
mod sizes;
mod values;

use crate::deadline::within;

/// The result of `f` in a process of its own.
pub(crate) async fn call<F, M, A>(f: F, args: A) -> F::Output
where
    F: procession::Task<M, A>,
{
    within(procession::spawn(f, args)).await.unwrap()
}

mod plain {
    pub(crate) fn none() -> &'static str {
        "no arguments"
    }

    pub(crate) fn add(a: u64, b: u64) -> u64 {
        a + b
    }

    pub(crate) const fn negated(n: i64) -> i64 {
        -n
    }

    pub(crate) fn nothing_comes_back(_: u8) {}
}

pub(crate) fn same<T>(value: T) -> T {
    value
}
