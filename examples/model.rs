//! Loads a model once and uses it in many processes.
//!
//! The process from which the workers are forked loads the weights. The workers share that memory, so four workers
//! need as much memory as one, and a worker that crashes is replaced without loading anything.
//!
//! ```text
//! cargo run --release --example model -- --mib 512 --workers 4
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use procession::Pool;

/// Weights per row. The model is one layer with as many rows as fit into its memory.
const INPUTS: usize = 1024;

static WEIGHTS: OnceLock<Vec<f32>> = OnceLock::new();

/// Stands for reading a file: a generator makes the same numbers at every run.
fn load(mib: usize) {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let count = (mib << 20) / size_of::<f32>();
    WEIGHTS.get_or_init(|| (0..count).map(|_| next()).collect());
}

/// The row with the strongest answer to the input, and its strength.
fn predict(seed: u64) -> Result<(usize, f32), String> {
    let weights = WEIGHTS.get().ok_or("the model is not loaded")?;
    let input: Vec<f32> = (0..INPUTS as u64)
        .map(|n| ((n.wrapping_mul(seed + 1) % 17) as f32 - 8.0) / 8.0)
        .collect();
    let answers = weights.chunks_exact(INPUTS).map(|row| {
        row.iter()
            .zip(&input)
            .map(|(weight, value)| weight * value)
            .sum::<f32>()
    });
    answers
        .enumerate()
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .ok_or_else(|| "the model is empty".to_owned())
}

/// The process id, the memory that only this process uses, and its proportional share of all its memory, in KiB
/// (`Private_*` and `Pss` of `proc_pid_smaps(5)`).
fn memory() -> Result<(u32, u64, u64), String> {
    let rollup =
        std::fs::read_to_string("/proc/self/smaps_rollup").map_err(|why| why.to_string())?;
    let sum = |prefix: &str| {
        let lines = rollup.lines().filter(|line| line.starts_with(prefix));
        lines
            .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
            .sum()
    };
    Ok((std::process::id(), sum("Private_"), sum("Pss:")))
}

struct Options {
    mib: usize,
    workers: usize,
    requests: u64,
}

fn options() -> Result<Options, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options {
        mib: 512,
        workers: 4,
        requests: 8,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("mib") => options.mib = parser.value()?.parse()?,
            Long("workers") => options.workers = parser.value()?.parse()?,
            Long("requests") => options.requests = parser.value()?.parse()?,
            other => return Err(other.unexpected()),
        }
    }
    Ok(options)
}

/// Prints the memory of every worker. Asks until every worker has answered.
async fn report(pool: &Pool, workers: usize) -> Result<(), Box<dyn Error>> {
    let mut seen = BTreeMap::new();
    while seen.len() < workers {
        // Each call keeps its worker busy for a moment, so that other workers are asked as well.
        let ask = |_: usize| {
            std::thread::sleep(Duration::from_millis(20));
            memory()
        };
        for answer in pool.map(ask, 0..workers).chunk_size(1).await? {
            let (pid, private, share) = answer?;
            seen.insert(pid, (private, share));
        }
    }
    for (pid, (private, share)) in seen {
        eprintln!("worker {pid}: {private} KiB of its own, {share} KiB with its share of the rest");
    }
    Ok(())
}

#[procession::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let began = Instant::now();
    let pool = Pool::builder()
        .name("model")
        .workers(options.workers)
        .preload(load, options.mib)
        .build()?;
    pool.run(|| (), ()).await?;
    eprintln!(
        "{} MiB loaded and the first worker ready in {:.1?}",
        options.mib,
        began.elapsed()
    );
    for seed in 0..options.requests {
        let began = Instant::now();
        let (row, strength) = pool.run(predict, seed).await??;
        let took = began.elapsed();
        eprintln!("request {seed}: row {row}, {strength:.3}, in {took:.1?}");
    }
    report(&pool, options.workers).await?;
    pool.shutdown().await;
    Ok(())
}
