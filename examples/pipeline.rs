//! Counts words in a pipeline of processes that are connected by queues: one process reads files, a pool counts their
//! words, one process adds up the counts. Then it runs calls that report what they find while they run.
//!
//! ```text
//! cargo run --release --example pipeline [DIR]
//! ```
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use futures::TryStreamExt as _;
use procession::{Pool, Receiver, RecvError, Sender, queue, spawn};

/// The first stage: sends every source file below `directory`. Waits while the queue is full.
#[allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]
fn read(directory: PathBuf, files: Sender<String>) -> Result<usize, String> {
    let mut count = 0;
    for path in sources(&directory)? {
        if files.blocking_send(text(&path)?).is_err() {
            break; // no receiver is left
        }
        count += 1;
    }
    Ok(count)
}

/// The second stage, in many processes at once: receives files and sends their word counts.
async fn count_words(files: Receiver<String>, counts: Sender<HashMap<String, u64>>) {
    while let Ok(text) = files.recv().await {
        let mut words = HashMap::new();
        let letters = |c: char| !c.is_alphanumeric() && c != '_';
        for word in text.split(letters).filter(|word| word.len() > 3) {
            *words.entry(word.to_owned()).or_default() += 1;
        }
        if counts.send(words).await.is_err() {
            return;
        }
    }
}

/// The last stage: adds up the counts and returns the most frequent words.
async fn most_frequent(counts: Receiver<HashMap<String, u64>>) -> Vec<(String, u64)> {
    let add = |mut all: HashMap<String, u64>, some: HashMap<String, u64>| async {
        for (word, n) in some {
            *all.entry(word).or_default() += n;
        }
        Ok(all)
    };
    let all = counts.try_fold(HashMap::new(), add).await;
    let mut all: Vec<_> = all.unwrap_or_default().into_iter().collect();
    all.sort_by_key(|(word, n)| (std::cmp::Reverse(*n), word.clone()));
    all.truncate(5);
    all
}

/// Sends each line that is longer than all earlier lines as soon as it is found. A sync function.
#[allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]
fn longest_line(directory: PathBuf, found: Sender<String>) -> Result<usize, String> {
    let mut longest = 0;
    for path in sources(&directory)? {
        for line in text(&path)?.lines() {
            if line.len() > longest {
                longest = line.len();
                let _ = found.blocking_send(line.trim().to_owned());
            }
        }
    }
    Ok(longest)
}

/// Sends each file that is longer than all earlier files as soon as it is found. An async function.
async fn longest_file(directory: PathBuf, found: Sender<String>) -> Result<usize, String> {
    let mut longest = 0;
    for path in sources(&directory)? {
        let len = tokio::fs::read(&path)
            .await
            .map_err(|error| error.to_string())?
            .len();
        if len > longest {
            longest = len;
            let _ = found.send(path.display().to_string()).await;
        }
    }
    Ok(longest)
}

fn text(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn sources(directory: &Path) -> Result<Vec<PathBuf>, String> {
    walk(directory).map_err(|error| format!("{}: {error}", directory.display()))
}

fn walk(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Prints what a call sends, until it returns.
async fn follow<R>(
    call: impl Future<Output = R>,
    what: &str,
    mut found: Receiver<String>,
) -> Result<R, RecvError> {
    // The stream ends when the call returns and drops the only sender.
    let printing = async {
        while let Some(one) = found.try_next().await? {
            println!("{what}, so far: {one}");
        }
        Ok(())
    };
    let (result, printed) = tokio::join!(call, printing);
    printed.map(|()| result)
}

#[procession::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let directory: PathBuf = std::env::args_os().nth(1).map_or(own.into(), PathBuf::from);
    let pool = Pool::new()?;

    let (files_tx, files) = queue(4)?;
    let (counts_tx, counts) = queue(16)?;
    let reader = spawn(read, (directory.clone(), files_tx));
    let summary = spawn(most_frequent, counts);
    let workers = pool.metrics().workers().max(2);
    let parts: Vec<_> = (0..workers)
        .map(|_| pool.spawn(count_words, (files.clone(), counts_tx.clone())))
        .collect();
    let count = reader.await??;
    for part in parts {
        part.await?;
    }
    // The summary ends when the last sender in any process is dropped; this is the last one.
    drop(counts_tx);
    println!("the words of {count} files, most frequent first:");
    for (word, n) in summary.await? {
        println!("{n:7} {word}");
    }

    let (tx, found) = queue(1)?;
    let looking = pool.run(longest_line, (directory.clone(), tx));
    let longest = follow(looking, "the longest line", found).await?;
    println!("it has {} bytes", longest??);

    let (tx, found) = queue(1)?;
    let looking = pool.run(longest_file, (directory, tx));
    let longest = follow(looking, "the longest file", found).await?;
    println!("it has {} bytes", longest??);
    Ok(())
}
