//! Descriptors that are not what they say: each is an error of the message, and the receiver continues.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU64;

use procession::memory::{Shared, SharedBuf, SharedBufMut, SharedSlice};
use procession::{Descriptor, RecvError, channel, spawn};
use rustix::fs::{MemfdFlags, SealFlags};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::deadline::within;
use crate::leftovers::alone;

/// Is sent as a descriptor and numbers, and received as a `T`.
#[derive(Debug)]
enum Forged<T> {
    Sent(Descriptor<OwnedFd>, Vec<u64>),
    Received(T),
}

impl<T> Serialize for Forged<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Sent(fd, numbers) => match numbers[..] {
                [a] => (fd, a).serialize(serializer),
                [a, b] => (fd, a, b).serialize(serializer),
                _ => Err(serde::ser::Error::custom("no such value")),
            },
            Self::Received(_) => Err(serde::ser::Error::custom("it was received")),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Forged<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::Received)
    }
}

async fn receive<T>(fd: OwnedFd, numbers: &[u64]) -> Result<T, RecvError>
where
    T: serde::de::DeserializeOwned + Send + 'static,
{
    let (tx, rx) = channel::<Forged<T>>().unwrap();
    let forged = Forged::Sent(Descriptor(fd), numbers.to_vec());
    assert!(tx.try_send(forged).is_ok());
    match within(rx.recv()).await {
        Ok(Forged::Received(value)) => Ok(value),
        Ok(Forged::Sent(..)) => unreachable!("nothing is received so"),
        Err(error) => Err(error),
    }
}

async fn is_refused<T>(fd: OwnedFd, numbers: &[u64], what: &str)
where
    T: serde::de::DeserializeOwned + Send + 'static,
{
    match receive::<T>(fd, numbers).await {
        Err(RecvError::Decode(why)) => assert!(why.to_string().contains("memory"), "{what}: {why}"),
        Err(other) => panic!("{what}: {other}"),
        Ok(_) => panic!("{what} was received"),
    }
}

fn memfd(written: usize, len: u64, seals: SealFlags) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = rustix::fs::memfd_create("hostile", flags).unwrap();
    rustix::io::write(&fd, &vec![1; written]).unwrap();
    rustix::fs::ftruncate(&fd, len).unwrap();
    rustix::fs::fcntl_add_seals(&fd, seals).unwrap();
    fd
}

const FIXED: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);
const SEALED: SealFlags = FIXED.union(SealFlags::WRITE);

/// Descriptors that no kind of memory accepts.
fn others() -> Vec<(&'static str, OwnedFd)> {
    let path = crate::notes::scratch("file");
    std::fs::write(&path, [1; 8192]).unwrap();
    let file = File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let (pipe, _) = rustix::pipe::pipe().unwrap();
    vec![
        ("a file", file.into()),
        ("a device", File::open("/dev/zero").unwrap().into()),
        ("a directory", File::open("/").unwrap().into()),
        ("a pipe", pipe),
        (
            "a file that can shrink",
            memfd(8192, 8192, SealFlags::empty()),
        ),
        ("memory that can grow", memfd(8192, 8192, SealFlags::SHRINK)),
        ("memory that is empty", memfd(0, 0, SEALED)),
        ("half a page", memfd(100, 100, SEALED)),
        (
            "a terabyte that was not written",
            memfd(4096, 1 << 40, SEALED),
        ),
        (
            "a file size that is negative as a length",
            memfd(1, i64::MAX as u64 - 4095, SEALED),
        ),
        ("its end was not written", memfd(4096, 8192, SEALED)),
    ]
}

#[procession::test]
async fn descriptor_of_another_kind_is_refused() {
    alone("hostile::descriptor_of_another_kind_is_refused", async {
        for (what, fd) in others() {
            let fd = || fd.try_clone().unwrap();
            is_refused::<SharedBuf>(fd(), &[0, 1], what).await;
            is_refused::<SharedSlice<u8>>(fd(), &[0, 1], what).await;
            is_refused::<SharedBufMut>(fd(), &[1, 0], what).await;
            is_refused::<Shared<[AtomicU64]>>(fd(), &[1], what).await;
        }
    })
    .await;
}

#[procession::test]
async fn memory_of_another_kind_is_refused() {
    let writable = || memfd(8192, 8192, FIXED);
    is_refused::<SharedBuf>(writable(), &[0, 1], "memory that can be written").await;
    is_refused::<SharedBuf>(
        memfd(8192, 8192, FIXED | SealFlags::FUTURE_WRITE),
        &[0, 1],
        "the creator writes",
    )
    .await;
    let sealed = || memfd(8192, 8192, SEALED);
    is_refused::<SharedBufMut>(sealed(), &[1, 0], "sealed").await;
    is_refused::<Shared<AtomicU64>>(sealed(), &[1], "sealed").await;
}

#[procession::test]
async fn place_and_length_are_checked() {
    let sealed = || memfd(8192, 8192, SEALED);
    assert_eq!(
        receive::<SharedBuf>(sealed(), &[1, 8191]).await.unwrap()[..],
        [1; 8191]
    );
    for (start, len) in [(0, 8193), (8192, 1), (u64::MAX, 2), (2, u64::MAX)] {
        is_refused::<SharedBuf>(sealed(), &[start, len], "outside").await;
    }
    for (start, len) in [(1, 8), (0, 9)] {
        is_refused::<SharedSlice<u64>>(sealed(), &[start, len], "no items").await;
    }
    let writable = || memfd(8192, 8192, FIXED);
    for len in [0, 8185, u64::MAX] {
        is_refused::<SharedBufMut>(writable(), &[len, 0], "too long").await;
        is_refused::<Shared<[AtomicU64]>>(writable(), &[len], "too many").await;
    }
    is_refused::<Shared<[AtomicU64; 4]>>(writable(), &[2], "two arrays").await;
    is_refused::<Shared<[AtomicU64; 2000]>>(writable(), &[1], "too long an array").await;
}

#[procession::test]
async fn truncated_result_of_a_child_is_an_error_of_that_task() {
    let forge =
        || Forged::<SharedBuf>::Sent(Descriptor(memfd(1, 1 << 30, SEALED)), vec![0, 1 << 30]);
    let error = within(spawn(forge, ())).await.unwrap_err();
    assert!(error.is_decode(), "{error}");
}
