//! A service that works on hostile input: each attack is one typed error, and all other requests are answered.
//!
//! Three attacks that no library can exclude: a small archive that unpacks to terabytes, a text on which a pattern
//! takes longer than the universe exists, and a document that is nested deeper than the parser's stack. Honest requests
//! of the same kinds run beside them all the time.
//!
//! ```text
//! cargo run --release --example untrusted
//! ```
#![allow(clippy::print_stdout, reason = "an example prints its results")]

mod attacks;
mod work;

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use procession::{CrashReport, ErrorKind, JoinError, Pool, StartMethod};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

/// What one request may allocate, in bytes.
const MEMORY: u64 = 256 << 20;

/// How long one request may run, unless it says otherwise.
const TIME: Duration = Duration::from_secs(1);

/// How long a large archive may take.
const TIME_TO_UNPACK: Duration = Duration::from_secs(30);

#[procession::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let pool = Pool::builder()
        .workers(2)
        .name("untrusted")
        // Executed anew, a worker has a memory layout of its own, which says nothing about the application's.
        .start_method(StartMethod::Exec)
        .memory_limit(MEMORY)
        .task_timeout(TIME)
        .build()?;
    let (stop, stopped) = oneshot::channel();
    let honest = tokio::spawn(honest_requests(pool.clone(), stopped));

    let unpacking = pool.run(work::unpack, attacks::bomb()?);
    let bomb = unpacking.timeout(TIME_TO_UNPACK).await;
    let mut right = tell("an archive", &bomb, ErrorKind::MemoryExceeded);
    let (pattern, text) = attacks::pattern();
    let matched = pool.run(work::matches, (pattern, text)).await;
    right &= tell("a pattern", &matched, ErrorKind::TimedOut);
    let depth = pool.run(work::depth, attacks::document()).await;
    right &= tell("a document", &depth, ErrorKind::Crashed);

    drop(stop);
    let (answered, slowest) = honest.await??;
    println!("{answered} honest requests were answered meanwhile, the slowest after {slowest:?}");
    pool.shutdown().await;
    Ok(if right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Prints how a request has ended. Whether it has ended as expected.
fn tell<T>(what: &str, outcome: &Result<T, JoinError>, expected: ErrorKind) -> bool {
    match outcome {
        Ok(_) => println!("{what}: was harmless"),
        Err(error) => {
            println!("{what}: {error}");
            let calls = error.crash().and_then(CrashReport::backtrace);
            // The first call is the one that crashed.
            let calls = calls.into_iter().flat_map(str::lines).take(3);
            calls.for_each(|call| println!("    in {call}"));
        }
    }
    outcome.as_ref().is_err_and(|it| it.kind() == expected)
}

/// Requests of the same kinds with usual input, until `stopped`. Returns how many there were, and the longest time of
/// one.
async fn honest_requests(
    pool: Pool,
    mut stopped: oneshot::Receiver<()>,
) -> Result<(usize, Duration), JoinError> {
    let archive = attacks::archive(b"an honest text").unwrap_or_default();
    let mut slowest = Duration::ZERO;
    let mut count = 0;
    while stopped.try_recv() == Err(TryRecvError::Empty) {
        let asked = Instant::now();
        let unpacked = pool.run(work::unpack, archive.clone());
        let found = pool.run(work::matches, (r"^(a+)\1$".into(), "aaaa".into()));
        let nested = pool.run(work::depth, "[[1],[2,[3]]]".into());
        let (unpacked, found, nested) = tokio::try_join!(unpacked, found, nested)?;
        assert_eq!((unpacked, found, nested), (Ok(14), Ok(true), 3));
        slowest = slowest.max(asked.elapsed());
        count += 3;
    }
    Ok((count, slowest))
}
