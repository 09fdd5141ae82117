//! The Tokio runtime on which a child runs `async` tasks.
//!
//! Runs in the child. Must stay true: a child has at most one such runtime.

use std::future::poll_fn;
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, Sleep};

use super::current::cancelled;
use super::running;
use crate::sys::exit_cause;

// Built by the first async task of a child, and kept. Its one thread drives what tasks leave behind, such as a
// connection or a pool in a static, also while no task runs. Tasks themselves run on the thread of all tasks, so
// their futures need not be `Send`.
static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// So many times a future may wait before the descriptors are looked at less often: most tasks wait less often.
const FIRST_WAITS: u32 = 8;

/// Then the descriptors are looked at once in this time, and once after the last wait.
const CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// What a task unwinds with that was asked to stop, after its future was dropped.
#[derive(Debug)]
pub(crate) struct Stopped;

/// Runs the future of `start` to its end, on this thread.
///
/// In a lane of a worker that has several, a future that waits is dropped when its task is asked to stop: to kill the
/// worker would end other tasks. Then this unwinds with [`Stopped`].
///
/// Ends this process if the future waits after it has closed the process's descriptors: the runtime's are among them,
/// so nothing would wake it.
pub(super) fn block_on<F: Future>(start: impl FnOnce() -> F) -> F::Output {
    let is_droppable = cfg!(panic = "unwind") && !running::current().is_of_process();
    let ended = RUNTIME.get_or_init(build).block_on(async {
        let mut task = pin!(start());
        let mut check = DescriptorCheck::default();
        let run = poll_fn(|cx| {
            let polled = task.as_mut().poll(cx);
            if polled.is_pending() {
                check.on_wait(cx);
            }
            polled
        });
        match is_droppable {
            false => Some(run.await),
            true => unless_cancelled(run).await,
        }
    });
    // The future was dropped in the runtime, as its parts may need it.
    ended.unwrap_or_else(|| resume_unwind(Box::new(Stopped)))
}

/// The output of `run`; `None` if the task is asked to stop before.
async fn unless_cancelled<F: Future + Unpin>(mut run: F) -> Option<F::Output> {
    let mut cancelled = pin!(cancelled());
    poll_fn(|cx| match Pin::new(&mut run).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => cancelled.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// Checks whether the descriptors are still there, which is a system call.
///
/// A future that waits often is not checked at each wait. Then a timer is set before it waits, which wakes it for the
/// check. A runtime that has lost its descriptors panics when it sets or waits for a timer, and the panic checks as
/// well.
#[derive(Default)]
struct DescriptorCheck {
    waits: u32,
    timer: Option<Pin<Box<Sleep>>>,
    is_set: bool,
}

impl DescriptorCheck {
    fn on_wait(&mut self, cx: &mut Context<'_>) {
        if self.waits < FIRST_WAITS {
            self.waits += 1;
            return exit_cause::end_if_disconnected();
        }
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(CHECK_INTERVAL)));
        if !self.is_set {
            // First: to set a timer, the runtime may write to a descriptor.
            exit_cause::end_if_disconnected();
            timer.as_mut().reset(Instant::now() + CHECK_INTERVAL);
        }
        // The check after the last wait finds that no timer is needed.
        self.is_set = timer.as_mut().poll(cx).is_pending();
        if !self.is_set {
            exit_cause::end_if_disconnected();
        }
    }
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
