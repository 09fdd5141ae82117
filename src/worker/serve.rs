//! What runs in a worker.
//!
//! The main thread watches the control socket: its end is the parent's end, and then this process and
//! all it started go too, whatever the other thread is doing. That thread runs the tasks. When it is told to
//! stop, the main thread ends the process: `exit` destroys the thread-locals of the thread that calls it
//! (glibc's `__call_tls_dtors`), and those of the tasks may wait for ever, as a runtime does for a
//! blocking call.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::forking;
use super::launch::{exactly, standard};
use crate::ring::{Consumer, Producer, Ring};
use crate::sys::bell::Bell;
use crate::sys::{child, fork, hook, image, mapping};
use crate::task::envelope::RING_BYTES;
use crate::task::execution::{Execution, Next};
use crate::task::outgoing::Outgoing;
use crate::task::{self, Identity, capture};
use crate::wire::control::{ControlSocket, Greeting, Message, Role};
use crate::wire::parcel::Arrivals;

/// The stack of the thread that runs tasks, in bytes: what a main thread has by default. Only what is
/// touched takes memory.
const STACK: usize = 8 << 20;

/// The exit status of a child that could not become a worker (`EX_SOFTWARE` of `sysexits.h`).
const FAILED: i32 = 70;

/// Becomes what the parent at the other end of standard slot `slot` wants, and never returns.
pub(crate) fn serve(slot: u32) -> ! {
    match try_serve(slot) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("procession: this process was started as a child and cannot be one: {error}");
            std::process::exit(FAILED)
        }
    }
}

fn try_serve(slot: u32) -> io::Result<std::convert::Infallible> {
    child::fill_standard_slots()?;
    if !child::is_control_socket(standard(slot)) {
        return Err(io::Error::other(format!(
            "{} is set, but nobody is there; unset it",
            hook::CHILD
        )));
    }
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    let control = ControlSocket::new(child::take_slot(slot, null.as_fd())?);
    drop(null);
    hook::forget();
    become_what_is_wanted(control)
}

fn become_what_is_wanted(control: ControlSocket) -> io::Result<std::convert::Infallible> {
    let Some((Message::Hello(greeting), fds)) = control.receive(true)? else {
        // The parent ended before it could say anything.
        std::process::exit(0)
    };
    if greeting.fingerprint != image::fingerprint() {
        return Err(io::Error::other("the parent is a different program"));
    }
    match greeting.role {
        Role::Courier => give_streams_back(&control),
        Role::Worker => work(*greeting, fds, control),
        // What comes back is a copy of this process, with another socket.
        Role::ForkServer => {
            let control = match fds.is_empty() {
                true => control,
                false => prepare(fds, control)?,
            };
            forking::settle(&control);
            become_what_is_wanted(forking::tend(control)?)
        }
    }
}

fn give_streams_back(control: &ControlSocket) -> ! {
    let sent = control.send(&Message::Streams, &[standard(0)]);
    std::process::exit(if sent.is_ok() { 0 } else { FAILED })
}

fn work(
    greeting: Greeting,
    mut fds: Vec<OwnedFd>,
    control: ControlSocket,
) -> io::Result<std::convert::Infallible> {
    let streams = fds.split_off(fds.len().min(2));
    for (slot, stream) in greeting.streams.iter().zip(&streams) {
        child::put_slot(*slot, stream.as_fd())?;
    }
    drop(streams);
    let control = Arc::new(control);
    let execution = execution(fds, &control)?;
    // Refused only for making it less nice without the right to: then it stays as it is.
    let _ = child::be_nice(greeting.priority);
    child::be_called(greeting.name.as_deref().unwrap_or("procession"));
    task::be(Identity {
        name: greeting.name,
        parent: greeting.parent,
        pool: greeting.pool,
        number: greeting.number,
    });
    capture::install();
    let arrivals = execution.arrivals();
    let parcels = execution.parcels();
    let leaving = Arc::new(AtomicBool::new(false));
    thread::Builder::new()
        .name("procession".to_owned())
        .stack_size(STACK)
        .spawn({
            let (control, leaving) = (Arc::clone(&control), Arc::clone(&leaving));
            move || run(execution, &control, &leaving)
        })?;
    watch(&control, &arrivals, &parcels, &leaving)
}

/// The execution of what is in the rings in `fds`.
fn execution(fds: Vec<OwnedFd>, control: &Arc<ControlSocket>) -> io::Result<Execution> {
    let [memory, bell] = exactly(fds)?;
    let ring = Ring::footprint(RING_BYTES);
    if mapping::sealed_len(&memory)? < 2 * ring {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    let requests = Consumer::new(Ring::map(&memory, 0, RING_BYTES)?);
    let replies = Producer::new(Ring::map(&memory, ring, RING_BYTES)?);
    let control = Arc::clone(control);
    Ok(Execution::new(requests, replies, Bell::from(bell), control))
}

/// Runs a fork server's preparation, on the one thread it may have.
fn prepare(fds: Vec<OwnedFd>, control: ControlSocket) -> io::Result<ControlSocket> {
    let control = Arc::new(control);
    let mut execution = execution(fds, &control)?;
    capture::install();
    let (arrivals, parcels) = (execution.arrivals(), execution.parcels());
    // What goes with the requests came before; the word that it is complete is the last.
    loop {
        match control.receive(true)? {
            Some((Message::Ready, _)) => break,
            Some((message, fds)) => obey(&message, fds, &control, &arrivals, &parcels),
            None => fork::quit(0),
        }
    }
    let tether = fork::Tether::new(&*control)?;
    loop {
        match execution.next().map_err(io::Error::other)? {
            Next::Run(enter) => enter(&mut execution),
            Next::Stop => break,
        }
    }
    drop(tether);
    drop(execution);
    Arc::into_inner(control).ok_or_else(|| io::Error::other("its control socket is in use"))
}

fn run(mut execution: Execution, control: &ControlSocket, leaving: &AtomicBool) -> ! {
    loop {
        match execution.next() {
            Ok(Next::Run(enter)) => enter(&mut execution),
            Ok(Next::Stop) => leave(control, leaving),
            Err(corrupt) => {
                eprintln!("procession: {corrupt}");
                std::process::exit(FAILED)
            }
        }
    }
}

/// Has the main thread end this process.
fn leave(control: &ControlSocket, leaving: &AtomicBool) -> ! {
    leaving.store(true, Ordering::Release);
    if control.stop_receiving().is_err() {
        std::process::exit(0); // nobody is at the other end any more
    }
    loop {
        thread::park();
    }
}

/// Listens to the parent until it is gone, and then goes with everything in this group; or until the other
/// thread is done, and then ends this process.
fn watch(
    control: &ControlSocket,
    arrivals: &Arrivals,
    parcels: &Outgoing,
    leaving: &AtomicBool,
) -> ! {
    loop {
        match control.receive(true) {
            Ok(Some((message, fds))) => obey(&message, fds, control, arrivals, parcels),
            Ok(None) if leaving.load(Ordering::Acquire) => std::process::exit(0),
            // A message that could not be received whole (a full descriptor table): whoever waits
            // for what it carried must not wait for ever.
            Ok(None) | Err(_) => child::kill_own_group(),
        }
    }
}

fn obey(
    message: &Message,
    fds: Vec<OwnedFd>,
    control: &ControlSocket,
    arrivals: &Arrivals,
    parcels: &Outgoing,
) {
    match *message {
        Message::Parcel { id } => {
            let mapped = fds
                .first()
                .is_some_and(|memory| arrivals.add(id, memory).is_ok());
            if !mapped {
                child::kill_own_group(); // or the task would wait for it for ever
            }
        }
        Message::Baggage { id } => arrivals.add_baggage(id, fds),
        Message::Forget { id } => arrivals.remove(id),
        Message::Returned { id } => forget(control, parcels.came_back(id)),
        Message::Lost { id } => parcels.is_lost(id),
        Message::Trim => forget(control, parcels.give_up()),
        Message::Cancel { task } => task::cancel_current(task),
        Message::Hello(_)
        | Message::Streams
        | Message::Fork(_)
        | Message::Born { .. }
        | Message::Refused(_)
        | Message::Ready => {}
    }
}

/// Tells the parent that these parcels will not be used again.
fn forget(control: &ControlSocket, ids: impl IntoIterator<Item = u64>) {
    for id in ids {
        // Not sent: the parent keeps an unused mapping a while longer.
        let _ = control.send(&Message::Forget { id }, &[]);
    }
}
