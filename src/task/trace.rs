//! The trace context of the running task.
//!
//! Runs in the child.

use std::sync::PoisonError;

use super::running;
use super::traceparent::Traceparent;

/// Records the trace context of the task that this thread runs from now on; in a process with one lane, that the
/// process runs.
pub(crate) fn enter_trace(traceparent: Option<Traceparent>) {
    let current = &running::current().trace;
    *current.lock().unwrap_or_else(PoisonError::into_inner) = traceparent;
}

/// The trace context that the caller gave to the running task with [`Run::traceparent`](crate::Run::traceparent).
///
/// `None` if the caller gave none, and outside a task. Tracing libraries make a parent of it for the spans of this
/// process: it is the value of the header `traceparent` of the [W3C's Trace
/// Context](https://www.w3.org/TR/trace-context/), which is not read here.
///
/// ```
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = procession::Pool::with_workers(1)?;
/// let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let seen = pool.run(procession::task::traceparent, ()).traceparent(parent).await?;
/// assert_eq!(seen.as_deref(), Some(parent));
/// # Ok(())
/// # }
/// ```
pub fn traceparent() -> Option<String> {
    let current = &running::current().trace;
    let current = current.lock().unwrap_or_else(PoisonError::into_inner);
    current.as_ref().map(|it| it.text().to_owned())
}
