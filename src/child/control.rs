//! Handling the messages that a worker or single-task process receives.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::call::executor::Executor;
use crate::call::result_blobs::ResultBlobs;
use crate::sys::{exit_cause, signal};
use crate::task;
use crate::transfer::cached_values;
use crate::transfer::control::ControlSocket;
use crate::transfer::lane::Lane;
use crate::transfer::leave_answer;
use crate::transfer::mapped_blobs::MappedBlobs;
use crate::transfer::messages::{FromWorker, ToWorker};

/// A message that was received, and its descriptors.
pub(super) type ReceivedMessage = (ToWorker, Vec<OwnedFd>);

/// Handles messages until all blobs and attachments of the requests in the ring have arrived. False if the parent ended
/// before that.
pub(super) fn recv_until_ready(control: &ControlSocket, executor: &Executor) -> io::Result<bool> {
    loop {
        match control.recv()? {
            Some((ToWorker::Ready, _)) => return Ok(true),
            Some(received) => handle(received, control, executor),
            None => return Ok(false),
        }
    }
}

/// Handles one message.
pub(super) fn handle(received: ReceivedMessage, control: &ControlSocket, executor: &Executor) {
    dispatch(
        received,
        control,
        &executor.blobs(),
        &[executor.result_blobs()],
    );
}

/// Handles one message, with the blobs of the parent and those of this process's lanes.
pub(super) fn dispatch(
    (message, fds): ReceivedMessage,
    control: &ControlSocket,
    blobs: &MappedBlobs,
    results: &[Arc<ResultBlobs>],
) {
    match message {
        ToWorker::Blob { id } => {
            let mapped = fds
                .first()
                .is_some_and(|memory| blobs.add(id, memory).is_ok());
            if !mapped {
                signal::kill_own_group(); // or the task would wait for the blob for ever
            }
        }
        ToWorker::Cached { id, len } => {
            let kept = fds
                .first()
                .is_some_and(|memory| cached_values::add(id, memory, len as usize).is_ok());
            if !kept {
                signal::kill_own_group(); // or the task would wait for the value for ever
            }
        }
        ToWorker::Uncached { id } => cached_values::remove(id),
        ToWorker::Attachments { id } => blobs.add_attachments(id, fds),
        ToWorker::Forget { id } => blobs.remove(id),
        ToWorker::Returned { id } => {
            let of_lane = results.get(Lane::index_of(id));
            forget(control, of_lane.and_then(|it| it.returned(id)));
        }
        ToWorker::Lost { id } => {
            if let Some(of_lane) = results.get(Lane::index_of(id)) {
                of_lane.lost(id);
            }
        }
        ToWorker::Trim => forget(control, results.iter().flat_map(|it| it.trim())),
        ToWorker::Leave { follows } => leave_answer::give(follows),
        ToWorker::Cancel { request, lane } => task::cancel_current(request, lane),
        // Only `recv_until_ready` waits for the one, and only a worker's second thread checks the first.
        ToWorker::Ready | ToWorker::CheckTaskThread => {}
    }
}

/// Tells the parent that these blobs will not be used again.
fn forget(control: &ControlSocket, ids: impl IntoIterator<Item = u64>) {
    for id in ids {
        exit_cause::end_if_disconnected();
        // If this fails, the parent keeps an unused mapping a while longer.
        let _ = control.send(&FromWorker::Forget { id }, &[]);
    }
}
