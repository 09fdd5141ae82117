//! A queue behaves as a deque does, whatever is done to it in whatever order.

use std::collections::VecDeque;

use procession::{Receiver, Sender, TryRecvError, queue};
use proptest::prelude::*;
use serde_bytes::ByteBuf;

use crate::deadline::within;
use crate::tasks::{patterned, poll_n};

/// A call of the queue.
#[derive(Debug, Clone, Copy)]
enum Action {
    /// The length in bytes.
    TrySend(usize),
    /// The length in bytes, and how often the future is polled before it is dropped.
    Send(usize, usize),
    TryRecv,
    /// How often the future is polled before it is dropped.
    Recv(usize),
    BlockingRecv,
    Close,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let len = || prop_oneof![6 => 0..64_usize, 1 => 0..20_000_usize, 1 => 60_000..150_000_usize];
    let action = prop_oneof![
        40 => len().prop_map(Action::TrySend),
        20 => (0..64_usize, 0..200_usize).prop_map(|(len, polls)| Action::Send(len, polls)),
        40 => Just(Action::TryRecv),
        20 => (0..200_usize).prop_map(Action::Recv),
        10 => Just(Action::BlockingRecv),
        1 => Just(Action::Close),
    ];
    proptest::collection::vec(action, 0..150)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn queue_behaves_as_a_deque(capacity in 1..13_usize, actions in actions()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(within(act_all(capacity, actions)))?;
    }
}

async fn act_all(capacity: usize, actions: Vec<Action>) -> Result<(), TestCaseError> {
    let (tx, rx) = queue(capacity).unwrap();
    let mut queue = Modelled {
        tx,
        rx,
        model: VecDeque::new(),
        closed: false,
    };
    for (n, action) in actions.into_iter().enumerate() {
        queue.act(n, action).await?;
        let len = queue.model.len();
        prop_assert_eq!((queue.tx.len(), queue.rx.len()), (len, len));
        prop_assert_eq!(queue.tx.is_full(), len == capacity);
    }
    Ok(())
}

/// A queue, and the numbers and lengths of the messages that must be in it.
struct Modelled {
    tx: Sender<(usize, ByteBuf)>,
    rx: Receiver<(usize, ByteBuf)>,
    model: VecDeque<(usize, usize)>,
    closed: bool,
}

impl Modelled {
    /// Does `action`, whose message has the number `n`.
    async fn act(&mut self, n: usize, action: Action) -> Result<(), TestCaseError> {
        match action {
            Action::TrySend(len) => self.try_send(n, len),
            Action::Send(len, polls) => self.send(n, len, polls).await,
            Action::Close => {
                self.tx.close();
                self.closed = true;
                Ok(())
            }
            Action::TryRecv => {
                let received = self.rx.try_recv();
                self.check(received)
            }
            Action::Recv(polls) => match poll_n(self.rx.recv(), polls).await {
                Some(received) => self.check(received.map_err(TryRecvError::from)),
                None => {
                    prop_assert!(polls == 0 || self.model.is_empty());
                    Ok(())
                }
            },
            // It would block for ever.
            Action::BlockingRecv if self.model.is_empty() && !self.closed => Ok(()),
            Action::BlockingRecv => {
                let received = self.rx.blocking_recv();
                self.check(received.map_err(TryRecvError::from))
            }
        }
    }

    fn try_send(&mut self, n: usize, len: usize) -> Result<(), TestCaseError> {
        match self.tx.try_send((n, patterned(n, len))) {
            Ok(()) => self.model.push_back((n, len)),
            Err(error) if error.is_closed() => prop_assert!(self.closed),
            Err(error) => {
                prop_assert!(error.is_full());
                let has_all_messages = self.model.len() == self.tx.capacity();
                prop_assert!(has_all_messages || self.bytes() + len > 200_000);
            }
        }
        Ok(())
    }

    /// The bytes in the ring. A long message has only its place there.
    fn bytes(&self) -> usize {
        let bytes = |(_, len): &(usize, usize)| if *len > 64_000 { 8 } else { *len };
        self.model.iter().map(bytes).sum()
    }

    async fn send(&mut self, n: usize, len: usize, polls: usize) -> Result<(), TestCaseError> {
        match poll_n(self.tx.send((n, patterned(n, len))), polls).await {
            Some(Ok(())) => self.model.push_back((n, len)),
            Some(Err(error)) => prop_assert!(error.is_closed() && self.closed),
            None => prop_assert!(polls == 0 || self.model.len() == self.tx.capacity()),
        }
        Ok(())
    }

    /// Checks what a receive returned, and takes it from the model.
    fn check(
        &mut self,
        received: Result<(usize, ByteBuf), TryRecvError>,
    ) -> Result<(), TestCaseError> {
        match received {
            Ok((n, bytes)) => {
                prop_assert_eq!(Some((n, bytes.len())), self.model.pop_front());
                prop_assert!(bytes == patterned(n, bytes.len()));
            }
            Err(TryRecvError::Closed) => prop_assert!(self.closed && self.model.is_empty()),
            Err(TryRecvError::Empty) => prop_assert!(!self.closed && self.model.is_empty()),
            Err(error) => prop_assert!(false, "{error}"),
        }
        Ok(())
    }
}
