//! The worker's side of its rings: takes requests, runs them, gives replies.
//!
//! One item after the other: claim it, decode its arguments, run it, encode its outcome into the
//! open reply, publish. A reply is committed when its request is done, when it is full, or when its
//! first outcome has waited long enough.

use std::any::Any;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::envelope;
use super::envelope::{ITEM_PREFIX, Request, Status};
use super::panic_capture;
use super::result_blobs::Outgoing;
use crate::codec::attachments;
use crate::codec::attachments::Received;
use crate::codec::codec;
use crate::ring::{Consumer, Corrupt, Frame, Producer};
use crate::sys::clock::Moment;
use crate::sys::doorbell::Doorbell;
use crate::sys::futex;
use crate::sys::image;
use crate::sys::image::{Enter, Entry, Token};
use crate::task::{Call, enter_task};
use crate::transfer::blob;
use crate::transfer::blob::MappedBlobs;
use crate::transfer::control::ControlSocket;

/// How long an idle worker looks before it sleeps. Longer than the parent takes to send the next
/// request of a stream, shorter than anybody's idea of a busy loop.
const LOOKING: Duration = Duration::from_micros(20);

/// Looks between two offers of the processor to others. On a crowded processor spinning without
/// them costs ten times the round trip.
const LOOKS_PER_YIELD: u32 = 20;

/// The entry point of `C` in the image's table.
#[derive(Debug)]
pub(crate) struct EntryOf<C>(PhantomData<C>);

impl<C: Call> Entry for EntryOf<C> {
    fn enter(call: &mut dyn Any) {
        // Nothing else is ever passed to an entry point of this crate.
        if let Some(execution) = call.downcast_mut::<Executor>() {
            execution.run_all::<C>();
        }
    }
}

/// What a worker holds, and the request it is at.
#[derive(Debug)]
pub(crate) struct Executor {
    pub(super) requests: Consumer,
    pub(super) replies: Producer,
    /// None if nobody listens before the end.
    pub(super) parent: Option<Doorbell>,
    pub(super) control: Arc<ControlSocket>,
    pub(super) blobs: Arc<MappedBlobs>,
    pub(super) parcels: Arc<Outgoing>,
    pub(super) sequence: u64,
    pub(super) clock: Moment,
    pub(super) request: Request,
    pub(super) frame: Option<Frame>,
    pub(super) input: Vec<u8>,
    pub(super) cursor: usize,
    pub(super) index: u32,
    pub(super) step: Step,
    pub(super) open: Open,
    /// The descriptors in the arguments of the request.
    pub(super) received: Received,
}

/// Where an item is, for when it panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It has its outcome, or was not begun.
    Between,
    Decoding,
    Running,
    Encoding,
}

/// The reply being written, if one is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Open {
    pub(super) is_open: bool,
    pub(super) first: u32,
    pub(super) count: u32,
    pub(super) since: Moment,
    /// Where the outcome that is being written begins.
    pub(super) item: usize,
    /// Whether descriptors were sent ahead of it.
    pub(super) baggage: bool,
}

/// What a worker does next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Run the request that was taken, by calling this with the execution.
    Run(Enter),
    /// End.
    Stop,
}

impl Executor {
    pub(crate) fn new(
        requests: Consumer,
        replies: Producer,
        parent: Option<Doorbell>,
        control: Arc<ControlSocket>,
    ) -> Self {
        Self {
            requests,
            replies,
            parent,
            control,
            blobs: Arc::default(),
            parcels: Arc::default(),
            sequence: 0,
            clock: Moment::now(),
            request: Request {
                items: 0,
                task: 0,
                token: 0,
                parcel: 0,
                parcel_len: 0,
                flags: 0,
                baggage: 0,
            },
            frame: None,
            input: Vec::new(),
            cursor: 0,
            index: 0,
            step: Step::Between,
            open: Open {
                is_open: false,
                first: 0,
                count: 0,
                since: Moment::default(),
                item: 0,
                baggage: false,
            },
            received: Received::default(),
        }
    }

    /// Where the parcels that the parent announces are kept.
    pub(crate) fn blobs(&self) -> Arc<MappedBlobs> {
        Arc::clone(&self.blobs)
    }

    /// The parcels that the parent gives back.
    pub(crate) fn parcels(&self) -> Arc<Outgoing> {
        Arc::clone(&self.parcels)
    }

    /// Takes the next request, waiting for one.
    pub(crate) fn next(&mut self) -> Result<Next, Corrupt> {
        loop {
            let frame = self.wait_for_request()?;
            if frame.kind() == envelope::STOP {
                return Ok(Next::Stop);
            }
            self.input.clear();
            self.requests.copy(frame, 0, frame.len(), &mut self.input);
            self.request = Request::from_bytes(&self.input).ok_or(Corrupt)?;
            self.frame = Some(frame);
            self.cursor = Request::BYTES;
            self.received = match self.request.baggage {
                0 => Received::default(),
                id => self.blobs.wait_for_baggage(id).into(),
            };
            match image::lookup(Token::from_bits(self.request.token)) {
                Some(enter) => return Ok(Next::Run(enter)),
                None => self.refuse_all(),
            }
        }
    }

    fn wait_for_request(&mut self) -> Result<Frame, Corrupt> {
        if let Some(frame) = self.requests.peek()? {
            return Ok(frame);
        }
        loop {
            let began = Moment::now();
            while Moment::now().since(began) < LOOKING {
                for _ in 0..LOOKS_PER_YIELD {
                    if let Some(frame) = self.requests.peek()? {
                        self.clock = Moment::now();
                        return Ok(frame);
                    }
                    std::hint::spin_loop();
                }
                std::thread::yield_now();
            }
            if self.requests.announce_sleep() {
                futex::wait(self.requests.sleep_word(), 1, None);
            }
            self.requests.awake();
        }
    }

    fn run_all<C: Call>(&mut self) {
        // Caught around all items and not around each: what is caught once costs nothing per item.
        while let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.run_items::<C>())) {
            self.account_for(payload);
        }
        self.finish();
    }

    fn run_items<C: Call>(&mut self) {
        while self.claim() {
            self.step = Step::Decoding;
            match self.arguments::<C::Args>() {
                Ok(arguments) => {
                    self.step = Step::Running;
                    let result = C::call(arguments);
                    self.step = Step::Encoding;
                    self.reply(&result);
                    self.step = Step::Between;
                    drop(result);
                }
                Err(why) => self.put_text(Status::DecodeFailed, &why),
            }
            self.step = Step::Between;
            self.commit_if_stale();
        }
    }

    /// Gives the item that panicked its outcome.
    #[cold]
    fn account_for(&mut self, payload: Box<dyn Any + Send>) {
        match std::mem::replace(&mut self.step, Step::Between) {
            Step::Decoding => {
                self.put_text(Status::DecodeFailed, &codec::decode_panicked(&*payload));
            }
            Step::Encoding => {
                if self.open.is_open {
                    self.replies.resume().rewind(self.open.item);
                }
                self.put_text(Status::EncodeFailed, &codec::encode_panicked(&*payload));
            }
            Step::Running => {
                let report = panic_capture::report_of(payload);
                let put = self.put(Status::Panicked, |writer| {
                    codec::encode(&report, writer).map(|()| true)
                });
                if put.is_err() {
                    self.put_text(Status::EncodeFailed, "its panic's report is too long");
                }
                return;
            }
            // It has its outcome: dropping the result panicked.
            Step::Between => {}
        }
        drop(panic_capture::report_of(payload));
    }

    /// Answers every item of a request whose function this image does not have.
    fn refuse_all(&mut self) {
        while self.claim() {
            self.put_text(Status::Unknown, "");
        }
        self.finish();
    }

    #[inline]
    fn claim(&mut self) -> bool {
        let Some(frame) = self.frame else {
            return false;
        };
        if self.request.flags & envelope::TIMED != 0 {
            self.unstamp(frame);
        }
        let Some(index) = envelope::claim(self.requests.word(frame, Request::SPAN)) else {
            return false;
        };
        if index == 0 {
            enter_task(self.request.task);
            self.stamp(frame);
            if self.request.baggage != 0 {
                // It has the same descriptors, and lets go of them now.
                self.wake_parent();
            }
        } else if self.request.flags & envelope::TIMED != 0 {
            self.clock = Moment::now();
            self.stamp(frame);
        }
        if index > 0 {
            self.commit_if_eager(frame);
        }
        self.index = index;
        true
    }

    fn stamp(&self, frame: Frame) {
        let started = self.requests.word(frame, Request::STARTED);
        started.store(self.clock.to_bits(), Ordering::Release);
    }

    /// Nothing's time runs: that of the item before must not be held against the next.
    pub(super) fn unstamp(&self, frame: Frame) {
        let started = self.requests.word(frame, Request::STARTED);
        started.store(0, Ordering::Release);
    }

    #[inline]
    fn arguments<A: DeserializeOwned>(&mut self) -> Result<A, String> {
        if self.received.is_empty() {
            return self.decode_arguments();
        }
        // Every item takes what is its own; what none takes is closed with the request.
        let mut bag = std::mem::take(&mut self.received);
        let decoded = attachments::unpacking(&mut bag, || self.decode_arguments());
        self.received = bag;
        decoded
    }

    #[inline]
    fn decode_arguments<A: DeserializeOwned>(&mut self) -> Result<A, String> {
        if self.request.parcel != 0 {
            let memory = self.blobs.wait(self.request.parcel);
            return blob::open(&memory, self.request.parcel_len as usize);
        }
        let torn = || "the request was overwritten".to_owned();
        let rest = self.input.get(self.cursor..).ok_or_else(torn)?;
        let prefix = rest.first_chunk::<ITEM_PREFIX>().ok_or_else(torn)?;
        let len = u32::from_le_bytes(*prefix) as usize;
        let item = rest.get(ITEM_PREFIX..ITEM_PREFIX + len).ok_or_else(torn)?;
        // Before it is decoded, which may panic.
        self.cursor += ITEM_PREFIX + len;
        codec::decode_unguarded(item)
    }

    /// Ends the request: its last reply goes out, unless nothing of it was ever claimed.
    fn finish(&mut self) {
        let Some(frame) = self.frame.take() else {
            return;
        };
        // What no item has taken is closed, and not kept until the next request comes.
        self.received = Received::default();
        if envelope::claimed(self.requests.word(frame, Request::SPAN)) > 0 {
            if !self.open.is_open {
                self.index += 1;
                self.open_reply();
            }
            enter_task(0);
            self.commit(true);
        }
        self.requests.release(frame);
        if self.requests.take_sleeping_producer() {
            self.wake_parent();
        }
    }

    pub(super) fn wake_parent(&self) {
        if let Some(bell) = &self.parent {
            bell.ring();
        }
    }
}
