//! Every size, and what is none.

use std::io::ErrorKind;

use procession::memory::{SharedBuf, SharedBufMut, SharedSlice};
use procession::{Process, queue};

use crate::deadline::within;
use crate::{is_patterned, patterned};

#[procession::test]
async fn buffers_of_all_sizes_arrive() {
    let (tx, rx) = queue::<SharedBuf>(1).unwrap();
    let edges = [1 << 12, 1 << 16, 1 << 20, 1 << 21, 3 << 20, 5 << 20];
    let around = edges.iter().flat_map(|edge| (edge - 9)..(edge + 2));
    for len in (1..10).chain(around).chain([64 << 20]) {
        let buf = patterned(len);
        within(tx.send(buf)).await.unwrap();
        let buf = within(rx.recv()).await.unwrap();
        assert!(buf.len() == len && is_patterned(&buf, 0), "{len}");
    }
}

#[test]
fn impossible_sizes_are_clear_errors() {
    for (len, kind) in [
        (0, ErrorKind::InvalidInput),
        (usize::MAX, ErrorKind::InvalidInput),
        (isize::MAX as usize, ErrorKind::InvalidInput),
        (1 << 46, ErrorKind::OutOfMemory),
    ] {
        let error = SharedBufMut::zeroed(len).unwrap_err();
        assert_eq!(error.kind(), kind, "{len}: {error}");
        assert!(error.to_string().contains("shared memory") || error.to_string().contains("bytes"));
    }
    assert!(SharedSlice::<u64>::from_slice(&[]).is_err());
    assert!(SharedBuf::copy_from(b"").is_err());
}

#[test]
fn bytes_that_are_no_items_are_clear_errors() {
    let buf = patterned(64);
    assert_eq!(SharedSlice::<u64>::try_from(buf.clone()).unwrap().len(), 8);
    for part in [buf.slice(1..9), buf.slice(..63)] {
        let error = SharedSlice::<u64>::try_from(part).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("u64"), "{error}");
    }
    assert_eq!(
        SharedSlice::<u16>::try_from(buf.slice(2..8)).unwrap().len(),
        3
    );
}

#[test]
fn slice_outside_of_its_buffer_panics() {
    let buf = patterned(10);
    for (start, end) in [(0, 11), (11, 11), (5, usize::MAX)] {
        let slice = std::panic::catch_unwind(|| buf.slice(start..end));
        assert!(slice.is_err(), "{start}..{end}");
    }
}

/// A memory limit of the machine cannot be lowered for a test. A limit on the size of files can, and shared memory is
/// files to the kernel.
#[procession::test]
async fn limit_on_the_size_of_files_is_no_limit_on_buffers() {
    let make = || {
        let sizes = [100, 100_000, 3 << 20];
        sizes
            .into_iter()
            .all(|len| is_patterned(&patterned(len), 0))
    };
    let limited = Process::builder().file_size_limit(4096).spawn(make, ());
    let outcome = within(limited).await;
    // The process may raise its hard limit only with a privilege. Without it, the error says what is wrong.
    match outcome {
        Ok(all) => assert!(all),
        Err(error) => assert!(error.to_string().contains("size of files"), "{error}"),
    }
}
