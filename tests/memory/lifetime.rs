//! Shared memory is gone when its last holder is, and stays while there is one.

use std::time::Duration;

use procession::memory::{Shared, SharedBuf, SharedBufMut};
use procession::{PipeReceiver, PipeSender, Pool, Sender, channel, queue, spawn};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::deadline::{until, within};
use crate::leftovers::{alone, descriptors, mappings};
use crate::{is_patterned, patterned};

fn rounds() -> usize {
    let rounds = std::env::var("PROCESSION_MEMORY_ROUNDS").ok();
    rounds.and_then(|it| it.parse().ok()).unwrap_or(1000)
}

type Memories = (SharedBuf, SharedBufMut, Shared<[AtomicU64]>);

fn memories(n: usize) -> Memories {
    let len = if n % 16 == 0 { 1 << 20 } else { 1 + n % 9000 };
    let mut buf = SharedBufMut::zeroed(len).unwrap();
    buf.fill(n as u8);
    let grid = Shared::<[AtomicU64]>::zeroed(1 + n % 700).unwrap();
    (
        buf.freeze().unwrap(),
        SharedBufMut::zeroed(len).unwrap(),
        grid,
    )
}

/// Looks at what arrives and sends it back. Returns how many descriptors and mappings it had in the middle and at the
/// end.
fn echo(
    rx: PipeReceiver<Memories>,
    tx: PipeSender<Memories>,
    rounds: usize,
) -> [(usize, usize); 2] {
    let mut counts = [(0, 0); 2];
    let mut n = 0;
    while let Ok((buf, mut bytes, grid)) = rx.blocking_recv() {
        assert!(buf.iter().all(|byte| *byte == n as u8));
        bytes[0] = 1;
        grid[0].fetch_add(1, Ordering::Relaxed);
        if n == rounds / 2 || n == rounds - 1 {
            let open: usize = descriptors().values().sum();
            counts[usize::from(n == rounds - 1)] = (open, mappings());
        }
        tx.blocking_send((buf.slice(1..), bytes, grid)).unwrap();
        n += 1;
    }
    counts
}

#[procession::test]
async fn memory_is_mapped_sent_and_unmapped_without_end() {
    alone(
        "lifetime::memory_is_mapped_sent_and_unmapped_without_end",
        async {
            let (tx, theirs) = channel::<Memories>().unwrap();
            let (back, rx) = channel::<Memories>().unwrap();
            let child = spawn(echo, (theirs, back, rounds()));
            let mut before = (0, 0);
            for n in 0..rounds() {
                within(tx.send(memories(n))).await.unwrap();
                let (buf, bytes, grid) = within(rx.recv()).await.unwrap();
                assert_eq!((bytes[0], grid[0].load(Ordering::Relaxed)), (1, 1));
                drop((buf, bytes, grid));
                if n == rounds() / 2 {
                    before = (descriptors().values().sum(), mappings());
                }
            }
            let after = (descriptors().values().sum::<usize>(), mappings());
            assert_eq!(after, before);
            drop(tx);
            let [middle, end] = within(child).await.unwrap();
            assert_eq!(middle, end);
        },
    )
    .await;
}

#[procession::test]
async fn memory_outlives_its_creator_and_what_a_killed_process_had_is_gone() {
    alone(
        "lifetime::memory_outlives_its_creator_and_what_a_killed_process_had_is_gone",
        async {
            let (tx, rx) = queue::<(SharedBuf, Shared<AtomicU64>)>(4).unwrap();
            let creator = spawn(
                |tx: Sender<(SharedBuf, Shared<AtomicU64>)>| {
                    let hits = Shared::new(AtomicU64::new(3)).unwrap();
                    let _unsent = patterned(10 << 20);
                    tx.blocking_send((patterned(5 << 20), hits)).unwrap();
                    std::thread::sleep(Duration::from_secs(600));
                },
                tx,
            );
            let handle = creator.abort_handle();
            until(|| rx.len() == 1).await;
            handle.abort();
            assert!(within(creator).await.is_err());
            let (buf, hits) = within(rx.recv()).await.unwrap();
            assert!(is_patterned(&buf, 0));
            let reader = spawn(
                |buf: SharedBuf, hits: Shared<AtomicU64>| {
                    hits.fetch_add(1, Ordering::Relaxed);
                    is_patterned(&buf, 0)
                },
                (buf, hits.clone()),
            );
            assert!(within(reader).await.unwrap());
            assert_eq!(hits.load(Ordering::Relaxed), 4);
        },
    )
    .await;
}

/// Sends buffers until it is killed.
fn flood(tx: Sender<SharedBuf>) {
    for n in 0.. {
        let _ = tx.blocking_send(patterned(1 + n % 100_000));
    }
}

#[procession::test]
async fn processes_killed_while_they_send_leave_no_memory() {
    alone(
        "lifetime::processes_killed_while_they_send_leave_no_memory",
        async {
            for delay in 0..20 {
                let (tx, rx) = queue::<SharedBuf>(4).unwrap();
                let senders = [spawn(flood, tx.clone()), spawn(flood, tx)];
                let handles = senders
                    .each_ref()
                    .map(procession::ProcessHandle::abort_handle);
                for _ in 0..delay {
                    assert!(is_patterned(&within(rx.recv()).await.unwrap(), 0));
                }
                handles.iter().for_each(procession::AbortHandle::abort);
                // What was sent is received whole. Then the queue ends.
                while let Ok(buf) = within(rx.recv()).await {
                    assert!(is_patterned(&buf, 0));
                }
                for sender in senders {
                    assert!(within(sender).await.is_err());
                }
            }
        },
    )
    .await;
}

#[procession::test]
async fn worker_that_was_given_a_buffer_keeps_none_of_it() {
    alone(
        "lifetime::worker_that_was_given_a_buffer_keeps_none_of_it",
        async {
            let pool = Pool::with_workers(1).unwrap();
            let count = || (mappings(), descriptors().get("/memfd").copied());
            let before = within(pool.run(count, ())).await.unwrap();
            let buf = patterned(1 << 20);
            for _ in 0..20 {
                let look = |buf: SharedBuf| is_patterned(&buf, 0);
                assert!(within(pool.run(look, buf.clone())).await.unwrap());
            }
            assert_eq!(within(pool.run(count, ())).await.unwrap(), before);
            within(pool.shutdown()).await;
        },
    )
    .await;
}
