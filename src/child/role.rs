//! What runs in a worker.
//!
//! One thread of a process that runs many tasks runs them. Another watches the control socket: its end is the parent's
//! end, and then this process and all it started go too, whatever the tasks are doing. When they are told to stop, the
//! one that watches ends the process: `exit` destroys the thread-locals of the thread that calls it (glibc's
//! `__call_tls_dtors`), and those of the tasks may wait for ever, as a runtime does for a blocking call.

use std::convert::Infallible as Never;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::runtime::Handle;

use super::fork_server;
use super::fork_server::Child;
use super::single;
use super::single::SingleTask;
use crate::call::envelope::WORKER_RING_BYTES;
use crate::call::executor::{Executor, Next};
use crate::call::panic_capture;
use crate::call::result_blobs::ResultBlobs;
use crate::ring::{Consumer, Producer, Ring};
use crate::sys::doorbell::Doorbell;
use crate::sys::parent_death::ParentDeathSignal;
use crate::sys::{
    exit, fork, hook, identity, image, limits, memory, sched, signal, socket, stdio, title,
};
use crate::task;
use crate::task::Identity;
use crate::transfer::blob::MappedBlobs;
use crate::transfer::control::{ControlSocket, exactly};
use crate::transfer::greeting::{Greeting, Role};
use crate::transfer::messages::{FromStdioHelper, FromWorker, ToWorker};

/// The stack of the thread that runs tasks, in bytes: what a main thread has by default. Only what is touched takes
/// memory.
pub(super) const STACK: usize = 8 << 20;

/// A message and the descriptors that came with it.
pub(super) type Heard = (ToWorker, Vec<OwnedFd>);

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

fn try_serve(slot: u32) -> io::Result<Never> {
    exit::prepare();
    stdio::fill_standard_slots()?;
    if !socket::is_seqpacket(stdio::standard(slot)) {
        return Err(io::Error::other(format!(
            "{} is set, but nobody is there; unset it",
            hook::CHILD
        )));
    }
    let null = stdio::null()?;
    let control = ControlSocket::new(stdio::take_slot(slot, null.as_fd())?);
    drop(null);
    hook::forget();
    become_what_is_wanted(control)
}

fn become_what_is_wanted(control: ControlSocket) -> io::Result<Never> {
    let Some((greeting, fds)) = control.recv_greeting()? else {
        // The parent ended before it could say anything.
        std::process::exit(0)
    };
    follow(greeting, fds, None, control)
}

/// Becomes what the greeting says. A process that was made before it was asked for has a `kit` in case it is to run one
/// task.
fn follow(
    greeting: Greeting,
    fds: Vec<OwnedFd>,
    kit: Option<SingleTask>,
    control: ControlSocket,
) -> io::Result<Never> {
    let kit = kit.filter(|_| greeting.role == Role::Single);
    if greeting.fingerprint != image::fingerprint() {
        return Err(io::Error::other("the parent is a different program"));
    }
    match greeting.role {
        Role::StdioHelper => give_streams_back(&control),
        Role::Worker => work(greeting, fds, control),
        Role::Single => single::work(greeting, fds, kit, control),
        // What comes back is a copy of this process, with another socket.
        Role::ForkServer => {
            let control = match fds.is_empty() {
                true => control,
                false => prepare(fds, control)?,
            };
            fork_server::settle(&control);
            match fork_server::tend(control)? {
                Child::PendingChild(control) => become_what_is_wanted(control),
                Child::Spare {
                    control,
                    kit,
                    greeting,
                    fds,
                } => follow(*greeting, fds, Some(kit), control),
            }
        }
    }
}

fn give_streams_back(control: &ControlSocket) -> ! {
    let sent = control.send(&FromStdioHelper::Stdin, &[stdio::standard(0)]);
    std::process::exit(if sent.is_ok() { 0 } else { FAILED })
}

fn work(greeting: Greeting, fds: Vec<OwnedFd>, control: ControlSocket) -> io::Result<Never> {
    let control = Arc::new(control);
    let [memory, bell] = exactly(take_streams(&greeting, fds, 2)?)?;
    let rings = rings(&memory)?;
    drop(memory);
    adapt(&greeting, &rings)?;
    let shift = Arc::new(Shift {
        control: Arc::clone(&control),
        leaving: AtomicBool::new(false),
        memory_limit: greeting.memory_limit,
    });
    let execution = execution(rings, Some(Doorbell::from(bell)), &control);
    be(greeting);
    let blobs = execution.blobs();
    let parcels = execution.result_blobs();
    let watching = Arc::clone(&shift);
    in_two_threads(
        move || run(execution, &shift),
        move || watch(&watching, &blobs, &parcels),
    )
}

/// Runs tasks and listens, each on a thread of its own.
///
/// The tasks have the main thread: it is there already, and the first of them is waited for. Where `init` was called
/// inside a runtime they have the other: no runtime can be entered on a thread that drives one.
fn in_two_threads<T: Send + 'static>(
    tasks: impl FnOnce() -> T + Send + 'static,
    watch: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let other = thread::Builder::new();
    match Handle::try_current().is_err() {
        true => {
            other.name("procession-watch".to_owned()).spawn(watch)?;
            Ok(tasks())
        }
        false => {
            let other = other.name("procession".to_owned()).stack_size(STACK);
            other.spawn(tasks)?;
            Ok(watch())
        }
    }
}

/// Puts the streams that came with a greeting where they belong. What came beside them, which is `own` descriptors.
pub(super) fn take_streams(
    greeting: &Greeting,
    mut fds: Vec<OwnedFd>,
    own: usize,
) -> io::Result<Vec<OwnedFd>> {
    let streams = fds.split_off(fds.len().min(own));
    for (slot, stream) in greeting.stdio_slots.iter().zip(&streams) {
        stdio::put_slot(*slot, stream.as_fd())?;
    }
    Ok(fds)
}

/// Lets tasks know who they are, and panics be told of.
pub(super) fn be(greeting: Greeting) {
    task::set_identity(Identity {
        name: greeting.name,
        parent: greeting.parent,
        pool: greeting.pool,
        number: greeting.number,
    });
    panic_capture::install();
}

/// What the two threads of a worker have in common.
#[derive(Debug)]
struct Shift {
    control: Arc<ControlSocket>,
    leaving: AtomicBool,
    memory_limit: Option<u64>,
}

/// Makes this process what its parent wants it to be, as far as it can be done before there is a second thread.
pub(super) fn adapt(greeting: &Greeting, rings: &[Ring; 2]) -> io::Result<()> {
    let name = greeting.name.as_deref().unwrap_or("procession");
    identity::set_thread_name(name);
    title::set_title(&format!("procession: {name}"));
    if greeting.detached {
        // Refused only where it was done by now.
        let _ = identity::lead_session();
    }
    if greeting.memory_limit.is_some() {
        let ring: &'static Ring = Box::leak(Box::new(rings[0].clone()));
        limits::report_out_of_memory(ring.note())?;
    }
    for (kind, amount) in &greeting.limits {
        limits::lower(*kind, *amount)?;
    }
    // Refused only for making it less nice without the right to: then it stays as it is.
    let _ = sched::set_nice(greeting.nice);
    match &greeting.processors[..] {
        [] => Ok(()),
        some => sched::set_affinity(some),
    }
}

/// The rings for requests and for replies.
fn rings(memory: &OwnedFd) -> io::Result<[Ring; 2]> {
    let ring = Ring::footprint(WORKER_RING_BYTES);
    if memory::sealed_len(memory)? < 2 * ring {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    let requests = Ring::map(memory, 0, WORKER_RING_BYTES)?;
    let replies = Ring::map(memory, ring, WORKER_RING_BYTES)?;
    Ok([requests, replies])
}

/// The execution of what is in the rings.
pub(super) fn execution(
    [requests, replies]: [Ring; 2],
    bell: Option<Doorbell>,
    control: &Arc<ControlSocket>,
) -> Executor {
    let (requests, replies) = (Consumer::new(requests), Producer::new(replies));
    Executor::new(requests, replies, bell, Arc::clone(control))
}

/// Runs a fork server's preparation, on the one thread it may have.
fn prepare(fds: Vec<OwnedFd>, control: ControlSocket) -> io::Result<ControlSocket> {
    let control = Arc::new(control);
    let [memory, bell, pipe] = exactly(fds)?;
    let bell = Doorbell::from(bell);
    let mut execution = execution(rings(&memory)?, Some(bell), &control);
    drop(memory);
    panic_capture::install();
    if !hear_out(&control, &execution)? {
        fork::quit(0);
    }
    let armed = ParentDeathSignal::new(&pipe)?;
    drop(pipe);
    while let Next::Run(enter) = execution.next().map_err(io::Error::other)? {
        enter(&mut execution);
    }
    drop(armed);
    drop(execution);
    Arc::into_inner(control).ok_or_else(|| io::Error::other("its control socket is in use"))
}

/// Takes what goes with the requests that are in the ring by now. False if the parent is gone before it said that it
/// was all.
pub(super) fn hear_out(control: &ControlSocket, execution: &Executor) -> io::Result<bool> {
    loop {
        match control.recv()? {
            Some((ToWorker::Ready, _)) => return Ok(true),
            Some(heard) => heed(heard, control, execution),
            None => return Ok(false),
        }
    }
}

/// Takes what goes with a request.
pub(super) fn heed(heard: Heard, control: &ControlSocket, execution: &Executor) {
    let (message, fds) = heard;
    let (blobs, parcels) = (execution.blobs(), execution.result_blobs());
    obey(&message, fds, control, &blobs, &parcels);
}

fn run(mut execution: Executor, shift: &Shift) -> Never {
    // Here, so that this thread's own stack is no part of it.
    limit_memory(shift.memory_limit);
    loop {
        match execution.next() {
            Ok(Next::Run(enter)) => enter(&mut execution),
            Ok(Next::Stop) => leave(shift),
            Err(corrupt) => {
                eprintln!("procession: {corrupt}");
                std::process::exit(FAILED)
            }
        }
    }
}

/// Limits what this process may take from now on, or ends it.
pub(super) fn limit_memory(limit: Option<u64>) {
    let limited = limit.map_or(Ok(()), limits::limit_memory_growth);
    if let Err(error) = limited {
        eprintln!("procession: this process's memory cannot be limited: {error}");
        std::process::exit(FAILED);
    }
}

/// Has the one that watches end this process.
fn leave(shift: &Shift) -> ! {
    shift.leaving.store(true, Ordering::Release);
    if shift.control.stop_receiving().is_err() {
        std::process::exit(0); // nobody is at the other end any more
    }
    // Not ended here: where the main thread is gone, `/proc/self` shows the program nothing at its exit.
    loop {
        thread::park();
    }
}

/// Listens to the parent until it is gone, and then goes with everything in this group; or until the other
/// thread is done, and then ends this process.
fn watch(shift: &Shift, blobs: &MappedBlobs, parcels: &ResultBlobs) -> Never {
    let control = &*shift.control;
    loop {
        match control.recv() {
            Ok(Some((message, fds))) => obey(&message, fds, control, blobs, parcels),
            Ok(None) if shift.leaving.load(Ordering::Acquire) => std::process::exit(0),
            // A message that could not be received whole (a full descriptor table): whoever waits
            // for what it carried must not wait for ever.
            Ok(None) | Err(_) => signal::kill_own_group(),
        }
    }
}

fn obey(
    message: &ToWorker,
    fds: Vec<OwnedFd>,
    control: &ControlSocket,
    blobs: &MappedBlobs,
    parcels: &ResultBlobs,
) {
    match *message {
        ToWorker::Blob { id } => {
            let mapped = fds
                .first()
                .is_some_and(|memory| blobs.add(id, memory).is_ok());
            if !mapped {
                signal::kill_own_group(); // or the task would wait for it for ever
            }
        }
        ToWorker::Attachments { id } => blobs.add_attachments(id, fds),
        ToWorker::Forget { id } => blobs.remove(id),
        ToWorker::Returned { id } => forget(control, parcels.returned(id)),
        ToWorker::Lost { id } => parcels.lost(id),
        ToWorker::Trim => forget(control, parcels.trim()),
        ToWorker::Cancel { task } => task::cancel_current(task),
        // Handled by whoever waits for it.
        ToWorker::Ready => {}
    }
}

/// Tells the parent that these parcels will not be used again.
fn forget(control: &ControlSocket, ids: impl IntoIterator<Item = u64>) {
    for id in ids {
        // Not sent: the parent keeps an unused mapping a while longer.
        let _ = control.send(&FromWorker::Forget { id }, &[]);
    }
}
