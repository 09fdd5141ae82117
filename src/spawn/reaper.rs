//! Reaping forked children in the background.
//!
//! One thread, started when it is first needed and kept, for all children that were killed. It waits for none of them
//! alone: a child in an uninterruptible system call, or traced by a debugger, delays no other. A child that may come to
//! exist has a thread of its own, because a stopped fork server can delay the answer. Where a thread cannot be started,
//! a zombie stays until this process ends.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::sys::process_mark::PerProcess;
use crate::sys::signal;
use crate::transfer::control::{ControlSocket, Either};
use crate::transfer::messages::{FromChild, FromWorker};

/// How long the reaper waits before it looks again for children that have not ended: at first, and at most. Killed
/// children end at once, unless the kernel or a debugger holds them.
const FIRST_REAP_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_REAP_PAUSE: Duration = Duration::from_millis(500);

static REAPER: PerProcess<Mutex<Option<Sender<u32>>>> = PerProcess::new(|| Mutex::new(None));

/// Reaps the child `pid`, which was killed.
pub(super) fn reap(pid: u32) {
    if is_unreaped(pid) {
        send(pid);
    }
}

/// Reaps the child `pid`, which may live long, on a thread of its own.
pub(super) fn reap_on_own_thread(pid: u32) {
    if is_unreaped(pid) {
        let _ = builder().spawn(move || signal::reap(pid));
    }
}

/// Kills and reaps the child at the other end of `control`, if it comes to exist.
pub(super) fn reap_pending(control: Arc<ControlSocket>) {
    let _ = builder().spawn(move || kill_if_announced(&control));
}

/// Whether `pid` is a child that has not been reaped, after an attempt.
fn is_unreaped(pid: u32) -> bool {
    matches!(signal::try_reap(pid), Ok(None))
}

fn builder() -> thread::Builder {
    thread::Builder::new().name("procession-reap".to_owned())
}

fn send(mut orphan: u32) {
    let mut reaper = REAPER.get().lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(sender) = &*reaper {
        match sender.send(orphan) {
            Ok(()) => return,
            Err(mpsc::SendError(back)) => orphan = back,
        }
    }
    let (sender, orphans) = mpsc::channel();
    if builder().spawn(move || run(&orphans)).is_ok() {
        // The new thread holds the receiver.
        let _ = sender.send(orphan);
        *reaper = Some(sender);
    }
}

fn run(orphans: &Receiver<u32>) {
    let mut killed = Vec::new();
    let mut pause = FIRST_REAP_PAUSE;
    loop {
        let next = match killed.is_empty() {
            true => orphans.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => orphans.recv_timeout(pause),
        };
        match next {
            Ok(pid) => {
                killed.push(pid);
                pause = FIRST_REAP_PAUSE;
            }
            Err(RecvTimeoutError::Timeout) => pause = (2 * pause).min(LONGEST_REAP_PAUSE),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        killed.retain(|pid| is_unreaped(*pid));
    }
}

/// How many messages of a child may be unreadable (a full descriptor table) before it is given up.
const MOST_UNREADABLE_ORPHAN: usize = 4;

fn kill_if_announced(control: &ControlSocket) {
    for _ in 0..MOST_UNREADABLE_ORPHAN {
        match control.recv() {
            Ok(Some((Either::Left(FromChild::Forked { pid }), _))) => {
                signal::kill_group(pid);
                let _ = signal::reap(pid);
                return;
            }
            Ok(Some((Either::Left(FromChild::Refused(_)), _))) | Err(_) => {}
            // The child announces itself first, so this is behind an announcement that was unreadable.
            Ok(Some((
                Either::Right(
                    FromWorker::Ready
                    | FromWorker::Blob { .. }
                    | FromWorker::Forget { .. }
                    | FromWorker::Attachments { .. },
                ),
                _,
            ))) => {}
            Ok(None) => return,
        }
    }
}
