//! `BytePipe`: bytes in both directions.

use procession::{BytePipe, byte_pipe, spawn};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::deadline::within;

async fn make_uppercase(mut pipe: BytePipe) {
    let mut bytes = [0; 1000];
    loop {
        let n = pipe.read(&mut bytes).await.unwrap();
        if n == 0 {
            break;
        }
        bytes[..n].make_ascii_uppercase();
        pipe.write_all(&bytes[..n]).await.unwrap();
    }
    pipe.write_all(b".").await.unwrap();
}

#[procession::test]
async fn byte_pipe_carries_bytes_and_end_of_input() {
    let (mut here, there) = byte_pipe().unwrap();
    let child = spawn(make_uppercase, there);
    let text = "some words ".repeat(50_000);
    let (mut read, mut write) = tokio::io::split(&mut here);
    let sending = async {
        write.write_all(text.as_bytes()).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let mut received = String::new();
    let (read, ()) = within(futures::future::join(
        read.read_to_string(&mut received),
        sending,
    ))
    .await;
    read.unwrap();
    assert!(received == text.to_uppercase() + ".");
    within(child).await.unwrap();
}

#[procession::test]
async fn byte_pipe_ends_when_other_process_is_killed() {
    let (mut here, there) = byte_pipe().unwrap();
    let child = spawn(make_uppercase, there);
    here.write_all(b"a").await.unwrap();
    assert_eq!(within(here.read_u8()).await.unwrap(), b'A');
    child.abort();
    assert_eq!(within(here.read(&mut [0; 8])).await.unwrap(), 0);
}
