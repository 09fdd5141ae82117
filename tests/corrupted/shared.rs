//! Memory for long arguments and results.

use std::os::unix::fs::FileExt as _;
use std::time::Instant;

use futures::StreamExt as _;
use serde_bytes::ByteBuf;

use crate::deadline::within;
use crate::memory::{be_quiet, mappings, own_memory};
use crate::{soak_time, working_pool};

/// From now on overwrites the memory of all long arguments that this worker was ever sent, also after this task.
fn spoil_arguments(_: ByteBuf) -> u32 {
    be_quiet();
    std::thread::spawn(|| {
        let memory = own_memory();
        loop {
            for range in mappings("memfd:procession-blob") {
                for at in (range.start + 4096..range.end).step_by(512) {
                    let _ = memory.write_all_at(&[0xee; 8], at);
                }
            }
        }
    });
    std::process::id()
}

/// Whether all bytes are as they were sent, and who says so.
fn check(bytes: ByteBuf) -> (u32, bool) {
    let first = bytes[0];
    (std::process::id(), bytes.iter().all(|byte| *byte == first))
}

#[procession::test]
async fn worker_cannot_write_the_arguments_of_another() {
    let pool = working_pool(2).await;
    let long = |byte: u8| ByteBuf::from(vec![byte; 400_000]);
    // So that memory was used before by both.
    for byte in 0..8 {
        within(pool.map(check, (0..4).map(|_| long(byte))))
            .await
            .unwrap();
    }
    let attacker = within(pool.run(spoil_arguments, long(1))).await.unwrap();
    let end = Instant::now() + soak_time();
    let mut elsewhere = 0;
    while Instant::now() < end {
        let mut calls = pool.map(check, (0..8).map(long));
        while let Some(result) = within(calls.next()).await {
            let (pid, whole) = result.unwrap_or_else(|error| (error.pid().unwrap(), false));
            assert!(whole || pid == attacker, "process {pid} is not {attacker}");
            elsewhere += u32::from(pid != attacker);
        }
    }
    assert!(elsewhere > 0, "no call ran in the other worker");
}

/// A long text whose bytes a thread of this worker keeps changing.
fn changing_text() -> String {
    be_quiet();
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        std::thread::spawn(|| {
            let memory = own_memory();
            loop {
                for range in mappings("memfd:procession-blob") {
                    for at in (range.start + 4096 + 100..range.end).step_by(640) {
                        let _ = memory.write_all_at(&[0xff], at);
                        let _ = memory.write_all_at(b"x", at);
                    }
                }
            }
        });
    });
    "x".repeat(600_000)
}

#[procession::test]
async fn text_that_changes_while_it_is_read_is_text_or_an_error() {
    let pool = working_pool(1).await;
    let end = Instant::now() + soak_time();
    while Instant::now() < end {
        if let Ok(text) = within(pool.run(changing_text, ())).await {
            assert!(std::str::from_utf8(text.as_bytes()).is_ok());
        }
    }
}

#[procession::test]
async fn result_beyond_the_limit_is_refused_alone() {
    let pool = procession::Pool::builder()
        .workers(1)
        .result_limit(1_000_000)
        .build()
        .unwrap();
    let result = |len: usize| ByteBuf::from(vec![7; len]);
    let error = within(pool.run(result, 2_000_000)).await.unwrap_err();
    assert!(error.is_decode(), "{error}");
    assert!(error.to_string().contains("at most 1000000"), "{error}");
    assert_eq!(
        within(pool.run(result, 900_000)).await.unwrap().len(),
        900_000
    );
    let handle = procession::Process::builder()
        .result_limit(100_000)
        .spawn(result, 200_000);
    assert!(within(handle).await.unwrap_err().is_decode());
}
