//! The report of a panic: message, place and backtrace.
//!
//! Runs in the worker. Place and backtrace are known to the panic hook only, and the payload only to `catch_unwind`; so
//! a hook leaves a report in a thread-local, and the executor takes it when it has caught the payload.
//!
//! Must stay true: a hook that the application has set runs as well; a report that belongs to another panic is not
//! used.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

use crate::codec::codec;
use crate::error::PanicReport;
use crate::sys::{exit_cause, text};

/// Longer messages and backtraces are cut, in bytes: a report must fit a frame.
const LONGEST_PANIC_TEXT: usize = 16 * 1024;

thread_local! {
    /// The report of this thread's last panic.
    static LAST: RefCell<Option<PanicReport>> = const { RefCell::new(None) };
}

/// Makes every panic of this process leave a report, before the previous hook runs.
///
/// Does nothing in a forked process whose fork server has done it.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(add_hook);
}

fn add_hook() {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let report = report(info);
        let _ = LAST.try_with(|last| *last.borrow_mut() = Some(report));
        previous(info);
        // A runtime panics without its descriptors, also on threads that no task waits for.
        exit_cause::end_if_disconnected();
    }));
}

/// The report of the panic with this payload, which is the last of this thread.
#[cold]
pub(crate) fn report_of(payload: Box<dyn Any + Send>) -> PanicReport {
    let message = cut(codec::panic_text(&*payload));
    // A panic that was resumed (`resume_unwind`) did not run the hook: then the last report is that of another panic.
    let seen = LAST.take().filter(|report| report.message == message);
    let report = seen.unwrap_or_else(|| PanicReport {
        message,
        location: "an unknown place".to_owned(),
        backtrace: None,
    });
    // Dropping the payload may panic. The task's panic is the one to report.
    let _ = catch_unwind(AssertUnwindSafe(move || drop(payload)));
    report
}

fn report(info: &PanicHookInfo<'_>) -> PanicReport {
    let backtrace = Backtrace::capture();
    let captured = backtrace.status() == BacktraceStatus::Captured;
    PanicReport {
        message: cut(codec::panic_text(info.payload())),
        location: info
            .location()
            .map_or_else(|| "an unknown place".to_owned(), ToString::to_string),
        backtrace: captured.then(|| cut(&backtrace.to_string())),
    }
}

fn cut(text: &str) -> String {
    let mut kept = text::prefix(text, LONGEST_PANIC_TEXT).to_owned();
    if kept.len() < text.len() {
        kept.push_str(" …");
    }
    kept
}
