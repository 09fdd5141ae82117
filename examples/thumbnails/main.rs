//! Makes thumbnails of photographs in worker processes. A worker that crashes or hangs costs one picture.
//!
//! ```text
//! cargo run --release --example thumbnails
//! cargo run --release --example thumbnails -- --crash rocket.jpg --hang coffee.png --timeout 2s
//! cargo run --release --example thumbnails -- --help
//! ```
#![allow(
    clippy::print_stdout,
    reason = "the program prints its table to stdout"
)]

mod album;
mod arguments;
mod job;
mod table;

use std::error::Error;
use std::ffi::OsStr;
use std::process::ExitCode;
use std::time::Instant;

use futures::StreamExt as _;
use indicatif::ProgressBar;
use procession::Pool;

use album::Album;
use arguments::{Arguments, USAGE};
use job::{Accident, Job};
use table::Table;

#[procession::main]
async fn main() -> ExitCode {
    let failed = match Arguments::parse(lexopt::Parser::from_env()) {
        Ok(Some(arguments)) => shrink_all(arguments).await,
        Ok(None) => {
            println!("{USAGE}");
            Ok(0)
        }
        Err(mistake) => Err(mistake.into()),
    };
    match failed {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(mistake) => {
            eprintln!("thumbnails: {mistake} (see --help)");
            ExitCode::from(2)
        }
    }
}

/// Makes the thumbnails and returns how many pictures have none.
async fn shrink_all(arguments: Arguments) -> Result<usize, Box<dyn Error>> {
    let album = Album::open(arguments.pictures)?;
    let (crash, hang) = (arguments.crash.as_deref(), arguments.hang.as_deref());
    for named in [crash, hang].into_iter().flatten() {
        if !album.names().iter().any(|name| name == named) {
            return Err(format!("there is no picture {}", named.to_string_lossy()).into());
        }
    }
    if album.names().is_empty() {
        println!("There are no pictures in {}", album.directory().display());
        return Ok(0);
    }
    let out = album.thumbnail_directory(arguments.out)?;
    let pool = match arguments.workers {
        Some(workers) => Pool::with_workers(workers.get())?,
        None => Pool::new()?,
    };
    let workers = pool.workers().len();

    let start = Instant::now();
    let jobs = album.names().iter().map(|name| Job {
        picture: album.directory().join(name).into(),
        thumbnail: out.join(name).into(),
        accident: accident(name, crash, hang),
    });
    // Drawn on stderr if that is a terminal; hidden otherwise.
    let bar = ProgressBar::new(album.names().len() as u64);
    let mut outcomes = pool
        .map(job::shrink, jobs)
        .timeout(arguments.timeout)
        // Outcomes come in the order of the input. With this, a slow picture does not delay the pictures behind it.
        .concurrency(album.names().len())
        .on_progress(|done, _| bar.set_position(done as u64));
    let mut table = Table::default();
    for name in album.names() {
        let outcome = outcomes.next().await.ok_or("the pool lost a picture")?;
        if !matches!(&outcome, Ok(report) if report.outcome.is_ok()) {
            // A worker that was killed may have written half of the thumbnail.
            tokio::fs::remove_file(out.join(name)).await.ok();
        }
        table.add(name, outcome, arguments.timeout);
    }
    drop(outcomes);
    let wall = start.elapsed();
    bar.finish_and_clear();
    pool.shutdown().await;

    print!("{table}");
    println!("{}", table.totals(wall, workers));
    println!("The thumbnails are in {}", out.display());
    Ok(table.failed())
}

fn accident(name: &OsStr, crash: Option<&OsStr>, hang: Option<&OsStr>) -> Option<Accident> {
    if crash == Some(name) {
        Some(Accident::Crash)
    } else if hang == Some(name) {
        Some(Accident::Hang)
    } else {
        None
    }
}
