//! The caller's side of a call: arguments until they are sent, an outcome when it has come.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Slot;
use super::envelope;
use super::envelope::{ITEM_PREFIX, Status};
use super::executor::EntryOf;
use crate::codec::attachments;
use crate::codec::attachments::{Bag, Received};
use crate::codec::codec;
use crate::codec::codec::EncodeFault;
use crate::error::{ErrorKind, JoinError, PanicReport};
use crate::ring::Writer;
use crate::sys::image;
use crate::sys::image::Token;
use crate::sys::memory::Mapping;
use crate::task::Call;
use crate::transfer::blob;
use crate::transfer::blob::{BlobPool, Packed};

/// One or more items of work whose types are forgotten.
///
/// Arguments stay with the job until it has its outcomes, so that it can be sent again when the
/// worker that had it never started it; or until it is known that it will not be ([`Job::let_go`]).
pub(crate) trait Job: Send + Sync + fmt::Debug {
    /// The function's path.
    fn name(&self) -> &'static str;

    /// The function's place in the image's table.
    fn token(&self) -> io::Result<Token>;

    /// How many items there are.
    fn items(&self) -> usize;

    /// Writes items from the first on, as many as fit.
    fn write(&self, writer: &mut Writer<'_>) -> Wrote;

    /// Encodes the first item, which does not fit a ring. May take long: not on a runtime thread.
    fn pack(&self, store: &Mutex<BlobPool>) -> Result<Packed, String>;

    /// Takes the outcomes of the items from `first` on. Returns how many of them were failures.
    fn deliver(&self, first: usize, outcomes: Outcomes<'_>) -> usize;

    /// Ends the `count` items from `first` on with an error.
    fn fail(&self, first: usize, count: usize, error: &JoinError);

    /// Forgets the arguments: they were sent, and will not be sent again.
    fn let_go(&self) {}

    /// The group of the job, if it can be cancelled together with others.
    fn group(&self) -> Option<GroupId> {
        None
    }

    /// Moves the items from `at` on, of which there is at least one, to a job of their own.
    fn split(&self, at: usize) -> Arc<dyn Job>;
}

/// Names a group of jobs that can be cancelled together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupId(u64);

impl GroupId {
    /// An id that no other group of this process has.
    pub(crate) fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// How far [`Job::write`] got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrote {
    pub(crate) items: usize,
    /// Why not all items were written.
    pub(crate) stopped: Option<EncodeFault>,
}

/// Writes one item, prefixed by its length.
#[inline]
pub(crate) fn write_item<A: Serialize>(
    arguments: &A,
    writer: &mut Writer<'_>,
) -> Result<(), EncodeFault> {
    let at = writer.len();
    let stowed = attachments::stowed();
    if !writer.extend(&[0; ITEM_PREFIX]) {
        return Err(EncodeFault::Full);
    }
    match codec::encode(arguments, writer) {
        Ok(()) => {
            let len = (writer.len() - at - ITEM_PREFIX) as u32;
            writer.patch(at, &len.to_le_bytes());
            Ok(())
        }
        Err(fault) => {
            writer.rewind(at);
            attachments::unstow(stowed);
            Err(fault)
        }
    }
}

/// Encodes `arguments` into a parcel from `store`.
pub(crate) fn pack_item<A: Serialize>(
    arguments: &A,
    store: &Mutex<BlobPool>,
) -> Result<Packed, String> {
    let why = |fault| match fault {
        EncodeFault::Refused(why) => why,
        EncodeFault::Full => "it was serialised to different lengths in a row".to_owned(),
    };
    let mut baggage = Vec::new();
    let measured = attachments::filling(&mut Bag::default(), || codec::measure(arguments));
    let len = measured.map_err(why)?;
    let taken = store
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take(len);
    let mut parcel = taken.map_err(|error| format!("no shared memory for it: {error}"))?;
    attachments::packing(&mut baggage, || parcel.fill(arguments, len)).map_err(why)?;
    Ok(Packed {
        parcel,
        len,
        baggage,
    })
}

/// The outcomes in one reply.
#[derive(Debug)]
pub(crate) struct Outcomes<'a> {
    pub(crate) rest: &'a [u8],
    pub(crate) count: usize,
    pub(crate) pid: u32,
    /// How long they took together.
    pub(crate) ran: Duration,
    /// The memory of a result that came in a parcel.
    pub(crate) parcel: Option<(&'a Mapping, usize)>,
    /// The descriptors in the results.
    pub(crate) baggage: Received,
}

impl Outcomes<'_> {
    /// The next outcome of a call of `task`, or `None` after the last. A panic of the type's
    /// `Deserialize` goes on, and the outcome after it is the next.
    #[inline]
    pub(crate) fn next<R: DeserializeOwned>(
        &mut self,
        task: &'static str,
    ) -> Option<Result<R, JoinError>> {
        if self.count == 0 {
            return None;
        }
        self.count -= 1;
        let Some((status, body)) = envelope::next_outcome(&mut self.rest) else {
            self.rest = &[];
            let why = "its reply was overwritten in the worker's memory";
            return Some(Err(self.error(ErrorKind::Decode, task).because(why)));
        };
        Some(match status {
            Status::Done => codec::decode_unguarded(body).map_err(|why| self.undecoded(task, &why)),
            Status::Elsewhere => self.open(task),
            other => Err(self.failed(other, task, body)),
        })
    }

    /// The outcome whose decoding panicked.
    #[cold]
    pub(crate) fn panicked(&self, task: &'static str, payload: &(dyn Any + Send)) -> JoinError {
        self.undecoded(task, &codec::decode_panicked(payload))
    }

    fn open<R: DeserializeOwned>(&self, task: &'static str) -> Result<R, JoinError> {
        match self.parcel {
            Some((memory, len)) => {
                blob::open(memory, len).map_err(|why| self.undecoded(task, &why))
            }
            None => Err(self.undecoded(task, "its shared memory did not come")),
        }
    }

    #[cold]
    fn undecoded(&self, task: &'static str, why: &str) -> JoinError {
        self.error(ErrorKind::Decode, task)
            .because(format!("the result: {why}"))
    }

    #[cold]
    fn failed(&self, status: Status, task: &'static str, body: &[u8]) -> JoinError {
        let text = || String::from_utf8_lossy(body).into_owned();
        match status {
            Status::Panicked => match codec::decode::<PanicReport>(body) {
                Ok(report) => self.error(ErrorKind::Panicked, task).with_panic(report),
                Err(why) => self.undecoded(task, &why),
            },
            Status::EncodeFailed => self
                .error(ErrorKind::Encode, task)
                .because(format!("the result: {}", text())),
            Status::DecodeFailed => self
                .error(ErrorKind::Decode, task)
                .because(format!("the arguments: {}", text()))
                .after_start(false),
            _ => self
                .error(ErrorKind::Decode, task)
                .because("the worker's program has no such function")
                .after_start(false),
        }
    }

    #[cold]
    fn error(&self, kind: ErrorKind, task: &'static str) -> JoinError {
        JoinError::new(kind, task)
            .in_process(self.pid)
            .after_start(true)
    }
}

/// Gives every outcome to `take`, also those whose decoding panics.
#[inline]
pub(crate) fn each_outcome<R: DeserializeOwned>(
    outcomes: &mut Outcomes<'_>,
    task: &'static str,
    mut take: impl FnMut(Result<R, JoinError>),
) {
    let mut bag = std::mem::take(&mut outcomes.baggage);
    if bag.is_empty() {
        take_each(outcomes, task, &mut take);
    } else {
        attachments::unpacking(&mut bag, || take_each(outcomes, task, &mut take));
    }
}

fn take_each<R: DeserializeOwned>(
    outcomes: &mut Outcomes<'_>,
    task: &'static str,
    take: &mut impl FnMut(Result<R, JoinError>),
) {
    loop {
        // Caught around all and not around each: what is caught once costs nothing per outcome.
        let caught = catch_unwind(AssertUnwindSafe(|| {
            while let Some(outcome) = outcomes.next(task) {
                take(outcome);
            }
        }));
        match caught {
            Ok(()) => return,
            Err(payload) => take(Err(outcomes.panicked(task, &*payload))),
        }
    }
}

/// One call, and the slot for its outcome.
pub(crate) struct Single<C: Call> {
    arguments: Mutex<Option<C::Args>>,
    slot: Slot<C::Output>,
}

/// A call whose result has the type `R`; what a handle holds.
pub(crate) trait Awaited<R>: Job {
    fn slot(&self) -> &Slot<R>;

    /// The call as a job, which does not name its result type.
    fn into_job(self: Arc<Self>) -> Arc<dyn Job>;
}

impl<C: Call> Single<C> {
    pub(crate) fn new(arguments: C::Args) -> Self {
        Self {
            arguments: Mutex::new(Some(arguments)),
            slot: Slot::new(),
        }
    }

    fn settle(&self, outcome: Result<C::Output, JoinError>) {
        self.forget_arguments();
        self.slot.set(outcome);
    }

    fn forget_arguments(&self) {
        let arguments = self
            .arguments
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(arguments);
    }

    fn with_arguments<T>(&self, gone: T, f: impl FnOnce(&C::Args) -> T) -> T {
        let arguments = self
            .arguments
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match &*arguments {
            Some(arguments) => f(arguments),
            None => gone,
        }
    }
}

impl<C: Call> Awaited<C::Output> for Single<C> {
    fn slot(&self) -> &Slot<C::Output> {
        &self.slot
    }

    fn into_job(self: Arc<Self>) -> Arc<dyn Job> {
        self
    }
}

impl<C: Call> Job for Single<C> {
    fn name(&self) -> &'static str {
        C::name()
    }

    fn token(&self) -> io::Result<Token> {
        image::token::<EntryOf<C>>()
    }

    fn items(&self) -> usize {
        1
    }

    fn write(&self, writer: &mut Writer<'_>) -> Wrote {
        let gone = Err(EncodeFault::Refused("it has an outcome".to_owned()));
        match self.with_arguments(gone, |arguments| write_item(arguments, writer)) {
            Ok(()) => Wrote {
                items: 1,
                stopped: None,
            },
            Err(fault) => Wrote {
                items: 0,
                stopped: Some(fault),
            },
        }
    }

    fn pack(&self, store: &Mutex<BlobPool>) -> Result<Packed, String> {
        let gone = Err("it has an outcome".to_owned());
        self.with_arguments(gone, |arguments| pack_item(arguments, store))
    }

    fn deliver(&self, _: usize, mut outcomes: Outcomes<'_>) -> usize {
        let mut failed = 0;
        each_outcome(&mut outcomes, C::name(), |outcome| {
            failed = usize::from(outcome.is_err());
            self.settle(outcome);
        });
        failed
    }

    fn fail(&self, _: usize, _: usize, error: &JoinError) {
        self.settle(Err(error.clone().about(C::name())));
    }

    fn let_go(&self) {
        self.forget_arguments();
    }

    fn split(&self, _: usize) -> Arc<dyn Job> {
        unreachable!("a single call has one item, and a job is split behind at least one")
    }
}

impl<C: Call> fmt::Debug for Single<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Single")
            .field("task", &C::name())
            .field("slot", &self.slot)
            .finish()
    }
}
