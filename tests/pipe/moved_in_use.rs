//! An end that is sent to another process while tasks and threads of this process use it.

use std::sync::Arc;
use std::time::Duration;

use procession::{PipeReceiver, PipeSender, ProcessHandle, RecvError, channel, queue, spawn};

use crate::asleep::{asleep, own_threads_asleep};
use crate::deadline::within;
use crate::shared::Shared;

#[procession::test]
async fn waiting_futures_are_woken_when_their_end_moves() {
    let (tx, rx) = queue::<Shared<PipeReceiver<u8>>>(4).unwrap();
    let (other, end) = channel::<u8>().unwrap();
    let end = Shared(Arc::new(end));
    let (mut receiving, mut closed) = (end.0.recv(), end.0.closed());
    let woken = [asleep(&mut receiving).await, asleep(&mut closed).await];
    tx.send(end.clone()).await.unwrap();
    assert!(woken.iter().all(|waker| waker.take()));
    assert_eq!(within(receiving).await, Err(RecvError::Closed));
    within(closed).await;
    let moved = within(rx.recv()).await.unwrap();
    other.send(5).await.unwrap();
    assert_eq!(within(moved.0.recv()).await, Ok(5));
}

#[procession::test]
async fn blocked_threads_are_woken_when_their_end_moves() {
    let (tx, rx) = queue::<Shared<PipeReceiver<u8>>>(4).unwrap();
    for _ in 0..20 {
        let (other, end) = channel::<u8>().unwrap();
        let end = Shared(Arc::new(end));
        let (tid_tx, mut tids) = tokio::sync::mpsc::unbounded_channel();
        let blocked = [(); 2].map(|()| {
            let (end, tid_tx) = (end.clone(), tid_tx.clone());
            tokio::task::spawn_blocking(move || {
                tid_tx.send(rustix::thread::gettid()).unwrap();
                end.0.blocking_recv()
            })
        });
        let threads = vec![
            within(tids.recv()).await.unwrap(),
            within(tids.recv()).await.unwrap(),
        ];
        own_threads_asleep(threads).await;
        tx.send(end).await.unwrap();
        for thread in blocked {
            assert_eq!(within(thread).await.unwrap(), Err(RecvError::Closed));
        }
        let moved = within(rx.recv()).await.unwrap();
        other.send(5).await.unwrap();
        assert_eq!(within(moved.0.recv()).await, Ok(5));
    }
}

/// The sender, the number of its message, and copies of the number: two writers at the same time would mix them.
type Numbered = (u8, u64, [u64; 16]);

fn send_numbered(sender: u8, tx: &PipeSender<Numbered>, most: u64) -> u64 {
    let sent = (0..most).take_while(|n| tx.blocking_send((sender, *n, [*n; 16])).is_ok());
    sent.count() as u64
}

async fn send_numbered_async(sender: u8, tx: &PipeSender<Numbered>) -> u64 {
    for n in 0.. {
        if tx.send((sender, n, [n; 16])).await.is_err() {
            return n;
        }
    }
    unreachable!()
}

/// Receives to the end. Counts the messages of each of four senders, which arrive in order.
async fn count_numbered(rx: PipeReceiver<Numbered>) -> [u64; 4] {
    let mut counts = [0_u64; 4];
    while let Ok((sender, number, copies)) = rx.recv().await {
        assert!(copies.iter().all(|copy| *copy == number), "torn");
        let count = &mut counts[usize::from(sender)];
        assert_eq!(number, *count, "of {sender}");
        *count += 1;
    }
    counts
}

/// How many messages the process sends that gets the end.
const OF_CHILD: u64 = 5_000;

fn spawn_with_argument(tx: Shared<PipeSender<Numbered>>) -> ProcessHandle<u64> {
    let send = |tx: Shared<PipeSender<Numbered>>| send_numbered(3, &tx.0, OF_CHILD);
    spawn(send, tx)
}

async fn spawn_with_message(tx: Shared<PipeSender<Numbered>>) -> ProcessHandle<u64> {
    let (carrier_tx, carrier_rx) = channel::<Shared<PipeSender<Numbered>>>().unwrap();
    carrier_tx.send(tx).await.unwrap();
    let send = |carrier: PipeReceiver<Shared<PipeSender<Numbered>>>| {
        send_numbered(3, &carrier.blocking_recv().unwrap().0, OF_CHILD)
    };
    spawn(send, carrier_rx)
}

/// Two threads and a task send until the end moves, after a longer pause each round. The process that gets the end
/// continues.
#[procession::test]
async fn end_moves_while_tasks_and_threads_send_through_it() {
    for round in 0..40 {
        let (tx, rx) = channel::<Numbered>().unwrap();
        let tx = Shared(Arc::new(tx));
        let receiving = tokio::spawn(count_numbered(rx));
        let threads = [0, 1].map(|sender| {
            let tx = tx.clone();
            tokio::task::spawn_blocking(move || send_numbered(sender, &tx.0, u64::MAX))
        });
        let task = tokio::spawn({
            let tx = tx.clone();
            async move { send_numbered_async(2, &tx.0).await }
        });
        tokio::time::sleep(Duration::from_micros(round * 100)).await;
        let child = match round % 2 {
            0 => spawn_with_argument(tx),
            _ => spawn_with_message(tx).await,
        };
        let mut sent = [0; 4];
        for (sender, thread) in threads.into_iter().enumerate() {
            sent[sender] = within(thread).await.unwrap();
        }
        sent[2] = within(task).await.unwrap();
        sent[3] = within(child).await.unwrap();
        assert_eq!(sent[3], OF_CHILD);
        assert_eq!(within(receiving).await.unwrap(), sent);
    }
}
