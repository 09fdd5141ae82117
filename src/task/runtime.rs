//! The runtime on which a child runs `async` tasks.

use std::cell::OnceCell;
use std::rc::Rc;

use tokio::runtime::{Builder, Runtime};

thread_local! {
    // One per worker, made by its first async task and kept: background tasks go on whenever an
    // async task runs.
    static RUNTIME: OnceCell<Rc<Runtime>> = const { OnceCell::new() };
}

/// Runs the future that `start` makes to its end, on this thread.
pub(super) fn block_on<F: Future>(start: impl FnOnce() -> F) -> F::Output {
    let runtime = RUNTIME.with(|cell| Rc::clone(cell.get_or_init(|| Rc::new(build()))));
    runtime.block_on(async { start().await })
}

#[allow(clippy::expect_used)]
fn build() -> Runtime {
    // A panic here is a panic of the task: it is reported to the caller with this message.
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("procession: no Tokio runtime could be built for an async task")
}
