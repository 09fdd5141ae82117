//! Reaping forked children in the background.
//!
//! One thread, started when it is first needed and kept. Each child it waits for was killed, or exits by itself, so it
//! waits for a moment only. Where the thread cannot be started, a zombie stays until this process ends.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::sys::signal;
use crate::transfer::control::{ControlSocket, Either};
use crate::transfer::messages::{FromChild, FromWorker};

/// A child that the reaper waits for.
#[derive(Debug)]
enum Orphan {
    /// It was killed.
    Killed(u32),
    /// A fork server was asked for it, and may have forked it. Its control socket.
    Pending(Arc<ControlSocket>),
}

static REAPER: Mutex<Option<Sender<Orphan>>> = Mutex::new(None);

/// Reaps the child `pid`, which was killed.
pub(super) fn reap(pid: u32) {
    if is_unreaped(pid) {
        send(Orphan::Killed(pid));
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
    send(Orphan::Pending(control));
}

/// Whether `pid` is a child that has not been reaped, after an attempt.
fn is_unreaped(pid: u32) -> bool {
    matches!(signal::try_reap(pid), Ok(None))
}

fn builder() -> thread::Builder {
    thread::Builder::new().name("procession-reap".to_owned())
}

fn send(mut orphan: Orphan) {
    let mut reaper = REAPER.lock().unwrap_or_else(PoisonError::into_inner);
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

fn run(orphans: &Receiver<Orphan>) {
    while let Ok(orphan) = orphans.recv() {
        match orphan {
            Orphan::Killed(pid) => drop(signal::reap(pid)),
            Orphan::Pending(control) => kill_if_announced(&control),
        }
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
