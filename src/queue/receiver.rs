//! The receiving end of a queue.

use pin_project::pin_project;

use super::join::NotReceived;
use crate::channel::{Flavor as _, Mpmc, Rx, Waiter, receiver_face};

/// The receiving end of a [`queue`](crate::queue()).
///
/// Cloning it, or sending it to another process, makes a further receiving end. Each message goes to one of them. As a
/// stream it ends when every sender in every process is gone and all messages were received.
#[pin_project]
pub struct Receiver<T> {
    rx: Rx<T, Mpmc>,
    waiter: Waiter,
}

impl<T> Receiver<T> {
    /// How many messages wait to be received.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.rx.flavor().end().len()
    }

    /// Whether no message waits to be received.
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether as many messages wait as the queue can hold.
    #[doc(alias = "full")]
    pub fn is_full(&self) -> bool {
        self.len() >= self.capacity()
    }

    /// How many messages the queue holds at most.
    pub fn capacity(&self) -> usize {
        self.rx.flavor().end().capacity()
    }

    /// Marks one received message as processed. See [`Sender::join`](crate::Sender::join).
    ///
    /// # Errors
    ///
    /// Called more often than messages were received in this process.
    pub fn task_done(&self) -> Result<(), NotReceived> {
        match self.rx.flavor().mark_done() {
            true => Ok(()),
            false => Err(NotReceived(())),
        }
    }
}

receiver_face! {
    Receiver is a side of Mpmc,
    called "queue",
    busy while "another receiver is receiving at this moment",
    "the next receive at this end or a clone of it in this process" takes over what was being decoded
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self {
            rx: self.rx.clone(),
            waiter: Waiter::default(),
        }
    }
}
