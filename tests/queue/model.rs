//! A queue against a model of it.

use std::collections::VecDeque;

use procession::{TryRecvError, queue};
use proptest::prelude::*;
use serde_bytes::ByteBuf;

use crate::deadline::within;
use crate::tasks::{patterned, poll_n};

/// What can be done to a queue.
#[derive(Debug, Clone, Copy)]
enum Action {
    TrySend(usize),
    /// With a future that is polled so often, and dropped then.
    Send(usize, usize),
    TryRecv,
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
    fn a_queue_behaves_as_a_deque_does(capacity in 1..13_usize, actions in actions()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(within(act(capacity, actions)))?;
    }
}

async fn act(capacity: usize, actions: Vec<Action>) -> Result<(), TestCaseError> {
    let (tx, rx) = queue::<(usize, ByteBuf)>(capacity).unwrap();
    let mut model = VecDeque::new();
    let mut closed = false;
    for (n, action) in actions.into_iter().enumerate() {
        let received = match action {
            Action::TrySend(len) => {
                match tx.try_send((n, patterned(n, len))) {
                    Ok(()) => model.push_back((n, len)),
                    Err(error) if error.is_closed() => prop_assert!(closed),
                    Err(error) => {
                        prop_assert!(error.is_full());
                        // In messages, or else in bytes.
                        let bytes =
                            |(_, len): &(usize, usize)| if *len > 64_000 { 8 } else { *len };
                        let all: usize = model.iter().map(bytes).sum();
                        prop_assert!(model.len() == capacity || all + len > 200_000);
                    }
                }
                continue;
            }
            Action::Send(len, polls) => {
                match poll_n(tx.send((n, patterned(n, len))), polls).await {
                    Some(Ok(())) => model.push_back((n, len)),
                    Some(Err(error)) => prop_assert!(error.is_closed() && closed),
                    None => prop_assert!(polls == 0 || model.len() == capacity),
                }
                continue;
            }
            Action::Close => {
                tx.close();
                closed = true;
                continue;
            }
            Action::TryRecv => Some(rx.try_recv()),
            Action::Recv(polls) => {
                let received = poll_n(rx.recv(), polls).await;
                received.map(|outcome| outcome.map_err(TryRecvError::from))
            }
            Action::BlockingRecv if model.is_empty() && !closed => None,
            Action::BlockingRecv => Some(rx.blocking_recv().map_err(TryRecvError::from)),
        };
        match received {
            Some(Ok((n, bytes))) => {
                prop_assert_eq!(Some((n, bytes.len())), model.pop_front());
                prop_assert!(bytes == patterned(n, bytes.len()));
            }
            Some(Err(TryRecvError::Closed)) => prop_assert!(closed && model.is_empty()),
            Some(Err(TryRecvError::Empty)) => prop_assert!(!closed && model.is_empty()),
            Some(Err(error)) => prop_assert!(false, "{error}"),
            None => prop_assert!(matches!(action, Action::Recv(0)) || model.is_empty()),
        }
        prop_assert_eq!((tx.len(), rx.len()), (model.len(), model.len()));
        prop_assert_eq!(tx.is_full(), model.len() == capacity);
    }
    Ok(())
}
