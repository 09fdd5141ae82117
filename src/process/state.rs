//! The state of one process, shared by its handles and its supervisor.
//!
//! Lives in the parent. Must stay true: the first end that is reported is the process's end; a signal that is sent
//! before the process has started reaches it at its start.

use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use futures::future::Shared;
use tokio::sync::oneshot;

use crate::abort::Abort;
use crate::spawn::SignalHandle;
use crate::sys::process_mark::ProcessMark;

/// How a process ended: its status, or why it has none.
pub(super) type ProcessEnd = Result<ExitStatus, Arc<str>>;

/// Resolves to the end of a process. An error says that nothing observes the process any more.
pub(super) type EndReceiver = Shared<oneshot::Receiver<ProcessEnd>>;

#[derive(Debug)]
pub(super) struct ProcessState {
    lifecycle: Mutex<Lifecycle>,
    end: EndReceiver,
    /// The process that supervises it.
    mark: ProcessMark,
}

#[derive(Debug)]
struct Lifecycle {
    target: SignalTarget,
    aborted: bool,
    /// `None` after the end of the process.
    end: Option<oneshot::Sender<ProcessEnd>>,
}

/// Where signals go.
#[derive(Debug)]
enum SignalTarget {
    /// Signals wait for the start of the process.
    Queue(Vec<i32>),
    Process(Arc<SignalHandle>),
}

impl ProcessState {
    pub(super) fn new() -> Self {
        let (sender, receiver) = oneshot::channel();
        Self {
            lifecycle: Mutex::new(Lifecycle {
                target: SignalTarget::Queue(Vec::new()),
                aborted: false,
                end: Some(sender),
            }),
            end: receiver.shared(),
            mark: ProcessMark::here(),
        }
    }

    /// The process that supervises it.
    pub(super) fn mark(&self) -> ProcessMark {
        self.mark
    }

    /// The process has started. Sends it the signals that waited.
    pub(super) fn start(&self, signal_handle: Arc<SignalHandle>) {
        let mut lifecycle = self.lock();
        if lifecycle.aborted {
            signal_handle.kill();
        }
        if let SignalTarget::Queue(signals) = &lifecycle.target {
            for signal in signals {
                signal_handle.signal(*signal);
            }
        }
        lifecycle.target = SignalTarget::Process(signal_handle);
    }

    /// The process has ended, or will never start. Does nothing if an end was reported before.
    pub(super) fn report_end(&self, end: ProcessEnd) {
        let sender = self.lock().end.take();
        // Sent outside the lock, because it wakes tasks. No receiver is left if no handle is.
        if let Some(sender) = sender {
            let _ = sender.send(end);
        }
    }

    /// A future of the end of the process.
    pub(super) fn end(&self) -> EndReceiver {
        self.end.clone()
    }

    /// The process's id; `None` before the start.
    pub(super) fn pid(&self) -> Option<u32> {
        match &self.lock().target {
            SignalTarget::Queue(_) => None,
            SignalTarget::Process(signal_handle) => Some(signal_handle.pid()),
        }
    }

    pub(super) fn was_aborted(&self) -> bool {
        self.lock().aborted
    }

    pub(super) fn signal(&self, signal: i32) {
        match &mut self.lock().target {
            SignalTarget::Queue(signals) => signals.push(signal),
            SignalTarget::Process(signal_handle) => signal_handle.signal(signal),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lifecycle> {
        self.lifecycle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Abort for ProcessState {
    fn abort(&self) {
        let mut lifecycle = self.lock();
        if lifecycle.end.is_none() {
            return;
        }
        lifecycle.aborted = true;
        if let SignalTarget::Process(signal_handle) = &lifecycle.target {
            signal_handle.kill();
        }
    }

    fn is_finished(&self) -> bool {
        self.lock().end.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report_failed_start(state: &ProcessState, why: &str) {
        state.report_end(Err(why.into()));
    }

    #[test]
    fn first_reported_end_counts() {
        let state = ProcessState::new();
        let early = state.end();
        assert!(!state.is_finished());
        report_failed_start(&state, "first");
        report_failed_start(&state, "second");
        assert!(state.is_finished());
        for end in [early, state.end()] {
            let end = end.now_or_never().expect("it has ended");
            assert_eq!(&*end.unwrap().unwrap_err(), "first");
        }
    }

    #[test]
    fn abort_after_the_end_is_ignored() {
        let state = ProcessState::new();
        report_failed_start(&state, "it never started");
        state.abort();
        assert!(!state.was_aborted());
    }

    #[test]
    fn end_of_a_dropped_state_is_an_error() {
        let state = ProcessState::new();
        let end = state.end();
        drop(state);
        assert!(end.now_or_never().is_some_and(|end| end.is_err()));
    }
}
