//! Reaping forked children that nobody waits for any more.
//!
//! One thread, started when it is first needed and kept: what it waits for was killed, or will kill
//! itself, so each takes a moment only.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::sys::signal;
use crate::transfer::control::{ControlSocket, Either};
use crate::transfer::messages::{FromChild, FromWorker};

/// What the reaper waits for.
#[derive(Debug)]
enum Orphan {
    /// A child that was killed.
    Killed(u32),
    /// A child that a fork server was asked for, of which nobody knows yet whether it exists. It ends by
    /// itself when this end of its control socket is closed.
    Expected(Arc<ControlSocket>),
}

static REAPER: Mutex<Option<Sender<Orphan>>> = Mutex::new(None);

/// Reaps the child `pid`, which was killed, when it has ended.
pub(super) fn reap(pid: u32) {
    if !matches!(signal::try_reap(pid), Ok(None)) {
        return; // it was quick, or somebody else's
    }
    send(Orphan::Killed(pid));
}

/// Reaps the child `pid`, which may live long, when it has ended: on a thread of its own.
pub(super) fn reap_alone(pid: u32) {
    if !matches!(signal::try_reap(pid), Ok(None)) {
        return;
    }
    // Without a thread a zombie is left, until this process's own end.
    let _ = thread::Builder::new()
        .name("procession-reap".to_owned())
        .spawn(move || signal::reap(pid));
}

/// Waits for the child at the other end of `control`, if there will be one, and sees it go.
pub(super) fn expect(control: Arc<ControlSocket>) {
    send(Orphan::Expected(control));
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
    let started = thread::Builder::new()
        .name("procession-reap".to_owned())
        .spawn(move || run(&orphans));
    if started.is_ok() {
        // The thread has the other end.
        let _ = sender.send(orphan);
        *reaper = Some(sender);
    }
    // Without a thread a zombie is left, until this process's own end.
}

fn run(orphans: &Receiver<Orphan>) {
    while let Ok(orphan) = orphans.recv() {
        match orphan {
            Orphan::Killed(pid) => drop(signal::reap(pid)),
            Orphan::Expected(control) => see_off(&control),
        }
    }
}

/// How many messages of a newborn may be unreadable (a full descriptor table) before it is given up.
const UNREADABLE: usize = 4;

fn see_off(control: &ControlSocket) {
    for _ in 0..UNREADABLE {
        match control.recv() {
            Ok(Some((Either::Left(FromChild::Forked { pid }), _))) => {
                let _ = signal::send_to_group(pid, libc::SIGKILL);
                let _ = signal::send(pid, libc::SIGKILL);
                let _ = signal::reap(pid);
                return;
            }
            Ok(Some((
                Either::Left(FromChild::Refused(_))
                | Either::Right(
                    FromWorker::Blob { .. }
                    | FromWorker::Forget { .. }
                    | FromWorker::Attachments { .. },
                ),
                _,
            )))
            | Err(_) => {}
            Ok(None) => return,
        }
    }
}
