//! Tasks that another executor than Tokio's polls wait without using a processor.

use futures::{FutureExt as _, StreamExt as _};
use procession::{RecvError, channel, pipe, queue, spawn};

use crate::deadline::until;
use crate::executor::{assert_at_rest, block_on, block_on_thread, threads};
use crate::leftovers::alone;

#[procession::test]
async fn waiting_in_another_executor_uses_no_processor() {
    let test = "other_executors::waiting_in_another_executor_uses_no_processor";
    alone(test, async {
        let waiting = || threads().iter().any(|name| name == "procession-wait");
        assert!(!waiting());
        tokio::task::spawn_blocking(wait_everywhere).await.unwrap();
        assert!(waiting());
        until(|| !waiting()).await;
        // The next wait starts another thread.
        tokio::task::spawn_blocking(wait_everywhere).await.unwrap();
        until(|| !waiting()).await;
    })
    .await;
}

fn wait_everywhere() {
    let (tx, rx) = queue::<u32>(1).unwrap();
    let (pipe_tx, pipe_rx) = channel::<u32>().unwrap();
    let (full, emptied) = queue::<u32>(1).unwrap();
    full.try_send(1).unwrap();
    let (here, there) = pipe::<u32, u32>().unwrap();
    let (not_done, undone) = queue::<u32>(1).unwrap();
    not_done.try_send(5).unwrap();

    let stream = rx.clone().map(Result::unwrap);
    let all = block_on_thread(stream.collect::<Vec<_>>());
    let of_pipe = block_on_thread(async move { pipe_rx.recv().await });
    let sent = full.clone();
    let sent = block_on_thread(async move { sent.send(2).await.is_ok() });
    let closed = block_on_thread(async move { here.closed().await });
    let joined = not_done.clone();
    let joined = block_on_thread(async move { joined.join().await });
    assert_at_rest();

    block_on(async {
        for n in 0..100 {
            tx.send(n).await.unwrap();
        }
    });
    drop((tx, rx));
    assert_eq!(all.join().unwrap(), (0..100).collect::<Vec<_>>());
    block_on(pipe_tx.send(3)).unwrap();
    assert_eq!(of_pipe.join().unwrap(), Ok(3));
    assert_eq!(block_on(emptied.recv()), Ok(1));
    assert!(sent.join().unwrap());
    assert_eq!(block_on(emptied.recv()), Ok(2));
    drop(there);
    closed.join().unwrap();
    assert_eq!(block_on(undone.recv()), Ok(5));
    undone.task_done().unwrap();
    joined.join().unwrap().unwrap();
}

/// The other process receives and answers while this one waits.
#[procession::test]
async fn another_executor_is_woken_by_another_process() {
    let (here, there) = pipe::<u32, u32>().unwrap();
    let child = spawn(
        |there: procession::Pipe<u32, u32>| {
            while let Ok(n) = there.blocking_recv() {
                std::thread::sleep(std::time::Duration::from_millis(u64::from(n % 3)));
                there.blocking_send(n + 1).unwrap();
            }
        },
        there,
    );
    let asking = block_on_thread(async move {
        for n in 0..200 {
            here.send(n).await.unwrap();
            assert_eq!(here.recv().await, Ok(n + 1));
        }
        here.close();
        here.recv().await
    });
    child.await.unwrap();
    assert_eq!(asking.join().unwrap(), Err(RecvError::Closed));
}

/// An end that waited in another executor is closed when it is dropped, and a wait that was given up leaves nothing.
#[procession::test]
async fn end_that_waited_in_another_executor_is_closed_by_its_drop() {
    let (tx, rx) = queue::<u32>(1).unwrap();
    let child = spawn(
        async |rx: procession::Receiver<u32>| {
            let received = rx.recv().await;
            (received.ok(), rx.recv().await.is_err())
        },
        rx,
    );
    let given_up = std::thread::spawn(move || {
        assert!(tx.closed().now_or_never().is_none());
        block_on(tx.send(7)).unwrap();
    });
    given_up.join().unwrap();
    let received = crate::deadline::within(child).await.unwrap();
    assert_eq!(received, (Some(7), true));
}
