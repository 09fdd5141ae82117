//! How far a process has come, seen by everybody who holds a handle on it.

use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::abort::Abort;
use crate::spawn::SignalHandle;

/// How a process ended: its status, or why it never started.
pub(super) type End = Result<ExitStatus, Arc<str>>;

/// The state shared by a process's handles and the task that attends to it.
#[derive(Debug)]
pub(super) struct Stage {
    state: Mutex<State>,
    end: watch::Sender<Option<End>>,
}

#[derive(Debug)]
struct State {
    signal_handle: Option<Arc<SignalHandle>>,
    aborted: bool,
    /// Signals that were sent before there was a process to take them.
    early: Vec<i32>,
}

impl Stage {
    pub(super) fn new() -> Self {
        let state = State {
            signal_handle: None,
            aborted: false,
            early: Vec::new(),
        };
        Self {
            state: Mutex::new(state),
            end: watch::Sender::new(None),
        }
    }

    /// The process has started.
    pub(super) fn start(&self, signal_handle: Arc<SignalHandle>) {
        let mut state = self.lock();
        if state.aborted {
            signal_handle.kill();
        }
        for signal in state.early.drain(..) {
            signal_handle.signal(signal);
        }
        state.signal_handle = Some(signal_handle);
    }

    /// The process has ended, or will never start. The first word counts.
    pub(super) fn end(&self, end: End) {
        self.end.send_if_modified(|known| {
            let news = known.is_none();
            if news {
                *known = Some(end);
            }
            news
        });
    }

    pub(super) fn watch_end(&self) -> watch::Receiver<Option<End>> {
        self.end.subscribe()
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.lock()
            .signal_handle
            .as_ref()
            .map(|signal_handle| signal_handle.pid())
    }

    pub(super) fn was_aborted(&self) -> bool {
        self.lock().aborted
    }

    pub(super) fn signal(&self, signal: i32) {
        let mut state = self.lock();
        match &state.signal_handle {
            Some(signal_handle) => signal_handle.signal(signal),
            None => state.early.push(signal),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Abort for Stage {
    fn abort(&self) {
        let mut state = self.lock();
        if self.end.borrow().is_some() {
            return;
        }
        state.aborted = true;
        if let Some(signal_handle) = &state.signal_handle {
            signal_handle.kill();
        }
    }

    fn is_finished(&self) -> bool {
        self.end.borrow().is_some()
    }
}
