//! Counts the brightness of all pixels of photographs. The pictures lie in one shared buffer, which every worker reads
//! in place, and all workers add to one shared histogram. Nothing is copied between processes.
//!
//! ```text
//! cargo run --release --example histogram
//! cargo run --release --example histogram -- a/directory/of/pictures
//! ```
#![allow(
    clippy::print_stdout,
    reason = "the program prints its histogram to stdout"
)]

use std::error::Error;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use image::GrayImage;
use procession::Pool;
use procession::memory::{Shared, SharedBuf, SharedBufMut};

/// How many pixels a task counts.
const PART: usize = 64 * 1024;

/// How many values of brightness a line of the output has.
const BAND: usize = 16;

/// How long the longest bar of the output is, in characters.
const WIDTH: u64 = 50;

type Histogram = Shared<[AtomicU64; 256]>;

#[procession::main]
async fn main() -> ExitCode {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/pictures");
    let directory = std::env::args_os().nth(1).map_or_else(own, PathBuf::from);
    match count_all(&directory).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(mistake) => {
            eprintln!("histogram: {}: {mistake}", directory.display());
            ExitCode::from(2)
        }
    }
}

async fn count_all(directory: &Path) -> Result<(), Box<dyn Error>> {
    let pictures = open_all(directory)?;
    let pixels: SharedBuf = in_one_buffer(&pictures)?.freeze()?;
    let histogram = Shared::new([const { AtomicU64::new(0) }; 256])?;
    let pool = Pool::new()?;

    let start = Instant::now();
    let parts = (0..pixels.len()).step_by(PART);
    let parts = parts.map(|at| pixels.slice(at..(at + PART).min(pixels.len())));
    let tasks = parts.map(|part| (part, histogram.clone()));
    let counted: u64 = pool.map(count, tasks).await?.iter().sum();
    let time = start.elapsed();

    let counts = histogram.each_ref().map(|it| it.load(Ordering::Relaxed));
    if counts.iter().sum::<u64>() != pixels.len() as u64 || counted != pixels.len() as u64 {
        return Err("a pixel was lost".into());
    }
    print(&counts);
    let (pictures, workers) = (pictures.len(), pool.workers().len());
    println!("{counted} pixels of {pictures} pictures, counted by {workers} workers in {time:.1?}");
    pool.shutdown().await;
    Ok(())
}

/// Runs in a worker.
fn count(pixels: SharedBuf, histogram: Histogram) -> u64 {
    // All workers add to the same words, so each adds up on its own first.
    let mut counts = [0; 256];
    for pixel in pixels.iter() {
        counts[usize::from(*pixel)] += 1;
    }
    for (sum, count) in histogram.iter().zip(counts) {
        sum.fetch_add(count, Ordering::Relaxed);
    }
    counts.iter().sum()
}

/// The pictures in `directory`, in shades of grey.
fn open_all(directory: &Path) -> Result<Vec<GrayImage>, Box<dyn Error>> {
    let mut pictures = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if image::ImageFormat::from_path(&path).is_ok() {
            pictures.push(image::open(&path)?.into_luma8());
        }
    }
    match pictures.is_empty() {
        true => Err("there are no pictures".into()),
        false => Ok(pictures),
    }
}

fn in_one_buffer(pictures: &[GrayImage]) -> std::io::Result<SharedBufMut> {
    let mut buf = SharedBufMut::zeroed(pictures.iter().map(|it| it.as_raw().len()).sum())?;
    let mut start = 0;
    for picture in pictures {
        let pixels = picture.as_raw();
        buf[start..start + pixels.len()].copy_from_slice(pixels);
        start += pixels.len();
    }
    Ok(buf)
}

fn print(counts: &[u64; 256]) {
    let bands = counts.chunks(BAND).map(|band| band.iter().sum::<u64>());
    let bands: Vec<_> = bands.collect();
    let most = bands.iter().max().copied().unwrap_or(0).max(1);
    for (n, pixels) in bands.iter().enumerate() {
        let values: Range<usize> = n * BAND..(n + 1) * BAND;
        let bar = "#".repeat((pixels * WIDTH / most) as usize);
        println!(
            "{:3} to {:3} {pixels:>9} {bar}",
            values.start,
            values.end - 1
        );
    }
}
