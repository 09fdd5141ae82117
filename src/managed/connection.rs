//! A handle in a process that is not the state's home, and its connection.
//!
//! Runs in any process that has a handle. One future in the background sends what calls have put in the outbox, in
//! order, and gives them their outcomes.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::messages::{CallKind, FromHome, Hello, ToHome};
use super::relayed_result::PackedCall;
use crate::background::Background;
use crate::call::Slot;
use crate::call::relayed::RelayedOutcome;
use crate::channel::{RecvError, SendError};
use crate::error::{ErrorKind, JoinError};
use crate::pipe;
use crate::pipe::Pipe;
use crate::queue::Sender;
use crate::sys::reactor;

/// Why a call has no outcome if its connection ends.
const HOME_GONE: &str = "the process that had made the state is gone, and the state with it";

/// A handle on a state whose home is another process, or this one.
pub(super) struct Away {
    pub(super) hellos: Sender<Hello>,
    /// The generation of the state that has answered last.
    generation: Arc<AtomicU64>,
    connection: Mutex<Option<Arc<HomeConnection>>>,
}

impl Away {
    pub(super) fn new(hellos: Sender<Hello>, generation: u64) -> Self {
        Self {
            hellos,
            generation: Arc::new(AtomicU64::new(generation)),
            connection: Mutex::new(None),
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The connection, made anew if there is none that works.
    pub(super) fn connection(&self) -> std::io::Result<Arc<HomeConnection>> {
        let mut connection = lock(&self.connection);
        if let Some(connection) = connection.as_ref().filter(|it| !it.outbox.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        let made = HomeConnection::make(self.hellos.clone(), Arc::clone(&self.generation))?;
        *connection = Some(Arc::clone(&made));
        Ok(made)
    }
}

/// A pipe to the home.
pub(super) struct HomeConnection {
    /// As long as the callers make it: each message in it is that of a call that is awaited. So calls are sent in the
    /// order in which they were first polled, which no wait for room can change.
    outbox: mpsc::UnboundedSender<ToHome>,
    next: AtomicU64,
    outstanding: Arc<Outstanding>,
    background: Arc<Background>,
}

/// The calls that have no outcome.
#[derive(Default)]
struct Outstanding(Mutex<HashMap<u64, Arc<Slot<RelayedOutcome>>>>);

impl HomeConnection {
    fn make(hellos: Sender<Hello>, generation: Arc<AtomicU64>) -> std::io::Result<Arc<Self>> {
        reactor::check_runtime()?;
        let (here, there) = pipe::pipe()?;
        let (outbox, messages) = mpsc::unbounded_channel();
        let outstanding = Arc::<Outstanding>::default();
        let background = Background::here();
        background.spawn(drive(ConnectionDriver {
            hellos,
            there,
            here,
            generation,
            calls: DrivenCalls {
                messages,
                outstanding: Arc::clone(&outstanding),
            },
        }));
        Ok(Arc::new(Self {
            outbox,
            next: AtomicU64::new(0),
            outstanding,
            background,
        }))
    }

    /// Sends a call, whose outcome will be in the slot.
    pub(super) fn send(
        &self,
        kind: CallKind,
        call: PackedCall,
    ) -> (u64, Arc<Slot<RelayedOutcome>>) {
        let slot = Arc::new(Slot::new());
        let mut outstanding = lock(&self.outstanding.0);
        // Under the lock: the numbers are in the order of the outbox, and what is sent is outstanding.
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        outstanding.insert(id, Arc::clone(&slot));
        let call = ToHome::Call {
            id,
            kind,
            token: call.token,
            arguments: call.arguments,
        };
        if self.outbox.send(call).is_err() {
            outstanding.remove(&id);
            drop(outstanding);
            slot.set(Err(gone()));
        }
        (id, slot)
    }

    /// The caller does not want a call any more.
    pub(super) fn withdraw(&self, id: u64) {
        if lock(&self.outstanding.0).remove(&id).is_some() {
            let _ = self.outbox.send(ToHome::Withdraw { id });
        }
    }

    /// Notes that the current task waits for an outcome.
    pub(super) fn expect(&self) {
        self.background.expect(|| {
            let outstanding = Arc::clone(&self.outstanding);
            move || !lock(&outstanding.0).is_empty()
        });
    }
}

/// What the background future of a connection has.
struct ConnectionDriver {
    hellos: Sender<Hello>,
    there: Hello,
    here: Pipe<ToHome, FromHome>,
    generation: Arc<AtomicU64>,
    calls: DrivenCalls,
}

/// The calls that the background future sends, and the calls that wait for it. When it is dropped, also by the end of
/// its runtime, no call can be sent any more, and the calls that were sent fail.
struct DrivenCalls {
    messages: mpsc::UnboundedReceiver<ToHome>,
    outstanding: Arc<Outstanding>,
}

impl Drop for DrivenCalls {
    fn drop(&mut self) {
        self.messages.close();
        let all = std::mem::take(&mut *lock(&self.outstanding.0));
        for slot in all.into_values() {
            slot.set(Err(gone()));
        }
    }
}

/// Sends and receives until the home, or the last user of the connection here, is gone.
async fn drive(it: ConnectionDriver) {
    let ConnectionDriver {
        hellos,
        there,
        here,
        generation,
        mut calls,
    } = it;
    if hellos.send(there).await.is_err() {
        return;
    }
    // The queue must be able to end while this connection exists.
    drop(hellos);
    let DrivenCalls {
        messages,
        outstanding,
    } = &mut calls;
    let send = send_calls(&here, messages, outstanding);
    let receive = receive_answers(&here, &generation, outstanding);
    futures::future::select(std::pin::pin!(send), std::pin::pin!(receive)).await;
}

async fn send_calls(
    here: &Pipe<ToHome, FromHome>,
    messages: &mut mpsc::UnboundedReceiver<ToHome>,
    outstanding: &Outstanding,
) {
    while let Some(message) = messages.recv().await {
        if let Some(id) = message.to_announce() {
            let _ = here.send(ToHome::Announce { id }).await;
        }
        match here.send(message).await {
            // For example, no descriptor is left.
            Err(error) if error.is_encode() => outstanding.refuse(error),
            Err(_) => return,
            Ok(()) => {}
        }
    }
}

async fn receive_answers(
    here: &Pipe<ToHome, FromHome>,
    generation: &AtomicU64,
    outstanding: &Outstanding,
) {
    let mut announced = None;
    loop {
        match here.recv().await {
            Ok(FromHome::Announce { id }) => announced = Some(id),
            Ok(FromHome::Answer(answer)) => {
                announced = None;
                generation.fetch_max(answer.generation, Ordering::AcqRel);
                // The name is set by the call, which knows it.
                let outcome = answer.outcome.map_err(|error| error.of(""));
                outstanding.settle(answer.id, outcome);
            }
            Err(RecvError::Decode(why)) => {
                // Without an announcement it may be the answer of any call.
                let Some(id) = announced.take() else {
                    return;
                };
                outstanding.settle(id, Err(undecoded(&why)));
            }
            Err(RecvError::Closed) => return,
        }
    }
}

impl Outstanding {
    /// Fails the call of a message that cannot be encoded.
    fn refuse(&self, error: SendError<ToHome>) {
        let why = error.to_string();
        let Some(ToHome::Call { id, .. }) = error.into_inner() else {
            return;
        };
        let error = JoinError::new(ErrorKind::Encode, "");
        self.settle(id, Err(error.because(format!("the arguments: {why}"))));
    }

    fn settle(&self, id: u64, outcome: Result<RelayedOutcome, JoinError>) {
        let slot = lock(&self.0).remove(&id);
        if let Some(slot) = slot {
            slot.set(outcome);
        }
    }
}

fn undecoded(why: &str) -> JoinError {
    JoinError::new(ErrorKind::Decode, "")
        .because(format!("the result: {why}"))
        .after_start(true)
}

fn gone() -> JoinError {
    JoinError::new(ErrorKind::Crashed, "")
        .because(HOME_GONE)
        .after_start(true)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for HomeConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HomeConnection").finish_non_exhaustive()
    }
}

impl fmt::Debug for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Away")
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}
