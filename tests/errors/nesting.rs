//! Values that are nested more deeply than a thread of the application has stack for.

use procession::{Pool, RecvError, Sender};
use serde::{Deserialize, Serialize};

use crate::deadline::within;
use crate::leftovers::alone;

/// Deeper than any stack of a runtime's thread allows.
const DEEP: u32 = 200_000;

#[derive(Debug, Serialize, Deserialize)]
struct Nested(Option<Box<Nested>>);

impl Drop for Nested {
    /// A loop, because the compiler's recursive drop would overflow the stack itself.
    fn drop(&mut self) {
        let mut next = self.0.take();
        while let Some(mut inner) = next {
            next = inner.0.take();
        }
    }
}

fn nested(depth: u32) -> Nested {
    (0..depth).fold(Nested(None), |inner, _| Nested(Some(Box::new(inner))))
}

fn depth_of(nested: &Nested) -> u32 {
    let mut depth = 0;
    let mut next = &nested.0;
    while let Some(inner) = next {
        (depth, next) = (depth + 1, &inner.0);
    }
    depth
}

#[procession::test]
async fn result_nested_too_deeply_fails_its_task_alone() {
    alone(
        "nesting::result_nested_too_deeply_fails_its_task_alone",
        async {
            let pool = Pool::with_workers(1).unwrap();
            let error = within(pool.run(nested, DEEP)).await.unwrap_err();
            assert!(error.is_encode() || error.is_decode(), "{error}");
            assert!(error.to_string().contains("too deeply"), "{error}");
            let result = within(pool.run(nested, 100)).await.unwrap();
            assert_eq!(depth_of(&result), 100);
            within(pool.shutdown()).await;
            let error = within(procession::spawn(nested, DEEP)).await.unwrap_err();
            assert!(error.is_encode() || error.is_decode(), "{error}");
        },
    )
    .await;
}

#[procession::test]
async fn argument_nested_too_deeply_is_an_encode_error() {
    alone(
        "nesting::argument_nested_too_deeply_is_an_encode_error",
        async {
            let pool = Pool::with_workers(1).unwrap();
            let call = pool.run(|it: Nested| depth_of(&it), nested(DEEP));
            let error = within(call).await.unwrap_err();
            assert!(error.is_encode() && !error.started(), "{error}");
            let call = pool.run(|it: Nested| depth_of(&it), nested(100));
            assert_eq!(within(call).await.unwrap(), 100);
            within(pool.shutdown()).await;
        },
    )
    .await;
}

#[procession::test]
async fn message_nested_too_deeply_is_an_error_of_its_send_or_receive() {
    alone(
        "nesting::message_nested_too_deeply_is_an_error_of_its_send_or_receive",
        async {
            let (tx, rx) = procession::queue::<Nested>(4).unwrap();
            let error = within(tx.send(nested(DEEP))).await.unwrap_err();
            assert!(error.is_encode() && error.into_inner().is_some());
            let send = |tx: Sender<Nested>, depth: u32| tx.blocking_send(nested(depth)).is_ok();
            let sent = within(procession::spawn(send, (tx, DEEP))).await.unwrap();
            match within(rx.recv()).await {
                Err(RecvError::Decode(_)) => assert!(sent),
                Err(RecvError::Closed) => assert!(!sent),
                other => panic!("{:?}", other.map(drop)),
            }
        },
    )
    .await;
}
