//! The runtimes a program may have.

use tokio::runtime::{Builder, Runtime};

use crate::work::WORKERS;

/// Runs `future` on a runtime that is this thread only: the least a wake-up can cost.
pub(crate) fn on_this_thread<T>(future: impl Future<Output = T>) -> T {
    built(&mut Builder::new_current_thread()).block_on(future)
}

/// Runs `future` as a task of a runtime with a thread per CPU, where a server's handlers run.
pub(crate) fn on_many<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    as_task(&built(&mut Builder::new_multi_thread()), future)
}

/// The same with only as many blocking threads as a pool has workers, instead of tokio's 512.
pub(crate) fn on_many_with_few_blocking<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> T {
    as_task(
        &built(Builder::new_multi_thread().max_blocking_threads(WORKERS)),
        future,
    )
}

fn built(builder: &mut Builder) -> Runtime {
    builder
        .enable_all()
        .build()
        .expect("a runtime needs little: a few descriptors and threads")
}

fn as_task<T: Send + 'static>(
    runtime: &Runtime,
    future: impl Future<Output = T> + Send + 'static,
) -> T {
    runtime
        .block_on(async { tokio::spawn(future).await })
        .expect("a contender's panic ends its process with the text that it printed")
}
