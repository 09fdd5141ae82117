//! What the parent answers a worker that begins nothing more, because it has lost its state.
//!
//! Runs in the worker, where one thread receives the answer and another waits for it. Before the answer the worker
//! releases no request: the parent must find the requests that it revokes.

use std::sync::{Condvar, Mutex, PoisonError};

/// Whether a call follows, once there is an answer.
static ANSWER: Mutex<Option<bool>> = Mutex::new(None);
static ANSWERED: Condvar = Condvar::new();

/// The parent has revoked all requests. `follows` says whether it sends one more call.
pub(crate) fn give(follows: bool) {
    *ANSWER.lock().unwrap_or_else(PoisonError::into_inner) = Some(follows);
    ANSWERED.notify_all();
}

/// Takes the answer. Blocks until it has come.
pub(crate) fn wait() -> bool {
    let mut answer = ANSWER.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(follows) = answer.take() {
            return follows;
        }
        answer = ANSWERED
            .wait(answer)
            .unwrap_or_else(PoisonError::into_inner);
    }
}
