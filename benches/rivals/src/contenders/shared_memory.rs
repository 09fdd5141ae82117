//! Shared memory: ours, and the copy of as many bytes as the floor.

use std::hint::black_box;

use procession::memory::{SharedBuf, SharedBufMut};
use procession::{Pool, Sender, queue, spawn};

use crate::work::{self, WORKERS};
use crate::{runtime, stopwatch};

pub(crate) fn argument() -> Vec<f64> {
    runtime::on_this_thread(async {
        let pool = Pool::with_workers(WORKERS).expect("processes can be started");
        let buf = SharedBuf::copy_from(&work::big()).expect("there is memory");
        stopwatch::durations_awaited(|| async {
            let task = pool.run(|buf: SharedBuf| work::length(&buf), buf.clone());
            assert_eq!(task.await.expect("it does not fail"), work::BIG as u64);
        })
        .await
    })
}

pub(crate) fn stream() -> Vec<f64> {
    runtime::on_this_thread(stopwatch::rates_awaited(async |messages| {
        let (tx, rx) = queue::<SharedBuf>(8).expect("there is memory");
        let producer = spawn(produce, (messages, tx));
        for _ in 0..messages {
            read(&rx.recv().await.expect("it is sent"));
        }
        producer.await.expect("nothing kills it");
    }))
}

/// What the processor takes to write the bytes and to read them.
pub(crate) fn copy() -> Vec<f64> {
    let source = vec![1; work::LARGE];
    stopwatch::rates(|messages| {
        let mut target = vec![0; work::LARGE];
        for _ in 0..messages {
            black_box(&mut target).copy_from_slice(black_box(&source));
            read(&target);
        }
    })
}

async fn produce(messages: u64, tx: Sender<SharedBuf>) {
    let source = vec![1; work::LARGE];
    for _ in 0..messages {
        let mut buf = SharedBufMut::zeroed(work::LARGE).expect("there is memory");
        buf.copy_from_slice(&source);
        let buf = buf.freeze().expect("there is memory");
        tx.send(buf).await.expect("it listens");
    }
}

/// Reads all bytes, as fast as the processor does.
fn read(bytes: &[u8]) {
    let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    assert_eq!(sum, work::LARGE as u8);
}
