//! Where shared memory travels: in every direction, by every way.

use std::sync::OnceLock;

use procession::memory::{SharedBuf, SharedBufMut, SharedSlice};
use procession::{Pool, Receiver, Sender, channel, queue, spawn};

use crate::deadline::within;
use crate::leftovers::{alone, descriptors};
use crate::{is_patterned, patterned};

fn first_and_len(buf: SharedBuf) -> (u8, usize) {
    assert!(is_patterned(&buf, 0));
    (buf[0], buf.len())
}

fn same(buf: SharedBuf) -> SharedBuf {
    buf
}

#[procession::test]
async fn shared_buf_is_an_argument_and_a_result_of_processes_and_pools() {
    let buf = patterned(3_000_000);
    let counted = within(spawn(first_and_len, buf.clone())).await.unwrap();
    assert_eq!(counted, (0, 3_000_000));
    let pool = Pool::with_workers(2).unwrap();
    let mut back = within(pool.run(same, buf.clone())).await.unwrap();
    assert!(back == buf && back.shares_memory_with(&buf));
    drop(buf);
    // The worker that sent it back has dropped it: this process alone has it.
    back = within(spawn(same, back)).await.unwrap();
    assert!(is_patterned(&back, 0));
    let made = within(pool.run(patterned, 5)).await.unwrap();
    assert!(made.len() == 5 && is_patterned(&made, 0));
}

#[procession::test]
async fn shared_buf_reaches_siblings_and_grandchildren() {
    let (tx, rx) = queue::<SharedBuf>(4).unwrap();
    let producer = spawn(
        |tx: Sender<SharedBuf>| tx.blocking_send(patterned(70_000)).unwrap(),
        tx,
    );
    let sibling = spawn(
        async |rx: Receiver<SharedBuf>| {
            let buf = rx.recv().await.unwrap();
            spawn(first_and_len, buf).await.unwrap()
        },
        rx,
    );
    within(producer).await.unwrap();
    assert_eq!(within(sibling).await.unwrap(), (0, 70_000));
}

#[procession::test]
async fn slices_of_one_buffer_travel_with_one_descriptor() {
    let (tx, rx) = channel::<Vec<SharedBuf>>().unwrap();
    let buf = patterned(100_000);
    let slices: Vec<_> = (0..100_000)
        .step_by(50)
        .map(|at| buf.slice(at..at + 50))
        .collect();
    let child = spawn(
        async |slices: Vec<SharedBuf>| {
            let own = descriptors();
            assert!(slices.len() == 2000 && own.get("/memfd").is_none_or(|count| *count < 50));
            let mut whole = slices.iter().enumerate();
            whole.all(|(n, slice)| slice.len() == 50 && is_patterned(slice, 50 * n))
        },
        slices.clone(),
    );
    assert!(within(child).await.unwrap());
    within(tx.send(slices)).await.unwrap();
    drop(buf);
    let slices = within(rx.recv()).await.unwrap();
    assert!(slices[1].shares_memory_with(&slices[1999]));
    assert!(is_patterned(&slices[1999], 99_950));
    let inner = slices[7].slice(10..).slice(..=4);
    assert!(inner.len() == 5 && is_patterned(&inner, 360));
    assert_eq!(inner.slice(5..).len(), 0);
}

#[procession::test]
async fn several_memories_and_kinds_travel_in_one_message() {
    type Message = (Vec<SharedBuf>, SharedSlice<f64>, Option<SharedBufMut>);
    let (tx, rx) = queue::<Message>(1).unwrap();
    let bufs: Vec<_> = (1..=300).map(patterned).collect();
    let numbers: Vec<_> = (0..1000).map(f64::from).collect();
    let slice = SharedSlice::from_slice(&numbers).unwrap();
    let made = SharedBufMut::zeroed(9).unwrap();
    within(tx.send((bufs, slice.slice(10..20), Some(made))))
        .await
        .unwrap();
    let child = spawn(
        async |rx: Receiver<Message>| {
            let (bufs, numbers, made) = rx.recv().await.unwrap();
            let mut lengths = bufs.iter().zip(1..);
            assert!(lengths.all(|(buf, len)| buf.len() == len && is_patterned(buf, 0)));
            assert_eq!(made.unwrap()[..], [0; 9]);
            numbers.iter().sum::<f64>()
        },
        rx,
    );
    assert_eq!(within(child).await.unwrap(), 145.0);
}

#[procession::test]
async fn items_of_a_map_share_a_buffer() {
    let pool = Pool::with_workers(2).unwrap();
    let buf = patterned(1 << 16);
    let items = (0..1000).map(|n| (n, buf.slice(n * 60..(n + 1) * 60)));
    let check = |n: usize, part: SharedBuf| part.len() == 60 && is_patterned(&part, n * 60);
    let all = within(pool.map(check, items)).await.unwrap();
    assert!(all.len() == 1000 && all.iter().all(|it| *it));
}

#[procession::test]
async fn buffer_received_again_takes_no_second_descriptor() {
    alone(
        "travel::buffer_received_again_takes_no_second_descriptor",
        async {
            let (tx, rx) = channel::<SharedBuf>().unwrap();
            let buf = patterned(4000);
            let before = descriptors();
            let mut received = Vec::new();
            for _ in 0..100 {
                within(tx.send(buf.clone())).await.unwrap();
                received.push(within(rx.recv()).await.unwrap());
            }
            assert_eq!(descriptors(), before);
            assert!(received.iter().all(|it| it.shares_memory_with(&buf)));
        },
    )
    .await;
}

#[procession::test]
async fn broadcast_buffer_reaches_every_worker() {
    let pool = Pool::with_workers(3).unwrap();
    let seen = within(pool.broadcast(first_and_len, patterned(9_000)))
        .await
        .unwrap();
    assert_eq!(seen, [(0, 9_000); 3]);
}

#[test]
fn values_go_wherever_threads_go() {
    fn check<T: Send + Sync + Unpin + std::fmt::Debug + 'static>() {}
    check::<SharedBuf>();
    check::<SharedBufMut>();
    check::<SharedSlice<f64>>();
    check::<procession::memory::Shared<[std::sync::atomic::AtomicU64]>>();
}

static LOADED: OnceLock<SharedBuf> = OnceLock::new();

#[procession::test]
async fn buffer_that_was_preloaded_is_sent_by_every_worker() {
    let load = |len: usize| LOADED.set(patterned(len)).unwrap();
    let builder = Pool::builder().workers(2).preload(load, 2 << 20);
    let pool = builder.build().unwrap();
    let part = |n: usize| LOADED.get().unwrap().slice(n * 1000..);
    let parts = within(pool.map(part, 0..50)).await.unwrap();
    let mut parts = parts.iter().enumerate();
    assert!(parts.all(|(n, part)| is_patterned(part, n * 1000) && part.len() > 1_000_000));
}

#[procession::test]
async fn memory_is_serialised_by_sends_alone() {
    let buf = patterned(5);
    assert!(postcard::to_slice(&buf, &mut [0; 64]).is_err());
    assert!(postcard::from_bytes::<SharedBuf>(&[0, 0, 1]).is_err());
    let owned = bytes::Bytes::from_owner(buf.clone());
    assert!(is_patterned(&owned.slice(2..), 2));
    let as_ref: &[u8] = buf.as_ref();
    assert_eq!(as_ref.len(), 5);
}
