//! Shared memory in a process that has no descriptors, or no addresses, left.

use std::io::ErrorKind;

use procession::memory::{Shared, SharedBuf, SharedBufMut};
use procession::{RecvError, channel, spawn};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::atomic::AtomicU64;

use crate::deadline::within;
use crate::leftovers::{alone, descriptors};
use crate::{is_patterned, patterned};

/// Allows this many more descriptors than are open.
fn allow_descriptors(more: u64) {
    let open = descriptors().values().sum::<usize>() as u64;
    let limit = Rlimit {
        current: Some(open + more),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
}

fn is_full_table(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMFILE)
}

#[procession::test]
async fn full_descriptor_table_is_a_clear_error_and_passes() {
    alone(
        "shortage::full_descriptor_table_is_a_clear_error_and_passes",
        async {
            let (tx, rx) = channel::<SharedBuf>().unwrap();
            let buf = patterned(5000);
            allow_descriptors(20);
            let mut held = Vec::new();
            let error = loop {
                match SharedBufMut::zeroed(10) {
                    Ok(made) => held.push(made),
                    Err(error) => break error,
                }
            };
            assert!(is_full_table(&error), "{error}");
            assert!(is_full_table(&Shared::new(AtomicU64::new(0)).unwrap_err()));
            // Sending takes a duplicate. The value comes back.
            let refused = within(tx.send(buf.clone())).await.unwrap_err();
            assert!(refused.is_encode(), "{refused}");
            assert!(is_patterned(&refused.into_inner().unwrap(), 0));
            // Receiving takes one too.
            held.pop();
            within(tx.send(buf.clone())).await.unwrap();
            held.push(SharedBufMut::zeroed(10).unwrap());
            let refused = within(rx.recv()).await.unwrap_err();
            assert!(matches!(refused, RecvError::Decode(_)), "{refused}");
            held.clear();
            within(tx.send(buf)).await.unwrap();
            assert!(is_patterned(&within(rx.recv()).await.unwrap(), 0));
        },
    )
    .await;
}

/// The most that this process has mapped, in bytes.
fn address_space() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|it| it.strip_prefix("VmSize:"))
        .unwrap();
    line.trim()
        .trim_end_matches("kB")
        .trim()
        .parse::<u64>()
        .unwrap()
        * 1024
}

#[procession::test]
async fn memory_beyond_a_limit_is_a_clear_error() {
    let make = || {
        let most = Some(address_space() + (64 << 20));
        let maximum = getrlimit(Resource::As).maximum;
        setrlimit(
            Resource::As,
            Rlimit {
                current: most,
                maximum,
            },
        )
        .unwrap();
        let error = SharedBufMut::zeroed(256 << 20).unwrap_err();
        let fits = patterned(1 << 20);
        let is_clear = error.kind() == ErrorKind::OutOfMemory;
        (is_clear && is_patterned(&fits, 0), error.to_string())
    };
    let (is_right, text) = within(spawn(make, ())).await.unwrap();
    assert!(is_right && text.contains("268435456 bytes"), "{text}");
}
