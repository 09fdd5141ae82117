//! A language model behind an HTTP server: its words arrive as server-sent events while it computes.
//!
//! The model is loaded when the first request comes, in a process of its own, and is unloaded when no request has come
//! for a while. A client that goes away stops the computation. The model stays loaded then, because the function looks
//! whether it was stopped and returns within the pool's grace.
//!
//! ```text
//! cargo run --release --example tokens
//! ```
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use futures::{Stream, StreamExt as _};
use procession::{Emit, Pool, task};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// What the model has learned from.
const TEXT: &str =
    "the worker runs the task and the pool sends the next task to the worker that waits";

/// Stands for reading some gigabytes, and for computing one word.
const LOAD_TIME: Duration = Duration::from_millis(300);
const WORD_TIME: Duration = Duration::from_millis(20);

/// How many words an answer has.
const LONGEST_ANSWER: usize = 50;

/// The model is unloaded when no request has come for so long.
const IDLE_TIME: Duration = Duration::from_millis(500);

/// Which words follow a word.
type Model = BTreeMap<&'static str, Vec<&'static str>>;

static MODEL: OnceLock<Model> = OnceLock::new();

fn load() {
    thread::sleep(LOAD_TIME);
    let words: Vec<_> = TEXT.split(' ').collect();
    let mut model = Model::new();
    for pair in words.windows(2) {
        model.entry(pair[0]).or_default().push(pair[1]);
    }
    MODEL.get_or_init(|| model);
}

/// Sends one word after the other, until the client has gone or the answer is long enough.
fn generate(emit: Emit<String>, prompt: String) {
    let Some(model) = MODEL.get() else {
        panic!("the model is not loaded");
    };
    let mut last = prompt;
    for n in 0..LONGEST_ANSWER {
        if task::is_cancelled() {
            return;
        }
        thread::sleep(WORD_TIME);
        let followers = model.get(last.as_str()).map_or(&["the"][..], Vec::as_slice);
        let next = followers[n % followers.len()];
        emit.blocking_send(next.to_owned());
        last = next.to_owned();
    }
}

async fn answer(
    State(pool): State<Pool>,
    Path(prompt): Path<String>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    // Dropped with the response, when the client goes away.
    let words = pool.stream(generate, prompt).buffer(4);
    Sse::new(words.map(|word| {
        Ok(match word {
            Ok(word) => Event::default().data(word),
            Err(error) => Event::default().event("error").data(error.to_string()),
        })
    }))
}

#[procession::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let pool = Pool::builder()
        .name("model")
        .min_workers(0)
        .max_workers(1)
        .idle_timeout(IDLE_TIME)
        .initializer(load, ())
        .cancel_grace(10 * WORD_TIME)
        .build()?;
    let routes = Router::new()
        .route("/{prompt}", get(answer))
        .with_state(pool.clone());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let server = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, routes).await });

    println!(
        "before the first request: {} processes",
        pool.workers().len()
    );
    let first = ask(server, "the", 5).await?;
    println!("a client that goes away after 5 words: {first}");
    let began = Instant::now();
    while pool.metrics().running() > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    println!("the computation has stopped after {:.0?}", began.elapsed());
    let second = ask(server, "pool", LONGEST_ANSWER).await?;
    println!("a client that stays, and finds the model loaded: {second}");
    while !pool.workers().is_empty() {
        sleep(Duration::from_millis(10)).await;
    }
    println!("while no client asks: {} processes", pool.workers().len());
    pool.shutdown().await;
    Ok(())
}

/// Asks, reads so many words and goes away. Returns when each of the first and the last came.
async fn ask(server: SocketAddr, prompt: &str, words: usize) -> Result<String, Box<dyn Error>> {
    let began = Instant::now();
    let mut connection = TcpStream::connect(server).await?;
    let request = format!("GET /{prompt} HTTP/1.1\r\nHost: {server}\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut lines = BufReader::new(connection).lines();
    let (mut count, mut first) = (0, None);
    while count < words {
        let Some(line) = lines.next_line().await? else {
            return Err("the answer has ended too early".into());
        };
        if line.starts_with("data:") {
            count += 1;
            first.get_or_insert_with(|| began.elapsed());
        }
    }
    let first = first.unwrap_or_default();
    Ok(format!(
        "first word after {first:.0?}, all after {:.0?}",
        began.elapsed()
    ))
}
