//! The report of a panic: message, place and backtrace.
//!
//! Runs in the worker. Place and backtrace are known to the panic hook only, and the payload only to `catch_unwind`; so
//! a hook leaves a report in a thread-local, and the executor takes it when it has caught the payload.
//!
//! A panic that aborts the process reaches no `catch_unwind`: the build has `panic = "abort"`, or the panic comes to a
//! function that cannot unwind. Then the hook leaves the report in the request ring.
//!
//! Must stay true: a hook that the application has set runs as well; a report that belongs to another panic is not
//! used.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::{Mutex, Once, PoisonError};

use crate::codec::codec;
use crate::error::PanicReport;
use crate::ring::Ring;
use crate::sys::{exit_cause, text};

/// Longer messages and backtraces are cut, in bytes: a report must fit a frame.
const LONGEST_PANIC_TEXT: usize = 16 * 1024;

/// The bytes that the length of a text takes, and more.
const ROOM_FOR_LENGTHS: usize = 16;

thread_local! {
    /// The report of this thread's last panic.
    static LAST: RefCell<Option<PanicReport>> = const { RefCell::new(None) };

    /// The request ring of the lane whose tasks this thread runs, if it is not the first of its worker.
    static RING_OF_LANE: RefCell<Option<Ring>> = const { RefCell::new(None) };
}

/// The request ring of this process, in which the report of a panic that aborts is left.
static RING: Mutex<Option<Ring>> = Mutex::new(None);

/// What the standard library says of a second panic, which comes where the first could not unwind further.
const CANNOT_UNWIND: [&str; 2] = [
    "panic in a function that cannot unwind",
    "panic in a destructor during cleanup",
];

/// Leaves reports of panics that abort in the request ring `ring` from here on, or nowhere.
pub(crate) fn leave_reports_in(ring: Option<Ring>) {
    *RING.lock().unwrap_or_else(PoisonError::into_inner) = ring;
}

/// Leaves reports of panics of this thread that abort in the request ring `ring` of its lane.
pub(crate) fn leave_lane_reports_in(ring: Ring) {
    RING_OF_LANE.set(Some(ring));
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
        let first = LAST.try_with(|last| last.borrow_mut().take());
        let cannot_unwind = CANNOT_UNWIND.contains(&&*report.message);
        let report = match first {
            Ok(Some(first)) if cannot_unwind => first,
            _ => report,
        };
        if cannot_unwind || cfg!(panic = "abort") {
            leave(&report);
        }
        let _ = LAST.try_with(|last| *last.borrow_mut() = Some(report));
        previous(info);
        // A runtime panics without its descriptors, also on threads that no task waits for.
        exit_cause::end_if_disconnected();
    }));
}

/// Leaves the report for the parent, as far as there is room for it.
#[cold]
fn leave(report: &PanicReport) {
    let of_lane = RING_OF_LANE.try_with(|ring| ring.borrow().clone());
    if let Ok(Some(ring)) = of_lane {
        return leave_in(&ring, report);
    }
    // Another thread that panics at the same time leaves its report.
    if let Ok(ring) = RING.try_lock() {
        ring.iter().for_each(|ring| leave_in(ring, report));
    }
}

fn leave_in(ring: &Ring, report: &PanicReport) {
    let longest = ring.room_aside() / 3;
    let short = |text: &str| text::prefix(text, longest - ROOM_FOR_LENGTHS).to_owned();
    let report = PanicReport {
        message: short(&report.message),
        location: short(&report.location),
        backtrace: report.backtrace.as_deref().map(short),
    };
    let mut bytes = Vec::new();
    if codec::encode_to_vec(&report, &mut bytes).is_ok() {
        ring.leave_aside(&bytes);
    }
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
