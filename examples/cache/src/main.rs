//! Thumbnails over HTTP: the workers of a pool share a cache that lives in a process of its own.
//!
//! A thumbnail is made once, by whichever worker was asked first. A worker that crashes leaves the cache as it is.
//!
//! ```text
//! cargo run --release --example cache
//! ```
#![allow(clippy::print_stdout, reason = "an example prints its results")]

mod cache;
#[path = "../../web/src/work.rs"]
#[allow(dead_code, reason = "this server makes thumbnails only")]
mod work;

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use procession::{Managed, Pool};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use cache::{Cache, Key};

/// How many thumbnails are kept.
const MOST_KEPT: usize = 100;

/// Runs in a worker. Returns the thumbnail, and whether it was in the cache.
async fn thumbnail(cache: Managed<Cache>, key: Key) -> Result<(Bytes, bool), String> {
    let found = cache.read(|cache, key: Key| cache.get(&key), key.clone());
    if let Some(png) = found.await.map_err(|error| error.to_string())? {
        return Ok((png, true));
    }
    let picture = Path::new("examples/pictures").join(&key.picture);
    let made = work::thumbnail(picture.into_os_string(), key.side);
    let png = made.map_err(|fault| format!("{fault:?}"))?;
    let put = |cache: &mut Cache, (key, png): (Key, Bytes)| cache.put(key, png);
    let kept = cache.call(put, (key, png.clone())).await;
    kept.map_err(|error| error.to_string())?;
    Ok((png, false))
}

#[derive(Debug, Clone)]
struct Site {
    pool: Pool,
    cache: Managed<Cache>,
}

#[derive(Debug, Deserialize)]
struct Wanted {
    name: String,
    side: u32,
}

async fn answer(
    State(site): State<Site>,
    Query(Wanted { name, side }): Query<Wanted>,
) -> Result<impl IntoResponse, (StatusCode, String)> {
    let key = Key {
        picture: name,
        side,
    };
    let made = site.pool.run(thumbnail, (site.cache, key)).await;
    match made {
        Ok(Ok((png, was_kept))) => {
            let from = if was_kept { "cache" } else { "worker" };
            Ok(([("x-from", HeaderValue::from_static(from))], png))
        }
        Ok(Err(why)) => Err((StatusCode::NOT_FOUND, why)),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

#[procession::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let site = Site {
        pool: Pool::with_workers(2)?,
        cache: Managed::spawn(Cache::new, MOST_KEPT).await?,
    };
    let routes = Router::new()
        .route("/thumb", get(answer))
        .with_state(site.clone());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let server = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, routes).await });

    for name in ["chelsea.png", "rocket.jpg", "chelsea.png", "rocket.jpg"] {
        let began = Instant::now();
        let from = ask(server, name).await?;
        println!("{name}: from the {from} after {:.1?}", began.elapsed());
    }
    let abort = site.pool.run(|| -> u8 { std::process::abort() }, ());
    println!("{}", abort.await.err().ok_or("it did not crash")?);
    println!(
        "chelsea.png: from the {}",
        ask(server, "chelsea.png").await?
    );
    let kept = site.cache.read(|cache, (): ()| cache.len(), ()).await?;
    println!("the cache has {kept} thumbnails");
    site.pool.shutdown().await;
    Ok(())
}

/// Asks for a thumbnail. Returns where it came from.
async fn ask(server: SocketAddr, name: &str) -> Result<String, Box<dyn Error>> {
    let mut connection = TcpStream::connect(server).await?;
    let target = format!("/thumb?name={name}&side=64");
    let request = format!("GET {target} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let mut lines = answer.lines();
    let from = lines.find_map(|line| line.strip_prefix("x-from: "));
    Ok(from.ok_or("no thumbnail")?.to_owned())
}
