//! Functions that several tests of this binary use.

use procession::Pipe;

/// Answers each number with the next one.
pub(crate) async fn echo(pipe: Pipe<u64, u64>) {
    while let Ok(n) = pipe.recv().await {
        pipe.send(n + 1).await.unwrap();
    }
}

pub(crate) fn echo_blocking(pipe: Pipe<u64, u64>) {
    while let Ok(n) = pipe.blocking_recv() {
        pipe.blocking_send(n + 1).unwrap();
    }
}
