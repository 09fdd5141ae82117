//! The Tokio runtime on which a child runs `async` tasks.
//!
//! Runs in the child. Must stay true: a child has at most one such runtime.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};

use crate::sys::exit_cause;

// Built by the first async task of a child, and kept. Its one thread drives what tasks leave behind, such as a
// connection or a pool in a static, also while no task runs. Tasks themselves run on the thread of all tasks, so
// their futures need not be `Send`.
static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// Runs the future of `start` to its end, on this thread.
///
/// Ends this process if the future waits after it has closed the process's descriptors: the runtime's are among them, so
/// nothing would wake it.
pub(super) fn block_on<F: Future>(start: impl FnOnce() -> F) -> F::Output {
    RUNTIME.get_or_init(build).block_on(async {
        let mut task = pin!(start());
        poll_fn(|cx| {
            let polled = task.as_mut().poll(cx);
            if polled.is_pending() {
                exit_cause::end_if_disconnected();
            }
            polled
        })
        .await
    })
}

#[allow(clippy::expect_used)]
fn build() -> Runtime {
    // A panic here is a panic of the task: it is reported to the caller with this message.
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("procession-async")
        .enable_all()
        .build()
        .expect("procession: no Tokio runtime could be built for an async task")
}
