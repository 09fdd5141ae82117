//! Functions of this binary that run in more than one test.

use procession::Pipe;

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
