//! An end that is sent while it is used.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::FutureExt as _;
use procession::{PipeReceiver, PipeSender, RecvError, channel, queue, spawn};

use crate::deadline::within;
use crate::shared::Shared;

/// Whether somebody was woken since it was asked last.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Polls `future` until it waits to be woken by somebody else.
async fn falls_asleep(future: &mut (impl Future + Unpin), woken: &Arc<Woken>) {
    let waker = Waker::from(Arc::clone(woken));
    let polls = poll_fn(|cx| {
        let polled = future.poll_unpin(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        match woken.0.swap(false, Ordering::SeqCst) {
            true => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            false => Poll::Ready(()),
        }
    });
    within(polls).await;
}

#[procession::test]
async fn who_waits_at_an_end_hears_that_it_is_sent_elsewhere() {
    let (tx, rx) = queue::<Shared<PipeReceiver<u8>>>(4).unwrap();
    let (other, end) = channel::<u8>().unwrap();
    let end = Shared(Arc::new(end));
    let (mut waiting, mut watching) = (end.0.recv(), end.0.closed());
    let woken = [(); 2].map(|()| Arc::<Woken>::default());
    falls_asleep(&mut waiting, &woken[0]).await;
    falls_asleep(&mut watching, &woken[1]).await;
    tx.send(end.clone()).await.unwrap();
    assert!(woken.iter().all(|it| it.0.load(Ordering::SeqCst)));
    assert_eq!(within(waiting).await, Err(RecvError::Closed));
    within(watching).await;
    let moved = within(rx.recv()).await.unwrap();
    other.send(5).await.unwrap();
    assert_eq!(within(moved.0.recv()).await, Ok(5));
}

#[procession::test]
async fn a_blocked_thread_hears_that_its_end_is_sent_elsewhere() {
    let (tx, rx) = queue::<Shared<PipeReceiver<u8>>>(4).unwrap();
    for _ in 0..20 {
        let (other, end) = channel::<u8>().unwrap();
        let end = Shared(Arc::new(end));
        let blocked: Vec<_> = (0..2)
            .map(|_| {
                let end = end.clone();
                tokio::task::spawn_blocking(move || end.0.blocking_recv())
            })
            .collect();
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        tx.send(end).await.unwrap();
        for blocked in blocked {
            assert_eq!(within(blocked).await.unwrap(), Err(RecvError::Closed));
        }
        let moved = within(rx.recv()).await.unwrap();
        other.send(5).await.unwrap();
        assert_eq!(within(moved.0.recv()).await, Ok(5));
    }
}

/// Long enough to be torn if two write at the same time.
type Numbered = (u8, u64, [u64; 16]);

fn send_numbered(who: u8, tx: &PipeSender<Numbered>, most: u64) -> u64 {
    let sent = (0..most).take_while(|n| tx.blocking_send((who, *n, [*n; 16])).is_ok());
    sent.count() as u64
}

/// As a message and as an argument of a process, while threads and tasks of this process send through it.
#[procession::test]
async fn an_end_is_sent_elsewhere_while_others_send_through_it() {
    for round in 0..40 {
        let (tx, rx) = channel::<Numbered>().unwrap();
        let tx = Shared(Arc::new(tx));
        let receiving = tokio::spawn(async move {
            let mut counts = [0_u64; 4];
            while let Ok((who, number, copies)) = rx.recv().await {
                assert!(copies.iter().all(|copy| *copy == number), "torn");
                let count = &mut counts[usize::from(who)];
                assert_eq!(number, *count, "of {who}");
                *count += 1;
            }
            counts
        });
        let threads: Vec<_> = (0..2)
            .map(|who| {
                let tx = tx.clone();
                tokio::task::spawn_blocking(move || send_numbered(who, &tx.0, u64::MAX))
            })
            .collect();
        let task = tokio::spawn({
            let tx = tx.clone();
            async move {
                for n in 0.. {
                    if tx.0.send((2, n, [n; 16])).await.is_err() {
                        return n;
                    }
                }
                unreachable!()
            }
        });
        tokio::time::sleep(std::time::Duration::from_micros(round * 100)).await;
        let child = match round % 2 {
            0 => spawn(
                |tx: Shared<PipeSender<Numbered>>| send_numbered(3, &tx.0, 5_000),
                tx,
            ),
            _ => {
                let (way, out) = channel::<Shared<PipeSender<Numbered>>>().unwrap();
                way.send(tx).await.unwrap();
                spawn(
                    |out: PipeReceiver<Shared<PipeSender<Numbered>>>| {
                        send_numbered(3, &out.blocking_recv().unwrap().0, 5_000)
                    },
                    out,
                )
            }
        };
        let mut sent = [0; 4];
        for (who, thread) in threads.into_iter().enumerate() {
            sent[who] = within(thread).await.unwrap();
        }
        sent[2] = within(task).await.unwrap();
        sent[3] = within(child).await.unwrap();
        assert_eq!(sent[3], 5_000);
        assert_eq!(within(receiving).await.unwrap(), sent);
    }
}
