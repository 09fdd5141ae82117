//! A worker: one thread for each lane runs requests, another reads the control socket.
//!
//! The end of the socket is the parent's end. Then the second thread kills this process and everything it started,
//! whatever the tasks are doing. The kernel continues a stopped worker at that moment, so the worker sees that end.
//!
//! When the worker is told to stop, the second thread exits, not the first. `exit` destroys the thread-locals of its
//! caller (glibc's `__call_tls_dtors`), and thread-locals of the tasks may wait for ever there, as a runtime does for a
//! blocking call.

use std::convert::Infallible as Never;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use super::control::dispatch;
use super::lanes;
use super::lanes::{OtherLanes, ReadyLane};
use super::setup::{
    apply_limits, executor, exit_corrupt, limit_memory, set_identity, take_stdio, watch_connection,
};
use super::task_thread;
use crate::call::executor::{Executor, NextRequest};
use crate::call::result_blobs::ResultBlobs;
use crate::call::rings::RingLayout;
use crate::sys::cpu_timer::CpuTimer;
use crate::sys::doorbell::Doorbell;
use crate::sys::exit_cause::ExitCause;
use crate::sys::parent_death::ParentDeathSignal;
use crate::sys::{exit_cause, identity, process_tree, procfs, signal};
use crate::task;
use crate::transfer::control::{ControlSocket, exactly};
use crate::transfer::greeting::Greeting;
use crate::transfer::lane::Lane;
use crate::transfer::mapped_blobs::MappedBlobs;
use crate::transfer::messages::{FromWorker, ToWorker};

/// What the two threads share.
#[derive(Debug)]
struct WorkerShared {
    control: Arc<ControlSocket>,
    /// Whether the worker was told to stop, so the end of the socket is not the parent's.
    is_stopping: AtomicBool,
    /// The number of the thread that runs the tasks of each lane; 0 before it does.
    task_threads: Box<[AtomicU32]>,
    memory_limit: Option<u64>,
}

impl WorkerShared {
    /// This thread runs the tasks of the lane.
    fn note_thread(&self, lane: Lane) {
        if let Some(thread) = self.task_threads.get(lane.index()) {
            thread.store(identity::thread(), Ordering::Release);
        }
    }
}

/// Runs requests until the worker is told to stop, and never returns.
pub(super) fn run(
    greeting: Greeting,
    fds: Vec<OwnedFd>,
    control: ControlSocket,
) -> io::Result<Never> {
    let control = Arc::new(control);
    let [memory, doorbell, pipe] = exactly(take_stdio(&greeting, fds, 3)?)?;
    let rings = RingLayout::Worker.map(&memory)?;
    let lanes = OtherLanes::map(&memory, &rings, greeting.other_lanes)?;
    drop(memory);
    // Kept until this process has ended. Without `/proc` it cannot be armed, and a worker that is stopped stays so.
    if let Ok(signal) = ParentDeathSignal::continuing(&pipe) {
        signal.keep();
    }
    drop(pipe);
    watch_connection(&control, &rings)?;
    apply_limits(&greeting)?;
    let shared = Arc::new(WorkerShared {
        control: Arc::clone(&control),
        is_stopping: AtomicBool::new(false),
        task_threads: (0..=greeting.other_lanes)
            .map(|_| AtomicU32::new(0))
            .collect(),
        memory_limit: greeting.memory_limit,
    });
    let mut executor = executor(rings, Some(Doorbell::from(doorbell)), &control);
    let others = lanes.ready(&executor);
    if let Some(limit) = greeting.task_cpu_time {
        executor.limit_cpu_time(CpuTimer::new(limit)?);
    }
    set_identity(greeting);
    let blobs = executor.blobs();
    let all = std::iter::once(&executor).chain(others.iter().map(ReadyLane::executor));
    let results: Vec<_> = all.map(Executor::result_blobs).collect();
    let began = Arc::clone(&shared);
    lanes::spawn(others, &Arc::new(move |lane| began.note_thread(lane)))?;
    let watching = Arc::clone(&shared);
    in_two_threads(
        move || run_requests(executor, &shared),
        move || watch(&watching, &blobs, &results),
    )
}

/// Runs `tasks` and `watch`, each on a thread of its own.
///
/// The first task waits for its thread, so `tasks` has the main thread if that can run tasks.
fn in_two_threads<T: Send + 'static>(
    tasks: impl FnOnce() -> T + Send + 'static,
    watch: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    match task_thread::is_main() {
        true => {
            let watcher = thread::Builder::new().name("procession-watch".to_owned());
            watcher.spawn(watch)?;
            Ok(tasks())
        }
        false => {
            task_thread::spawn(tasks)?;
            Ok(watch())
        }
    }
}

fn run_requests(mut executor: Executor, shared: &WorkerShared) -> Never {
    task::enter_lane(Lane::FIRST.index());
    shared.note_thread(Lane::FIRST);
    // The second thread sees the parent's end.
    task_thread::follow_parent(false);
    // On this thread, so that its own stack is not counted.
    limit_memory(shared.memory_limit);
    // An error says that the parent has ended.
    let _ = shared.control.send(&FromWorker::Ready, &[]);
    // After the message: a worker that is shown as idle counts as started when it is killed.
    executor.announce_service();
    loop {
        match executor.next() {
            Ok(NextRequest::Run(enter)) => enter(&mut executor),
            Ok(NextRequest::Stop) => stop(shared),
            Err(corrupt) => exit_corrupt(corrupt),
        }
    }
}

/// Drops what this thread holds, and has the other thread exit.
fn stop(shared: &WorkerShared) -> ! {
    // Here, and not by the other thread: the state is this thread's.
    task::drop_state();
    task::remove_scratch();
    shared.is_stopping.store(true, Ordering::Release);
    if shared.control.stop_receiving().is_err() {
        std::process::exit(0); // the parent has ended
    }
    // This thread stays: without a main thread, `/proc/self` is empty while the program's exit handlers run.
    task_thread::park()
}

/// Ends this process if a thread that runs tasks has ended: by a bare system call, or killed by a filter
/// (`seccomp(2)`).
fn end_without_task_thread(shared: &WorkerShared) {
    let threads = shared.task_threads.iter();
    let mut threads = threads.map(|thread| thread.load(Ordering::Acquire));
    if threads.any(|thread| thread != 0 && procfs::has_thread_ended(thread)) {
        exit_cause::end(ExitCause::ThreadEnded);
    }
}

/// Handles messages until the parent has ended, and then kills this process's group; or until the worker was told to
/// stop, and then exits.
fn watch(shared: &WorkerShared, blobs: &MappedBlobs, results: &[Arc<ResultBlobs>]) -> Never {
    loop {
        // A task may have closed the socket, and opened one of its own.
        exit_cause::end_if_disconnected();
        match shared.control.recv() {
            Ok(Some((ToWorker::CheckTaskThread, _))) => end_without_task_thread(shared),
            Ok(Some(received)) => dispatch(received, &shared.control, blobs, results),
            Ok(None) if shared.is_stopping.load(Ordering::Acquire) => {
                process_tree::kill_escaped();
                std::process::exit(0)
            }
            // An error is a message that could not be received whole (a full descriptor table): a task would wait for
            // its descriptors for ever.
            Ok(None) | Err(_) => {
                // The socket may have been closed since the look above.
                exit_cause::end_if_disconnected();
                process_tree::kill_escaped();
                task::abandon_scratch();
                signal::kill_own_group()
            }
        }
    }
}
