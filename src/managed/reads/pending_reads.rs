//! The reads of a state that have no answer yet.
//!
//! Runs at the home. One future in the background, from the first read on, takes answers from the queue, and hears from
//! the pool of each process that ends.
//!
//! Must stay true: an answer that was sent before the end of its process is taken before the reads of that process
//! fail.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::{Either, select};
use futures::{Stream, StreamExt as _};

use super::read_answer::{Incarnation, ReadAnswer, ReadMessage};
use crate::background::Background;
use crate::call::Slot;
use crate::call::relayed::RelayedOutcome;
use crate::channel::{RecvError, TryRecvError};
use crate::error::{ErrorKind, JoinError};
use crate::pool::PoolEvent;
use crate::queue;
use crate::queue::{Receiver, Sender};
use crate::sys::clock::Moment;

/// How many answers may wait at the home. More wait in the threads that have them.
const MOST_ANSWERS: usize = 256;

/// How many exits of processes are remembered, for reads that may not have heard of them.
const MOST_LOSSES: usize = 64;

/// See the module.
pub(in crate::managed) struct PendingReads {
    answers: Sender<ReadMessage>,
    /// Until the first read.
    answered: Mutex<Option<Receiver<ReadMessage>>>,
    background: Arc<Background>,
    open: Arc<OpenReads>,
}

/// The reads without an answer.
#[derive(Default)]
struct OpenReads(Mutex<ReadTable>);

#[derive(Default)]
struct ReadTable {
    last: u64,
    reads: HashMap<u64, OpenRead>,
    losses: VecDeque<Loss>,
    /// Why there are no more answers.
    over: Option<JoinError>,
}

struct OpenRead {
    slot: Arc<Slot<RelayedOutcome>>,
    /// Where it has begun.
    begun: Option<Incarnation>,
}

/// The end of a process.
struct Loss {
    heard: Moment,
    cause: JoinError,
}

impl PendingReads {
    pub(in crate::managed) fn new() -> io::Result<Arc<Self>> {
        let (answers, answered) = queue::queue(MOST_ANSWERS)?;
        Ok(Arc::new(Self {
            answers,
            answered: Mutex::new(Some(answered)),
            background: Background::here(),
            open: Arc::default(),
        }))
    }

    /// The end through which the state's process sends answers.
    pub(in crate::managed) fn answers(&self) -> Sender<ReadMessage> {
        self.answers.clone()
    }

    /// Takes answers from here on, and hears from `events`, if it does not yet.
    pub(super) fn open<E>(&self, events: impl FnOnce() -> E)
    where
        E: Stream<Item = PoolEvent> + Send + Unpin + 'static,
    {
        let Some(answered) = lock(&self.answered).take() else {
            return;
        };
        let open = ServedReads {
            open: Arc::clone(&self.open),
            announced: None,
        };
        self.background.spawn(serve(open, answered, events()));
    }

    /// A read that is about to be submitted: its number, and where its answer will be.
    pub(super) fn begin(&self) -> (u64, Arc<Slot<RelayedOutcome>>) {
        let slot = Arc::new(Slot::new());
        let mut table = lock(&self.open.0);
        table.last += 1;
        let id = table.last;
        let read = OpenRead {
            slot: Arc::clone(&slot),
            begun: None,
        };
        table.reads.insert(id, read);
        (id, slot)
    }

    /// A read has begun. Fails it if its process has ended since.
    pub(super) fn begun(&self, id: u64, place: Incarnation) {
        let mut table = lock(&self.open.0);
        let error = table.end_of(place);
        let slot = match (table.reads.get_mut(&id), &error) {
            (Some(read), None) => {
                read.begun = Some(place);
                None
            }
            _ => table.reads.remove(&id).map(|read| read.slot),
        };
        drop(table);
        if let (Some(slot), Some(error)) = (slot, error) {
            slot.set(Err(error));
        }
    }

    /// The caller does not wait any more.
    pub(super) fn forget(&self, id: u64) {
        let read = lock(&self.open.0).reads.remove(&id);
        drop(read);
    }

    /// Notes that the current task waits for an answer.
    pub(super) fn expect(&self) {
        self.background.expect(|| {
            let open = Arc::clone(&self.open);
            move || !lock(&open.0).reads.is_empty()
        });
    }
}

impl ReadTable {
    /// Why a read that has begun at `place` gets no answer any more, if it does not.
    fn end_of(&self, place: Incarnation) -> Option<JoinError> {
        let loss = self.losses.iter().find(|loss| loss.ended(place));
        let error = loss.map(|it| &it.cause).or(self.over.as_ref());
        error.cloned().map(|error| error.after_start(true))
    }
}

impl Loss {
    /// Whether this was the end of `place`.
    fn ended(&self, place: Incarnation) -> bool {
        self.cause.pid() == Some(place.pid) && self.heard >= place.since()
    }
}

/// The reads as the background future has them. When it is dropped, also by the end of its runtime, they fail.
struct ServedReads {
    open: Arc<OpenReads>,
    /// Whose answer the next message is, if that was said.
    announced: Option<u64>,
}

/// Takes answers until no process can send any, or the pool has ended.
async fn serve<E>(mut reads: ServedReads, answered: Receiver<ReadMessage>, mut events: E)
where
    E: Stream<Item = PoolEvent> + Send + Unpin + 'static,
{
    loop {
        match select(answered.recv(), events.next()).await {
            Either::Left((Ok(message), _)) => reads.take(message),
            Either::Left((Err(RecvError::Decode(why)), _)) => reads.take_undecoded(&undecoded(why)),
            Either::Left((Err(RecvError::Closed), _)) => return,
            Either::Right((event, _)) => {
                let unknown = reads.take_waiting(&answered);
                match event {
                    Some(event) => reads.hear(event),
                    None => return,
                }
                // Not before: if its process has ended, that is the cause.
                if let Some(error) = unknown {
                    reads.fail_begun(&error);
                }
            }
        }
    }
}

fn undecoded(why: String) -> JoinError {
    JoinError::new(ErrorKind::Decode, "").because(format!("the result of a read: {why}"))
}

impl ServedReads {
    /// Takes what a process has sent before its end. No more than the queue holds: its successor may send already.
    /// Returns the fault of an answer that cannot be decoded and may be that of any read.
    fn take_waiting(&mut self, answered: &Receiver<ReadMessage>) -> Option<JoinError> {
        let mut unknown = None;
        for _ in 0..=MOST_ANSWERS {
            match answered.try_recv() {
                Ok(message) => self.take(message),
                Err(TryRecvError::Decode(why)) => {
                    let error = undecoded(why);
                    if !self.fail_announced(&error) {
                        unknown = Some(error);
                    }
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        unknown
    }

    fn take(&mut self, message: ReadMessage) {
        self.announced = match message {
            ReadMessage::Announce(id) => Some(id),
            ReadMessage::Answer(answer) => {
                self.settle(answer);
                None
            }
        };
    }

    /// Takes an answer that cannot be decoded. Without an announcement it may be that of any read.
    fn take_undecoded(&mut self, error: &JoinError) {
        if !self.fail_announced(error) {
            self.fail_begun(error);
        }
    }

    /// Fails the read whose answer was announced. False if none was.
    fn fail_announced(&mut self, error: &JoinError) -> bool {
        let Some(id) = self.announced.take() else {
            return false;
        };
        let read = lock(&self.open.0).reads.remove(&id);
        fail(read.into_iter().collect(), &error.clone().after_start(true));
        true
    }

    fn settle(&self, answer: ReadAnswer) {
        let read = lock(&self.open.0).reads.remove(&answer.id);
        if let Some(read) = read {
            // The name is set by the read, which knows it.
            read.slot.set(answer.outcome.map_err(|error| error.of("")));
        }
    }

    fn hear(&self, event: PoolEvent) {
        match event {
            PoolEvent::WorkerExited { cause } => self.lose(cause),
            // The ends of processes may be among them.
            PoolEvent::Missed(_) => {
                let error = JoinError::new(ErrorKind::Crashed, "");
                self.fail_begun(&error.because("its process may have ended"));
            }
            _ => {}
        }
    }

    /// A process has ended: what had begun there fails.
    fn lose(&self, cause: JoinError) {
        let heard = Moment::now();
        let loss = Loss { heard, cause };
        let mut table = lock(&self.open.0);
        let failed = table.take_reads(|read| read.begun.is_some_and(|place| loss.ended(place)));
        let cause = loss.cause.clone().after_start(true);
        if table.losses.len() == MOST_LOSSES {
            table.losses.pop_front();
        }
        table.losses.push_back(loss);
        drop(table);
        fail(failed, &cause);
    }

    /// Fails all reads that have begun.
    fn fail_begun(&self, error: &JoinError) {
        let failed = lock(&self.open.0).take_reads(|read| read.begun.is_some());
        fail(failed, &error.clone().after_start(true));
    }
}

impl ReadTable {
    fn take_reads(&mut self, is_taken: impl Fn(&OpenRead) -> bool) -> Vec<OpenRead> {
        let taken = self.reads.iter().filter(|(_, read)| is_taken(read));
        let ids: Vec<_> = taken.map(|(id, _)| *id).collect();
        ids.iter().filter_map(|id| self.reads.remove(id)).collect()
    }
}

fn fail(reads: Vec<OpenRead>, error: &JoinError) {
    for read in reads {
        read.slot.set(Err(error.clone()));
    }
}

impl Drop for ServedReads {
    fn drop(&mut self) {
        let error = JoinError::new(ErrorKind::Closed, "");
        let error = error.because("the state, or the runtime in which it was made, has ended");
        lock(&self.open.0).over = Some(error.clone());
        self.fail_begun(&error);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for PendingReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingReads").finish_non_exhaustive()
    }
}
