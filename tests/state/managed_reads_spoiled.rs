//! `Managed`: an answer that cannot be received is an error of its own caller.

use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};

use futures::future::{join, join_all, join3};
use procession::{Descriptor, ErrorKind, JoinError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::deadline::within;
use crate::leftovers::alone;
use crate::list::{List, hold, length, list, push};
use crate::notes::Board;

/// No descriptor is free in this process until this is dropped.
struct NoDescriptors {
    before: Rlimit,
    _taken: Vec<OwnedFd>,
}

impl NoDescriptors {
    fn take() -> Self {
        let before = getrlimit(Resource::Nofile);
        let first = OwnedFd::from(File::open("/dev/null").unwrap());
        let limit = Rlimit {
            current: Some(first.as_raw_fd() as u64 + 200),
            ..before
        };
        setrlimit(Resource::Nofile, limit).unwrap();
        let mut taken: Vec<_> = std::iter::from_fn(|| first.try_clone().ok()).collect();
        taken.push(first);
        Self {
            before,
            _taken: taken,
        }
    }
}

impl Drop for NoDescriptors {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.before).unwrap();
    }
}

fn long(_: &Vec<u32>, bytes: usize) -> Vec<u8> {
    vec![7; bytes]
}

fn null(_: &Vec<u32>, (): ()) -> Descriptor<File> {
    Descriptor(File::open("/dev/null").unwrap())
}

fn assert_undecoded<T>(outcome: Result<T, JoinError>) {
    let Err(error) = outcome else {
        panic!("it needs a descriptor");
    };
    assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
    assert!(
        error.started() && error.to_string().contains("managed_reads_spoiled"),
        "{error}"
    );
}

/// Reads whose answers need a descriptor of this process fail, and no other.
async fn read_without_descriptors(list: &List) {
    let board = Board::new();
    // Before the shortage: what the first of each needs.
    within(list.call(push, 1)).await.unwrap();
    within(list.read(long, 3 << 20)).await.unwrap();
    let running = tokio::spawn(join_all(hold(list, &board, 3).await));
    // It begins behind them, so their tasks have heard that they have begun.
    within(list.read(length, ())).await.unwrap();
    tokio::task::yield_now().await;
    let shortage = NoDescriptors::take();
    let (file, bytes) = (list.read(null, ()), list.read(long, 5 << 20));
    let (file, bytes, length) = within(join3(file, bytes, list.read(length, ()))).await;
    drop(shortage);
    assert_undecoded(file);
    assert_undecoded(bytes);
    assert_eq!(length.unwrap(), 1);
    board.write("go", 1);
    for length in within(running).await.unwrap() {
        assert_eq!(length.unwrap(), 1, "an answer of another was spoiled");
    }
    // With a descriptor they are answered.
    assert_eq!(
        within(list.read(long, 5 << 20)).await.unwrap().len(),
        5 << 20
    );
    within(list.read(null, ())).await.unwrap();
}

#[procession::test]
async fn answer_that_cannot_be_received_fails_its_own_read() {
    let test = "managed_reads_spoiled::answer_that_cannot_be_received_fails_its_own_read";
    alone(test, async {
        read_without_descriptors(&list(false).await).await;
    })
    .await;
}

/// As [`read_without_descriptors`], of calls.
async fn call_without_descriptors(list: List) {
    let long_call = |_: &mut Vec<u32>, bytes: usize| vec![7_u8; bytes];
    let take = |_: &mut Vec<u32>, bytes: Vec<u8>| bytes.len();
    within(list.call(push, 1)).await.unwrap();
    within(list.call(long_call, 3 << 20)).await.unwrap();
    let shortage = NoDescriptors::take();
    let [first, second] = [list.call(long_call, 5 << 20), list.call(long_call, 6 << 20)];
    let taken = list.call(take, vec![1; 5 << 20]);
    let ((first, second), (taken, pushed)) =
        within(join(join(first, second), join(taken, list.call(push, 2)))).await;
    drop(shortage);
    assert_undecoded(first);
    assert_undecoded(second);
    let error = taken.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode, "{error}");
    assert_eq!(pushed.unwrap(), 2, "the answer of another was spoiled");
    assert_eq!(
        within(list.call(long_call, 5 << 20)).await.unwrap().len(),
        5 << 20
    );
}

#[procession::test]
async fn answer_that_cannot_be_received_elsewhere_fails_its_own_call() {
    let caller = procession::spawn(call_without_descriptors, list(false).await);
    within(caller).await.unwrap();
    let read = async |list: List| read_without_descriptors(&list).await;
    within(procession::spawn(read, list(false).await))
        .await
        .unwrap();
}
