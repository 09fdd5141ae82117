//! The same endless computation behind an HTTP server, on a thread and in a pool: what it costs after the client has
//! gone.
//!
//! Both handlers have a time limit, and axum drops both when the client goes away. A thread cannot be stopped, so the
//! computation under `spawn_blocking` uses a processor until the program ends. The worker is stopped.
//!
//! ```text
//! cargo run --release --example deadline
//! ```
#![allow(clippy::print_stdout, reason = "an example prints its results")]

mod processor;

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use procession::Pool;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

/// What a request may take.
const LIMIT: Duration = Duration::from_secs(2);

/// How long the client waits before it goes away.
const PATIENCE: Duration = Duration::from_millis(300);

/// How long the processors are watched.
const WATCH: Duration = Duration::from_secs(1);

/// Never returns: the input that a service meets one day.
fn endless(seed: u64) -> u64 {
    let mut state = seed;
    loop {
        state = std::hint::black_box(
            state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1),
        );
    }
}

async fn on_a_thread() -> Result<String, StatusCode> {
    let computing = timeout(LIMIT, spawn_blocking(|| endless(1)));
    match computing.await {
        Ok(Ok(number)) => Ok(number.to_string()),
        _ => Err(StatusCode::GATEWAY_TIMEOUT),
    }
}

async fn in_a_pool(State(pool): State<Pool>) -> Result<String, StatusCode> {
    let computing = pool.run(endless, 1).timeout(LIMIT);
    let number = computing.await.map_err(|_| StatusCode::GATEWAY_TIMEOUT)?;
    Ok(number.to_string())
}

#[procession::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let pool = Pool::with_workers(1)?;
    let routes = Router::new()
        .route("/pool", get(in_a_pool))
        .route("/thread", get(on_a_thread))
        .with_state(pool.clone());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let server = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, routes).await });

    println!("processors in use while the client waits, and after it has gone:");
    for target in ["/pool", "/thread"] {
        let (during, after) = visit(server, target, &pool).await?;
        println!("{target:8} {during:4.2}  {after:4.2}");
    }
    pool.shutdown().await;
    // A runtime waits for its blocking threads, and one of them never ends.
    std::process::exit(0)
}

/// Asks, goes away, and returns how many processors the program used before and after.
async fn visit(
    server: SocketAddr,
    target: &str,
    pool: &Pool,
) -> Result<(f64, f64), Box<dyn Error>> {
    let mut connection = TcpStream::connect(server).await?;
    let request = format!("GET {target} HTTP/1.1\r\nHost: {server}\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let during = processor::used_during(PATIENCE, pool).await?;
    drop(connection);
    sleep(PATIENCE).await; // the server notices that the connection is closed
    let after = processor::used_during(WATCH, pool).await?;
    Ok((during, after))
}
