//! The items of a function that gives them while it runs, and then its outcome.
//!
//! Runs in the parent, in the task that reads the stream. The function is a call like any other, whose first argument
//! is the sending end of a channel; the receiving end is here. When the call has its outcome, everything the function
//! has sent is in the channel: the channel is closed, read to its end, and only then comes the outcome.
//!
//! Must stay true: a failure is the last item; a dropped stream leaves no call behind; a worker that never stops
//! sending does not delay the end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use serde::de::DeserializeOwned;

use super::emit::Emit;
use crate::channel;
use crate::channel::{Flavor as _, MOST_MESSAGES, Mpmc, RecvError, Rx, Waiter};
use crate::error::{ErrorKind, JoinError};

/// How many items a function may be ahead of its reader, unless the stream says otherwise.
const BUFFER: usize = 64;

/// How many items may have left the channel, when it is closed, and not have been given.
const BEING_DECODED: usize = 2;

/// See the module. `C` is the call, `O` are its options, which may change before the first poll.
pub(crate) struct ItemStream<T, C, O> {
    pub(crate) options: O,
    name: &'static str,
    buffer: usize,
    stage: ItemStage<T, C, O>,
}

/// Makes the call, once there is an end to send items through.
type MakeCall<T, C, O> = Box<dyn FnOnce(Emit<T>, O) -> C + Send>;

enum ItemStage<T, C, O> {
    New(MakeCall<T, C, O>),
    /// The call has no outcome. There are no items once the function has dropped its end.
    Running(Box<C>, Option<Items<T>>),
    /// The call has its outcome, which comes after the items that are left.
    Ended(Result<(), JoinError>, Option<Items<T>>),
    Over,
}

/// The receiving end of the items.
struct Items<T> {
    rx: Rx<T, Mpmc>,
    waiter: Waiter,
    /// How many more may come. A bound, because a worker may ignore that the channel was closed.
    left: usize,
}

impl<T, C, O> ItemStream<T, C, O> {
    /// The items of the call `name`, which `make` makes at the first poll.
    pub(crate) fn new(
        name: &'static str,
        options: O,
        make: impl FnOnce(Emit<T>, O) -> C + Send + 'static,
    ) -> Self {
        Self {
            options,
            name,
            buffer: BUFFER,
            stage: ItemStage::New(Box::new(make)),
        }
    }

    /// How many items the function may be ahead of the reader.
    pub(crate) fn set_buffer(&mut self, items: usize) {
        self.buffer = items.clamp(1, MOST_MESSAGES);
    }

    /// The path of the function.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Whether the last item was given.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stage, ItemStage::Over)
    }

    /// How far it has come, for people.
    pub(crate) fn stage(&self) -> &'static str {
        match &self.stage {
            ItemStage::New(_) => "new",
            ItemStage::Running(..) => "running",
            ItemStage::Ended(..) => "ended",
            ItemStage::Over => "over",
        }
    }
}

impl<T, C, O> ItemStream<T, C, O>
where
    T: DeserializeOwned + Send + 'static,
    C: Future<Output = Result<(), JoinError>> + Unpin,
    O: Clone,
{
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        self.start();
        if let ItemStage::Running(call, items) = &mut self.stage {
            if let Poll::Ready(Some(item)) = poll_item(items, cx) {
                return Poll::Ready(self.give(item));
            }
            let outcome = ready!(Pin::new(&mut **call).poll(cx));
            self.end(outcome);
        }
        if let ItemStage::Ended(_, items) = &mut self.stage {
            if let Some(item) = ready!(poll_item(items, cx)) {
                return Poll::Ready(self.give(item));
            }
        }
        Poll::Ready(self.finish())
    }

    /// Makes the channel and the call, if the stream was not polled before. The first poll of the call submits it.
    fn start(&mut self) {
        let make = match std::mem::replace(&mut self.stage, ItemStage::Over) {
            ItemStage::New(make) => make,
            other => return self.stage = other,
        };
        self.stage = match channel::create::<Mpmc>(self.buffer) {
            Ok((sender, receiver)) => {
                let call = make(Emit::new(sender), self.options.clone());
                ItemStage::Running(Box::new(call), Some(Items::new(receiver)))
            }
            Err(error) => {
                let why = format!("there is no channel for its items: {error}");
                let error = JoinError::new(ErrorKind::Spawn, self.name).because(why);
                ItemStage::Ended(Err(error), None)
            }
        };
    }

    /// The call has its outcome: what was sent before is read, and nothing that is sent from now on.
    fn end(&mut self, outcome: Result<(), JoinError>) {
        if let ItemStage::Running(_, items) = &mut self.stage {
            let mut items = items.take();
            if let Some(items) = &mut items {
                items.rx.flavor().close();
                items.left = self.buffer + BEING_DECODED;
            }
            self.stage = ItemStage::Ended(outcome, items);
        }
    }

    fn give(&mut self, item: Result<T, String>) -> Option<Result<T, JoinError>> {
        Some(item.map_err(|why| {
            // Drops the call, which stops the function.
            self.stage = ItemStage::Over;
            JoinError::new(ErrorKind::Decode, self.name)
                .because(format!("an item of the stream: {why}"))
                .after_start(true)
        }))
    }

    /// The failure of the function, as the last item, or the end.
    fn finish(&mut self) -> Option<Result<T, JoinError>> {
        match std::mem::replace(&mut self.stage, ItemStage::Over) {
            ItemStage::Ended(Err(error), _) => Some(Err(error)),
            _ => None,
        }
    }
}

impl<T> Items<T> {
    fn new(receiver: Mpmc) -> Self {
        Self {
            rx: Rx::new(receiver),
            waiter: Waiter::default(),
            left: usize::MAX,
        }
    }
}

/// The next item; `None` if there are no more, or their end is gone.
fn poll_item<T: DeserializeOwned + Send + 'static>(
    items: &mut Option<Items<T>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<T, String>>> {
    let Some(open) = items.as_mut().filter(|it| it.left > 0) else {
        return Poll::Ready(None);
    };
    let item = match ready!(open.rx.poll_recv(&mut open.waiter, cx)) {
        Ok(item) => Some(Ok(item)),
        Err(RecvError::Decode(why)) => Some(Err(why)),
        Err(RecvError::Closed) => None,
    };
    match item {
        Some(_) => open.left -= 1,
        None => *items = None,
    }
    Poll::Ready(item)
}
