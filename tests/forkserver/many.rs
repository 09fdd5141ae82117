//! Many forked children.

use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{join_all, select_all};
use futures::stream::FuturesUnordered;

use crate::deadline::{until, within};
use crate::leftovers::{Census, alone};
use crate::tasks::parked;
use crate::{forked, raise_descriptor_limit};

/// Nothing grows from round to round.
#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn forked_children_leave_nothing_after_two_thousand() {
    alone(
        "many::forked_children_leave_nothing_after_two_thousand",
        async {
            let census = Census::now();
            for round in 0..8_u64 {
                let numbers = round * 250..(round + 1) * 250;
                let all = numbers.clone().map(|n| forked().spawn(|n: u64| n * n, n));
                let mut all: FuturesUnordered<_> = all.collect();
                let mut sum = 0;
                while let Some(outcome) = within(all.next()).await {
                    sum += outcome.unwrap();
                }
                assert_eq!(sum, numbers.map(|n| n * n).sum::<u64>());
                drop(all);
                census.assert_none().await;
            }
        },
    )
    .await;
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn forked_children_run_a_thousand_at_a_time() {
    alone("many::forked_children_run_a_thousand_at_a_time", async {
        raise_descriptor_limit();
        let handles: Vec<_> = (0..1000).map(|_| forked().spawn(parked, ())).collect();
        // The limit is for each step: a thousand starts on a machine under load take minutes.
        let started = || handles.iter().filter(|it| it.pid().is_some()).count();
        loop {
            let before = started();
            if before == handles.len() {
                break;
            }
            until(|| started() > before).await;
        }
        assert!(procession::active_children().len() >= 1000);
        let mut all: FuturesUnordered<_> = handles.into_iter().collect();
        for handle in &all {
            handle.abort();
        }
        let mut ended = 0;
        while let Some(outcome) = within(all.next()).await {
            assert!(outcome.unwrap_err().is_cancelled());
            ended += 1;
        }
        assert_eq!(ended, 1000);
        assert!(procession::active_children().is_empty());
    })
    .await;
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn forked_children_are_awaited_in_any_order() {
    alone("many::forked_children_are_awaited_in_any_order", async {
        raise_descriptor_limit();
        let mut all: Vec<_> = (0..199).map(|_| forked().spawn(parked, ())).collect();
        all.insert(77, forked().spawn(|| (), ()));
        let (outcome, index, rest) = within(select_all(all)).await;
        outcome.unwrap();
        assert_eq!(index, 77);
        for handle in &rest {
            handle.abort();
        }
        for outcome in within(join_all(rest)).await {
            assert!(outcome.unwrap_err().is_cancelled());
        }
    })
    .await;
}

/// The runtime ends before it knows whether the children exist.
#[procession::test]
async fn forked_children_dropped_before_they_started_are_reaped() {
    alone(
        "many::forked_children_dropped_before_they_started_are_reaped",
        async {
            for n in 0..20 {
                let end = std::thread::spawn(move || {
                    let runtime = tokio::runtime::Runtime::new().unwrap();
                    runtime.block_on(async {
                        let all: Vec<_> = (0..10).map(|_| forked().spawn(parked, ())).collect();
                        tokio::time::sleep(Duration::from_micros(100 * n)).await;
                        drop(all);
                    });
                });
                within(tokio::task::spawn_blocking(|| end.join().unwrap()))
                    .await
                    .unwrap();
            }
        },
    )
    .await;
}
