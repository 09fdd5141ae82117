//! The server sends requests to itself, over TCP like any client.

use std::error::Error;
use std::fmt::Display;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use procession::Pool;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::client::{Answer, ask, get};
use super::server::serve;
use super::site::Site;

/// How long to wait for what takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

type Finding = Result<String, Box<dyn Error>>;

/// Whether all answers were right.
pub(crate) async fn check(site: Site) -> Result<bool, Box<dyn Error>> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let server = listener.local_addr()?;
    println!("{server}");
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    let serving = tokio::spawn(serve(listener, site.clone(), stopped));

    let mut right = true;
    for (target, status, words) in QUESTIONS {
        right &= tell(target, &question(server, target, *status, words).await);
    }
    let stopped = time_is_over(server, &site).await;
    right &= tell("/slow, longer than its time", &stopped);
    let stopped = client_goes_away(server, &site).await;
    right &= tell("/slow, and the client goes away", &stopped);
    let stopped = listener_goes_away(server, &site).await;
    right &= tell("/primes, and the client goes away", &stopped);
    right &= tell("/thumb, many at once", &many(server).await);

    let last = tokio::spawn(async move { get(server, "/slow?ms=200").await });
    busy(&site.pool, 1).await?;
    drop(stop);
    let last = last.await??;
    right &= tell("/slow, when the server stops", &expect(&last, 200, "burnt"));
    let ended = timeout(PATIENCE, serving).await??;
    right &= tell("the server's end", &ended.map(|()| "well".to_owned()));
    Ok(right)
}

/// A target, the status of its answer, and words in it.
const QUESTIONS: &[(&str, u16, &str)] = &[
    ("/thumb?name=chelsea.png", 200, "PNG"),
    ("/thumb?name=rocket.jpg&size=32", 200, "PNG"),
    ("/thumb?name=nobody.png", 404, "no such picture"),
    ("/thumb?name=README.md", 415, "format"),
    ("/thumb?name=../../Cargo.toml", 400, "not a path"),
    ("/thumb?name=%2Fetc%2Fpasswd", 400, "not a path"),
    ("/thumb?name=chelsea.png&size=0", 400, "size"),
    ("/slow?ms=10", 200, "burnt"),
    ("/primes?below=30", 200, "data: 29\n\nevent: end\ndata: 10"),
    ("/primes?below=0", 200, "event: end\ndata: 0"),
    ("/primes?below=many", 400, "invalid"),
    ("/crash", 500, "SIGABRT"),
    ("/thumb?name=chelsea.png", 200, "PNG"),
    ("/health", 200, "\"crashed\":1"),
];

async fn question(server: SocketAddr, target: &str, status: u16, words: &str) -> Finding {
    expect(&get(server, target).await?, status, words)
}

async fn time_is_over(server: SocketAddr, site: &Site) -> Finding {
    let target = format!("/slow?ms={}", (site.limit * 100).as_millis());
    let start = Instant::now();
    let answer = get(server, &target).await?;
    let found = expect(&answer, 504, "longer than its time limit")?;
    busy(&site.pool, 0).await?;
    Ok(format!("{found} (after {:?})", start.elapsed()))
}

async fn client_goes_away(server: SocketAddr, site: &Site) -> Finding {
    let target = format!("/slow?ms={}", (site.limit * 100).as_millis());
    let connection = ask(server, &target).await?;
    busy(&site.pool, 1).await?;
    let start = Instant::now();
    drop(connection);
    busy(&site.pool, 0).await?;
    Ok(format!("nothing runs any more after {:?}", start.elapsed()))
}

async fn listener_goes_away(server: SocketAddr, site: &Site) -> Finding {
    let mut connection = ask(server, &format!("/primes?below={}", u64::MAX)).await?;
    let mut heard = String::new();
    while !heard.contains("data: 101\n") {
        let mut bytes = [0; 4096];
        let read = timeout(PATIENCE, connection.read(&mut bytes)).await??;
        if read == 0 {
            return Err(format!("it ended after {heard:?}").into());
        }
        heard.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    busy(&site.pool, 1).await?;
    let start = Instant::now();
    drop(connection);
    busy(&site.pool, 0).await?;
    Ok(format!(
        "nobody looks any further after {:?}",
        start.elapsed()
    ))
}

async fn many(server: SocketAddr) -> Finding {
    let start = Instant::now();
    let requests: Vec<_> = (1..=50)
        .map(|size| {
            tokio::spawn(async move {
                get(server, &format!("/thumb?name=chelsea.png&size={size}")).await
            })
        })
        .collect();
    for request in requests {
        expect(&request.await??, 200, "PNG")?;
    }
    Ok(format!("50 thumbnails in {:?}", start.elapsed()))
}

/// Waits until so many workers work.
async fn busy(pool: &Pool, workers: usize) -> Result<(), Box<dyn Error>> {
    let reached = async {
        while pool.metrics().busy() != workers {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let late = format!("not {workers} but {} workers busy", pool.metrics().busy());
    timeout(PATIENCE, reached).await.map_err(|_| late.into())
}

fn expect(answer: &Answer, status: u16, words: &str) -> Finding {
    let mut told = answer.text();
    let right = answer.status == status && told.contains(words);
    if answer.body.starts_with(b"\x89PNG") {
        told = format!("a PNG of {} bytes", answer.body.len());
    }
    let told = format!("{} {told}", answer.status);
    if right {
        Ok(told)
    } else {
        Err(format!("{told}; expected {status} and {words:?}").into())
    }
}

fn tell(what: &str, finding: &Result<String, impl Display>) -> bool {
    match finding {
        Ok(found) => println!("ok     {what}: {found}"),
        Err(why) => println!("WRONG  {what}: {why}"),
    }
    finding.is_ok()
}
