//! The threads that run reads.
//!
//! Runs in the process of the state. A thread is started when a read finds all others busy, and ends when it has had
//! nothing to do for a while.
//!
//! Must stay true: a thread gives the state back before it sends the answer, which may have to wait for room.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::read_answer::{Incarnation, ReadAnswer, ReadMessage};
use crate::call::panic_capture;
use crate::call::relayed;
use crate::call::relayed::RelayedOutcome;
use crate::error::{ErrorKind, JoinError, SentError};
use crate::queue::Sender;
use crate::sys::thread_value::LentValue;
use crate::task;
use crate::transfer::encoded_value::EncodedValue;

/// How many reads run at the same time. It bounds the stacks of a process. More wait, and with them what was called
/// after.
const MOST_THREADS: usize = 64;

/// The stack of a thread, in bytes: that of a thread which runs calls. Only touched pages take memory.
const READER_STACK_BYTES: usize = 8 << 20;

/// How long a thread waits for a read before it ends.
const IDLE_TIME: Duration = Duration::from_secs(10);

/// A read that is to run with the state.
#[derive(Debug)]
pub(super) struct ReadJob {
    pub(super) state: LentValue,
    pub(super) id: u64,
    pub(super) token: u64,
    pub(super) arguments: EncodedValue,
}

/// What the state's thread and the reading threads share.
struct ReadThreads {
    incarnation: Incarnation,
    /// Locked over an announcement and its answer.
    answers: Mutex<Sender<ReadMessage>>,
    line: Mutex<ReadLine>,
    /// There is a read, or the end.
    has_work: Condvar,
    /// A read was taken.
    has_room: Condvar,
}

#[derive(Default)]
struct ReadLine {
    waiting: VecDeque<ReadJob>,
    threads: usize,
    idle: usize,
    /// The state's thread has ended.
    is_over: bool,
}

/// The share of the state's thread: the reading threads end with it.
struct ThreadsOwner(Arc<ReadThreads>);

thread_local! {
    /// On the state's thread.
    static OWNER: RefCell<Option<ThreadsOwner>> = const { RefCell::new(None) };
}

/// From here on reads of this thread's state run on threads of their own, which send the answers through `answers`.
pub(super) fn install(answers: Sender<ReadMessage>) {
    let threads = Arc::new(ReadThreads {
        incarnation: Incarnation::here(),
        answers: Mutex::new(answers),
        line: Mutex::default(),
        has_work: Condvar::new(),
        has_room: Condvar::new(),
    });
    OWNER.set(Some(ThreadsOwner(threads)));
}

/// Gives a read to a thread. Blocks while as many wait as may run.
///
/// # Errors
///
/// The read, if there can be no thread.
pub(super) fn give(job: ReadJob) -> Result<Incarnation, ReadJob> {
    let threads = OWNER.with_borrow(|owner| owner.as_ref().map(|it| Arc::clone(&it.0)));
    match threads {
        Some(threads) => threads.take(job),
        None => Err(job),
    }
}

impl ReadThreads {
    fn take(self: &Arc<Self>, job: ReadJob) -> Result<Incarnation, ReadJob> {
        let mut line = self.lock();
        if line.idle <= line.waiting.len() && line.threads < MOST_THREADS {
            line.threads += usize::from(self.start_thread());
        }
        if line.threads == 0 {
            return Err(job);
        }
        while line.waiting.len() >= MOST_THREADS {
            let woken = self.has_room.wait(line);
            line = woken.unwrap_or_else(PoisonError::into_inner);
        }
        line.waiting.push_back(job);
        drop(line);
        self.has_work.notify_one();
        Ok(self.incarnation)
    }

    /// Starts a thread. False if there can be no more.
    fn start_thread(self: &Arc<Self>) -> bool {
        let threads = Arc::clone(self);
        let builder = thread::Builder::new().name("procession-read".to_owned());
        let started = builder.stack_size(READER_STACK_BYTES);
        started.spawn(move || threads.run()).is_ok()
    }

    /// Runs reads until there are none for a while.
    fn run(&self) {
        while let Some(job) = self.next() {
            let id = job.id;
            let outcome = job.run().map_err(SentError::from);
            self.answer(ReadAnswer { id, outcome });
        }
    }

    /// The next read. `None` if this thread ends.
    fn next(&self) -> Option<ReadJob> {
        let mut line = self.lock();
        line.idle += 1;
        let job = loop {
            if let Some(job) = line.waiting.pop_front() {
                break Some(job);
            }
            if line.is_over {
                break None;
            }
            let waited = self.has_work.wait_timeout(line, IDLE_TIME);
            let timeout;
            (line, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() && line.waiting.is_empty() {
                break None;
            }
        };
        line.idle -= 1;
        line.threads -= usize::from(job.is_none());
        drop(line);
        self.has_room.notify_one();
        job
    }

    /// Sends an answer. If the home is gone, nothing waits for it.
    fn answer(&self, answer: ReadAnswer) {
        let id = answer.id;
        let answers = lock(&self.answers);
        if answer.is_announced() {
            let _ = answers.blocking_send(ReadMessage::Announce(id));
        }
        match answers.blocking_send(ReadMessage::Answer(answer)) {
            Err(error) if error.is_encode() => {
                let outcome = Ok(RelayedOutcome::Unencoded(error.to_string()));
                let answer = ReadAnswer { id, outcome };
                let _ = answers.blocking_send(ReadMessage::Answer(answer));
            }
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, ReadLine> {
        lock(&self.line)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for ThreadsOwner {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.has_work.notify_all();
    }
}

impl ReadJob {
    /// Runs it on this thread. A panic of it is its outcome.
    fn run(self) -> Result<RelayedOutcome, JoinError> {
        catch_unwind(AssertUnwindSafe(|| self.run_here())).map_err(|payload| {
            JoinError::new(ErrorKind::Panicked, "")
                .with_panic(panic_capture::report_of(payload))
                .after_start(true)
        })
    }

    /// Runs it on this thread. A panic of it passes through.
    pub(super) fn run_here(self) -> RelayedOutcome {
        task::with_lent(self.state, || relayed::run(self.token, self.arguments))
    }
}
