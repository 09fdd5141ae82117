//! `PoolBuilder::output`: where the stdout and the stderr of workers go.

use std::io::Write as _;
use std::process::Stdio;

use procession::{Output, Pool, Process, StartMethod};
use tokio::io::AsyncReadExt as _;

use crate::deadline::within;
use crate::leftovers::alone;

/// More than a pipe holds.
const BYTES: usize = 300_000;

fn write() {
    let line = [b'x'; 99].into_iter().chain([b'\n']);
    let text: Vec<u8> = line.cycle().take(BYTES).collect();
    std::io::stdout().write_all(&text).unwrap();
    std::io::stdout().flush().unwrap();
    std::io::stderr().write_all(&text).unwrap();
}

/// An application whose worker writes.
async fn application(forks: bool, output: u8) {
    let output = [Output::Inherit, Output::Null, Output::Captured][usize::from(output)];
    let method = match forks {
        true => StartMethod::ForkServer,
        false => StartMethod::Exec,
    };
    let pool = Pool::builder()
        .workers(1)
        .start_method(method)
        .output(output);
    let pool = pool.build().unwrap();
    for _ in 0..2 {
        within(pool.run(write, ())).await.unwrap();
    }
    // A replacement has the same.
    within(pool.run(|| std::process::exit(1), ()))
        .await
        .unwrap_err();
    within(pool.run(write, ())).await.unwrap();
    within(pool.shutdown()).await;
}

#[procession::test]
async fn output_of_workers_goes_where_the_pool_says() {
    alone(
        "output::output_of_workers_goes_where_the_pool_says",
        async {
            for forks in [true, false] {
                for (output, expected) in [(0, 3 * BYTES), (1, 0), (2, 0)] {
                    let process = Process::builder()
                        .stdout(Stdio::piped())
                        .stderr(Stdio::piped());
                    let mut process = process.spawn(application, (forks, output));
                    let mut stdout = process.take_stdout().unwrap();
                    let mut stderr = process.take_stderr().unwrap();
                    let (mut out, mut err) = (Vec::new(), Vec::new());
                    let read = futures::future::join(
                        stdout.read_to_end(&mut out),
                        stderr.read_to_end(&mut err),
                    );
                    let (out_read, err_read) = within(read).await;
                    assert!(out_read.is_ok() && err_read.is_ok());
                    within(process).await.unwrap();
                    assert_eq!(
                        (out.len(), err.len()),
                        (expected, expected),
                        "{forks} {output}"
                    );
                }
            }
        },
    )
    .await;
}
