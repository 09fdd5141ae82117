//! The trace context that a call carries into its worker.

use futures::future::join_all;
use procession::task::traceparent;

use crate::deadline::within;
use crate::made;
use crate::pools::ready;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[procession::test]
async fn traceparent_reaches_its_task_and_no_other() {
    assert_eq!(traceparent(), None);
    let pool = ready(1).await;
    let seen = || pool.run(traceparent, ());
    let long = "x".repeat(63);
    let runs = [
        seen(),
        seen().traceparent(PARENT),
        seen(),
        seen().traceparent(&long),
        seen().traceparent(""),
        seen().traceparent(&"x".repeat(64)),
    ];
    let outcomes = within(join_all(runs)).await;
    let seen: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    let expected = [None, Some(PARENT), None, Some(&*long), None, None];
    assert_eq!(seen, expected.map(|it| it.map(str::to_owned)));
    let crash = pool.run(|| -> u32 { std::process::abort() }, ());
    assert!(within(crash.traceparent(PARENT)).await.is_err());
    assert_eq!(within(pool.run(traceparent, ())).await.unwrap(), None);
}

#[procession::test]
async fn traceparent_goes_with_items_and_arguments_of_every_length() {
    let pool = ready(2).await;
    let each = within(pool.map(|_: u32| traceparent(), 0..500).traceparent(PARENT)).await;
    assert!(each.unwrap().iter().all(|it| it.as_deref() == Some(PARENT)));
    let len = |bytes: serde_bytes::ByteBuf| (bytes.len(), traceparent());
    // Around the longest that fit a request, and far beyond.
    for length in (65_300..65_560).chain([0, 1, 1 << 20]) {
        let run = pool.run(len, made(7, length)).traceparent(PARENT);
        let (seen, trace) = within(run).await.unwrap();
        assert_eq!((seen, trace.as_deref()), (length, Some(PARENT)));
    }
}
