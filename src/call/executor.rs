//! Runs the items of requests, one after the other.
//!
//! Runs in the worker, or in a single-task process, on the thread that runs tasks.
//!
//! ```text
//! next        wait for a request, look up its function in the image's table
//! run_all<C>  called through that table, so with the types of the function C
//!   claim       one atomic addition: from here on the item counts as started
//!   arguments   decode
//!   C::call     the user's function
//!   put_result  encode into the open reply, publish
//! finish      commit the last reply, release the request
//! ```
//!
//! Must stay true: an item is claimed before its arguments are decoded; every claimed item gets exactly one outcome,
//! whatever panics; a request whose items were all revoked gets no reply.
//!
//! Never here: the layout of frames (`envelope`), and how long a worker waits (`request_reader`, `reply_writer`).

use std::any::Any;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::envelope;
use super::envelope::Status;
use super::panic_capture;
use super::relayed::{RelayedItem, StateLoan};
use super::reply_writer::ReplyWriter;
use super::request_reader::RequestReader;
use super::result_blobs::ResultBlobs;
use super::unsendable::Unsendable;
use crate::codec::codec;
use crate::ring::{Consumer, Corrupt, Producer};
use crate::sys::cpu_timer::CpuTimer;
use crate::sys::doorbell::Doorbell;
use crate::sys::image;
use crate::sys::image::{Enter, Entry};
use crate::sys::{fork, fork_epoch, out_of_memory, process_tree};
use crate::task::{Call, Stopped, enter_item, enter_task, enter_trace, is_state_spoiled};
use crate::transfer::control::ControlSocket;
use crate::transfer::lane::Lane;
use crate::transfer::leave_answer;
use crate::transfer::mapped_blobs::MappedBlobs;

/// The exit status of a program whose main thread panics.
const STATUS_OF_PANIC: i32 = 101;

/// The entry point of `C` in the image's table.
#[derive(Debug)]
pub(crate) struct EntryOf<C>(PhantomData<C>);

impl<C: Call> Entry for EntryOf<C> {
    fn enter(call: &mut dyn Any) {
        // The entry points of this crate are called with one of these three.
        if let Some(executor) = call.downcast_mut::<Executor>() {
            executor.run_all::<C>();
        } else if let Some(relayed) = call.downcast_mut::<RelayedItem>() {
            relayed.run::<C>();
        } else if let Some(loan) = call.downcast_mut::<StateLoan>() {
            loan.0 = C::lend_state();
        }
    }
}

/// A worker's ends of its two rings, and how far the current item has come.
#[derive(Debug)]
pub(crate) struct Executor {
    requests: RequestReader,
    replies: ReplyWriter,
    /// The fork epoch of this process. Its copies have another.
    epoch: u64,
    step: ItemStep,
    /// How many requests this process has waited for.
    requests_seen: u32,
    /// Runs while an item of a task does, if the pool limits processor time.
    cpu_timer: Option<CpuTimer>,
    /// Whether this process begins nothing more, and has no answer to that.
    leaves: bool,
    /// Whether the task has a trace context.
    is_traced: bool,
}

/// After so many requests this process reaps ended children, which costs as much as a short task.
const REQUESTS_PER_CHECK: u32 = 256;

/// How far an item has come. Says what its outcome is if it panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ItemStep {
    /// No item is claimed that has no outcome.
    Between,
    Decoding,
    Running,
    Encoding,
}

/// What a worker does next.
#[derive(Debug)]
pub(crate) enum NextRequest {
    /// Runs the current request, by calling this with the executor.
    Run(Enter),
    /// Exits.
    Stop,
}

impl Executor {
    /// `parent` is the parent's doorbell; `None` if the parent reads replies only after this process has exited.
    pub(crate) fn new(
        requests: Consumer,
        replies: Producer,
        parent: Option<Arc<Doorbell>>,
        control: Arc<ControlSocket>,
    ) -> Self {
        let blobs = Arc::default();
        Self::of_lane(Lane::FIRST, requests, replies, parent, control, blobs)
    }

    /// The executor of another lane of the same worker.
    pub(crate) fn of_other(&self, lane: Lane, requests: Consumer, replies: Producer) -> Self {
        let (parent, control) = self.replies.connection();
        Self::of_lane(lane, requests, replies, parent, control, self.blobs())
    }

    fn of_lane(
        lane: Lane,
        requests: Consumer,
        replies: Producer,
        parent: Option<Arc<Doorbell>>,
        control: Arc<ControlSocket>,
        blobs: Arc<MappedBlobs>,
    ) -> Self {
        Self {
            requests: RequestReader::new(requests, blobs),
            replies: ReplyWriter::new(replies, parent, control, lane),
            epoch: fork_epoch::current(),
            step: ItemStep::Between,
            requests_seen: 0,
            cpu_timer: None,
            leaves: false,
            is_traced: false,
        }
    }

    /// Limits the processor time of each item of a task by this timer.
    pub(crate) fn limit_cpu_time(&mut self, timer: CpuTimer) {
        self.cpu_timer = Some(timer);
    }

    /// Takes the blobs and attachments that arrive over the control socket.
    pub(crate) fn blobs(&self) -> Arc<MappedBlobs> {
        Arc::clone(self.requests.blobs())
    }

    /// Takes back the blobs that the parent has read.
    pub(crate) fn result_blobs(&self) -> Arc<ResultBlobs> {
        Arc::clone(self.replies.blobs())
    }

    /// Says that this process takes requests from now on.
    pub(crate) fn announce_service(&self) {
        self.requests.announce_service();
    }

    /// Waits for the next request and makes it the current one. Blocks.
    ///
    /// # Errors
    ///
    /// The parent's memory is corrupt, and this process must exit.
    pub(crate) fn next(&mut self) -> Result<NextRequest, Corrupt> {
        if std::mem::take(&mut self.leaves) && !self.waits_for_last_call() {
            return Ok(NextRequest::Stop);
        }
        loop {
            self.count_request();
            let arrival = self.requests.wait()?;
            if arrival.waited {
                self.replies.read_clock();
            }
            if arrival.frame.kind() == envelope::STOP {
                return Ok(NextRequest::Stop);
            }
            let token = self.requests.begin(arrival.frame)?;
            match image::lookup(token) {
                Some(enter) => return Ok(NextRequest::Run(enter)),
                None => self.refuse_all(),
            }
        }
    }

    /// Looks now and then for ended children that no task waits for.
    #[inline]
    fn count_request(&mut self) {
        self.requests_seen = self.requests_seen.wrapping_add(1);
        if self.requests_seen % REQUESTS_PER_CHECK == 0 {
            process_tree::reap_forgotten();
        }
    }

    /// Runs the current request.
    fn run_all<C: Call>(&mut self) {
        // One `catch_unwind` for all items and not for each: so it costs nothing per item.
        while let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.run_items::<C>())) {
            self.put_panicked(payload);
            if is_state_spoiled() {
                return self.leave();
            }
        }
        self.finish();
    }

    /// Begins nothing more: a call has panicked while it had the state. Items that are not claimed run in other
    /// workers.
    #[cold]
    fn leave(&mut self) {
        self.leaves = true;
        self.replies.leave();
        match self.requests.has_more() {
            true => {
                self.disarm_cpu_timer();
                self.replies.commit_leaving(&self.requests);
            }
            false => self.finish(),
        }
    }

    /// Waits until the parent has revoked all requests. True if a call follows that this process runs all the same, and
    /// is then told to stop.
    #[cold]
    fn waits_for_last_call(&mut self) -> bool {
        let follows = leave_answer::wait();
        if follows && self.requests.item().is_some() {
            self.finish();
        }
        follows
    }

    fn run_items<C: Call>(&mut self) {
        while self.claim() {
            self.run_item::<C>();
            self.step = ItemStep::Between;
            if self.requests.has_more() {
                self.replies.commit_if_old();
            }
        }
    }

    #[inline]
    fn run_item<C: Call>(&mut self) {
        self.step = ItemStep::Decoding;
        match self.requests.arguments::<C::Args>() {
            Ok(arguments) => {
                self.step = ItemStep::Running;
                out_of_memory::forget_failed_allocations();
                let result = C::call(arguments);
                self.end_copy(0);
                if self.requests.is_single() {
                    self.replies.check_doorbell();
                }
                self.step = ItemStep::Encoding;
                self.replies.put_result(&self.requests, &result);
                // Dropping the result may panic, and the item has its outcome.
                self.step = ItemStep::Between;
            }
            Err(why) => {
                self.replies
                    .put_text(&self.requests, Status::DecodeFailed, &why);
            }
        }
    }

    /// Ends a copy of this process that a task has made (`fork(2)`) and that came back from the task. It has the same
    /// rings, and would take the worker's next requests.
    #[inline]
    fn end_copy(&self, status: i32) {
        if fork_epoch::current() != self.epoch {
            fork::quit(status);
        }
    }

    /// Gives the item that panicked its outcome.
    #[cold]
    fn put_panicked(&mut self, payload: Box<dyn Any + Send>) {
        self.end_copy(STATUS_OF_PANIC);
        let (requests, replies) = (&self.requests, &mut self.replies);
        match std::mem::replace(&mut self.step, ItemStep::Between) {
            ItemStep::Decoding => {
                let why = codec::decode_panicked(&*payload);
                replies.put_text(requests, Status::DecodeFailed, &why);
            }
            ItemStep::Running if payload.is::<Unsendable>() => {
                if let Ok(unsendable) = payload.downcast::<Unsendable>() {
                    replies.put_text(requests, Status::EncodeFailed, &unsendable.0);
                }
                return;
            }
            ItemStep::Running if payload.is::<Stopped>() => {
                // The parent knows better why, and says so.
                replies.put_text(requests, Status::EncodeFailed, "it was asked to stop");
                return;
            }
            ItemStep::Running => {
                let report = panic_capture::report_of(payload);
                return replies.put_panic(requests, &report);
            }
            ItemStep::Encoding => {
                replies.rewind();
                let why = codec::encode_panicked(&*payload);
                replies.put_text(requests, Status::EncodeFailed, &why);
            }
            ItemStep::Between => {}
        }
        // The report is used up, so that a later panic does not find it.
        drop(panic_capture::report_of(payload));
    }

    /// Answers every item of a request whose function is not in this image's table.
    fn refuse_all(&mut self) {
        while self.claim() {
            self.replies.put_text(&self.requests, Status::Unknown, "");
        }
        self.finish();
    }

    /// Claims the next item of the current request. False if no item is left.
    #[inline]
    fn claim(&mut self) -> bool {
        let is_timed = self.requests.is_timed();
        if is_timed {
            // The time limit is that of one item: what comes between two items does not count.
            self.requests.clear_start();
        }
        match self.requests.claim() {
            None => return false,
            Some(0) => self.on_first_item(),
            Some(_) => {
                self.arm_cpu_timer();
                if is_timed {
                    self.requests.stamp_start(self.replies.read_clock());
                }
                if self.requests.is_eager() {
                    self.replies.commit(false);
                }
            }
        }
        enter_item(self.requests.place());
        true
    }

    fn on_first_item(&mut self) {
        let Some((head, _)) = self.requests.item() else {
            return;
        };
        enter_task(head.task, self.requests.number());
        self.is_traced = head.flags & envelope::TRACED != 0;
        if self.is_traced {
            enter_trace(self.requests.trace());
        }
        // Initializers have no limit.
        if head.task != 0 {
            self.arm_cpu_timer();
        }
        self.requests.clear_progress();
        self.requests.stamp_start(self.replies.clock());
        if head.attachments != 0 {
            // The parent still has the same descriptors, and closes them when it sees that the item was claimed.
            self.replies.wake_parent();
        }
    }

    #[inline]
    fn arm_cpu_timer(&self) {
        if let Some(timer) = &self.cpu_timer {
            timer.arm();
        }
    }

    fn disarm_cpu_timer(&self) {
        if let Some(timer) = &self.cpu_timer {
            timer.disarm();
        }
    }

    /// Ends the current request.
    fn finish(&mut self) {
        self.disarm_cpu_timer();
        self.requests.close_attachments();
        if self.requests.claimed() > 0 {
            enter_task(0, 0);
            if self.is_traced {
                enter_trace(None);
            }
            self.replies.commit_last(&self.requests);
        }
        if self.requests.release() {
            self.replies.wake_parent();
        }
    }
}
