//! An HTTP server whose handlers await worker processes: slow work is stopped, a crash is an answer.
//!
//! ```text
//! cargo run --release --example web
//! curl -o chelsea.png 'http://127.0.0.1:8080/thumb?name=chelsea.png&size=128'
//! curl 'http://127.0.0.1:8080/slow?ms=5000'
//! curl --no-buffer 'http://127.0.0.1:8080/primes?below=100000000'
//! curl 'http://127.0.0.1:8080/crash'
//! curl 'http://127.0.0.1:8080/health'
//! ```
#![allow(
    clippy::print_stdout,
    reason = "the address on stdout is how to reach this program"
)]

mod arguments;
mod check;
mod client;
mod server;
mod site;
mod work;

use std::error::Error;
use std::process::ExitCode;

use procession::Pool;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use arguments::{Arguments, USAGE};
use site::Site;

#[procession::main]
async fn main() -> ExitCode {
    let right = match Arguments::parse(lexopt::Parser::from_env()) {
        Ok(Some(arguments)) => run(arguments).await,
        Ok(None) => {
            println!("{USAGE}");
            Ok(true)
        }
        Err(mistake) => Err(mistake.into()),
    };
    match right {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(mistake) => {
            eprintln!("web: {mistake} (--help tells more)");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: Arguments) -> Result<bool, Box<dyn Error>> {
    if !arguments.pictures.is_dir() {
        return Err(format!("{} is no directory", arguments.pictures.display()).into());
    }
    let pool = match arguments.workers {
        Some(workers) => Pool::with_workers(workers.get())?,
        None => Pool::new()?,
    };
    let site = Site {
        pool,
        pictures: arguments.pictures.into(),
        limit: arguments.limit,
    };
    if arguments.check {
        return check::check(site).await;
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let listener = TcpListener::bind(arguments.address).await?;
    let address = listener.local_addr()?;
    println!("{address}");
    println!("Try http://{address}/thumb?name=chelsea.png");
    server::serve(listener, site, stop).await?;
    println!("Stopped: all that was begun is done.");
    Ok(true)
}
