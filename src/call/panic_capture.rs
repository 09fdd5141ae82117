//! What a panicking task said.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

use crate::codec::codec;
use crate::error::PanicReport;
use crate::sys::text;

/// Longer messages and backtraces are cut, in bytes: a report must fit where a small result fits.
const LONGEST_TEXT: usize = 16 * 1024;

thread_local! {
    static LAST: RefCell<Option<PanicReport>> = const { RefCell::new(None) };
}

/// Makes every panic of this process leave a report, before the hook that was there runs.
///
/// Once: a process that is a copy of one that did has it already.
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
    }));
}

/// What was said by the panic whose payload this is, the last of this thread.
#[cold]
pub(crate) fn report_of(payload: Box<dyn Any + Send>) -> PanicReport {
    let message = cut(codec::panic_text(&*payload));
    // One that was resumed did not pass the hook, which may have seen another one before.
    let seen = LAST.take().filter(|report| report.message == message);
    let report = seen.unwrap_or_else(|| PanicReport {
        message,
        location: "an unknown place".to_owned(),
        backtrace: None,
    });
    // Dropping a payload may panic again. That one says nothing new.
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
    let mut kept = text::prefix(text, LONGEST_TEXT).to_owned();
    if kept.len() < text.len() {
        kept.push_str(" …");
    }
    kept
}
