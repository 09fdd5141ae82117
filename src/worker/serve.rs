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
use super::hand::Hand;
use super::launch::{exactly, standard};
use crate::ring::{Consumer, Producer, Ring};
use crate::sys::bell::Bell;
use crate::sys::{child, fork, hook, image, limits, mapping, title};
use crate::task::envelope::{ONCE_BYTES, RING_BYTES};
use crate::task::execution::{Execution, Next};
use crate::task::outgoing::Outgoing;
use crate::task::{self, Identity, capture};
use crate::wire::control::{ControlSocket, Greeting, Message, Role};
use crate::wire::parcel::Arrivals;

/// The exit status of a child that could not become a worker (`EX_SOFTWARE` of `sysexits.h`).
pub(super) const FAILED: i32 = 70;

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
    let null = child::null()?;
    let control = ControlSocket::new(child::take_slot(slot, null.as_fd())?);
    drop(null);
    hook::forget();
    become_what_is_wanted(control, None)
}

fn become_what_is_wanted(
    control: ControlSocket,
    hand: Option<Hand>,
) -> io::Result<std::convert::Infallible> {
    let Some((Message::Hello(greeting), fds)) = control.receive(true)? else {
        // The parent ended before it could say anything.
        std::process::exit(0)
    };
    if greeting.fingerprint != image::fingerprint() {
        return Err(io::Error::other("the parent is a different program"));
    }
    match greeting.role {
        Role::Courier => give_streams_back(&control),
        Role::Worker | Role::Once => work(*greeting, fds, control, hand),
        // What comes back is a copy of this process, with another socket.
        Role::ForkServer => {
            let control = match fds.is_empty() {
                true => control,
                false => prepare(fds, control)?,
            };
            forking::settle(&control);
            let (control, hand) = forking::tend(control)?;
            become_what_is_wanted(control, hand)
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
    hand: Option<Hand>,
) -> io::Result<std::convert::Infallible> {
    let own = match greeting.role {
        Role::Once => 1,
        _ => 2,
    };
    let streams = fds.split_off(fds.len().min(own));
    for (slot, stream) in greeting.streams.iter().zip(&streams) {
        child::put_slot(*slot, stream.as_fd())?;
    }
    drop(streams);
    let control = Arc::new(control);
    let (rings, bell) = match greeting.role {
        Role::Once => (rings_once(fds)?, None),
        _ => rings(fds).map(|(rings, bell)| (rings, Some(bell)))?,
    };
    adapt(&greeting, &rings)?;
    adapt_thread(greeting.priority, &greeting.processors)?;
    let hand = match hand {
        Some(hand) => hand,
        None => Hand::start()?,
    };
    let shift = Arc::new(Shift {
        control: Arc::clone(&control),
        requests: rings[0].clone(),
        watch: thread::current(),
        leaving: AtomicBool::new(false),
        memory_limit: greeting.memory_limit,
        detached: greeting.detached,
    });
    let execution = execution(rings, bell, &control);
    task::be(Identity {
        name: greeting.name,
        parent: greeting.parent,
        pool: greeting.pool,
        number: greeting.number,
    });
    capture::install();
    let arrivals = execution.arrivals();
    let parcels = execution.parcels();
    let working = Arc::clone(&shift);
    hand.give(move || {
        // Whatever is refused now was not refused to the main thread a moment ago.
        let _ = adapt_thread(greeting.priority, &greeting.processors);
        run(execution, &working)
    });
    watch(&shift, &arrivals, &parcels)
}

/// What the two threads of a worker have in common.
#[derive(Debug)]
struct Shift {
    control: Arc<ControlSocket>,
    requests: Ring,
    /// The main thread, which ends this process.
    watch: thread::Thread,
    leaving: AtomicBool,
    memory_limit: Option<u64>,
    detached: bool,
}

/// Makes this process what its parent wants it to be, as far as it can be done before there is a second thread.
fn adapt(greeting: &Greeting, rings: &[Ring; 2]) -> io::Result<()> {
    let name = greeting.name.as_deref().unwrap_or("procession");
    child::be_called(name);
    title::entitle(&format!("procession: {name}"));
    if greeting.detached {
        // Refused only where it was done by now.
        let _ = child::lead_session();
    }
    if greeting.memory_limit.is_some() {
        let ring: &'static Ring = Box::leak(Box::new(rings[0].clone()));
        limits::note_want_of_memory(ring.note())?;
    }
    for (kind, amount) in &greeting.limits {
        limits::at_most(*kind, *amount)?;
    }
    Ok(())
}

/// Makes the calling thread, and what it starts, what the parent wants each to be.
fn adapt_thread(priority: i32, processors: &[u32]) -> io::Result<()> {
    // Refused only for making it less nice without the right to: then it stays as it is.
    let _ = child::be_nice(priority);
    match processors {
        [] => Ok(()),
        some => child::run_on(some),
    }
}

/// The rings for requests and for replies, and the parent's bell.
fn rings(fds: Vec<OwnedFd>) -> io::Result<([Ring; 2], Bell)> {
    let [memory, bell] = exactly(fds)?;
    let ring = Ring::footprint(RING_BYTES);
    if mapping::sealed_len(&memory)? < 2 * ring {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    let requests = Ring::map(&memory, 0, RING_BYTES)?;
    let replies = Ring::map(&memory, ring, RING_BYTES)?;
    Ok(([requests, replies], Bell::from(bell)))
}

/// The rings of a process that runs one task.
fn rings_once(fds: Vec<OwnedFd>) -> io::Result<[Ring; 2]> {
    let [memory] = exactly(fds)?;
    if mapping::sealed_len(&memory)? < 2 * Ring::flat_footprint(ONCE_BYTES) {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    Ring::flat(&memory, ONCE_BYTES)
}

/// The execution of what is in the rings.
fn execution(
    [requests, replies]: [Ring; 2],
    bell: Option<Bell>,
    control: &Arc<ControlSocket>,
) -> Execution {
    let (requests, replies) = (Consumer::new(requests), Producer::new(replies));
    Execution::new(requests, replies, bell, Arc::clone(control))
}

/// Runs a fork server's preparation, on the one thread it may have.
fn prepare(fds: Vec<OwnedFd>, control: ControlSocket) -> io::Result<ControlSocket> {
    let control = Arc::new(control);
    let (rings, bell) = rings(fds)?;
    let mut execution = execution(rings, Some(bell), &control);
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
    while let Next::Run(enter) = execution.next().map_err(io::Error::other)? {
        enter(&mut execution);
    }
    drop(tether);
    drop(execution);
    Arc::into_inner(control).ok_or_else(|| io::Error::other("its control socket is in use"))
}

fn run(mut execution: Execution, shift: &Shift) -> ! {
    // Here, so that this thread's own stack is no part of it.
    let limited = shift
        .memory_limit
        .map_or(Ok(()), limits::at_most_more_memory);
    if let Err(error) = limited {
        eprintln!("procession: this process's memory cannot be limited: {error}");
        std::process::exit(FAILED);
    }
    loop {
        match execution.next() {
            Ok(Next::Run(enter)) => enter(&mut execution),
            Ok(Next::Stop) => leave(shift),
            Err(corrupt) => {
                eprintln!("procession: {corrupt}");
                std::process::exit(FAILED)
            }
        }
        if shift.detached {
            leave(shift); // there is one request, and nobody may be left to say that it was the last
        }
    }
}

/// Has the main thread end this process.
fn leave(shift: &Shift) -> ! {
    shift.leaving.store(true, Ordering::Release);
    if shift.control.stop_receiving().is_err() {
        std::process::exit(0); // nobody is at the other end any more
    }
    shift.watch.unpark();
    fork::leave_thread()
}

/// Listens to the parent until it is gone, and then goes with everything in this group; or until the other
/// thread is done, and then ends this process.
fn watch(shift: &Shift, arrivals: &Arrivals, parcels: &Outgoing) -> ! {
    let control = &*shift.control;
    loop {
        match control.receive(true) {
            Ok(Some((message, fds))) => obey(&message, fds, control, arrivals, parcels),
            Ok(None) if shift.leaving.load(Ordering::Acquire) => std::process::exit(0),
            Ok(None) if shift.detached => go_on_alone(shift),
            // A message that could not be received whole (a full descriptor table): whoever waits
            // for what it carried must not wait for ever.
            Ok(None) | Err(_) => child::kill_own_group(),
        }
    }
}

/// Nobody is at the other end, and the work is to be done all the same, if it has come.
fn go_on_alone(shift: &Shift) -> ! {
    if shift.requests.frames() == 0 && !shift.leaving.load(Ordering::Acquire) {
        child::kill_own_group();
    }
    while !shift.leaving.load(Ordering::Acquire) {
        thread::park();
    }
    std::process::exit(0)
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
        | Message::Spare
        | Message::Born { .. }
        | Message::Refused(_)
        | Message::Ready
        | Message::Settled(_) => {}
    }
}

/// Tells the parent that these parcels will not be used again.
fn forget(control: &ControlSocket, ids: impl IntoIterator<Item = u64>) {
    for id in ids {
        // Not sent: the parent keeps an unused mapping a while longer.
        let _ = control.send(&Message::Forget { id }, &[]);
    }
}
