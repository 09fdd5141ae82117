//! The application is killed at a random moment, while it uses a pool.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use procession::{Pool, Process, WorkerInfo};

use crate::client::Client;
use crate::deadline::{until_limit, within};
use crate::ledger::Ledger;
use crate::leftovers::alone;
use crate::leftovers::processes::{kill_if_running, marked};
use crate::notes::{Board, Notes};
use crate::settings::Settings;
use crate::{Random, seed, spin, steps};

const FAMILY: &str = "PROCESSION_SOAK_FAMILY";

/// Starts a program and never returns.
#[allow(
    clippy::zombie_processes,
    reason = "the program is left behind on purpose"
)]
fn start_a_program(notes: Notes) {
    let mut sleep = Command::new("sleep");
    sleep.arg("1000").stdin(Stdio::null()).spawn().unwrap();
    notes.write("started", std::process::id());
    loop {
        spin(Duration::from_millis(1));
    }
}

/// An application with a pool under load. Never returns.
async fn parent(notes: Notes, seed: u64) {
    let pool = Pool::with_workers(3).unwrap();
    let started = pool.spawn(start_a_program, notes.clone());
    notes.write("parent", std::process::id());
    let client = Client {
        pool: pool.clone(),
        notes: notes.clone(),
        ledger: Arc::new(Ledger::new(Settings::of_a_victim(3))),
        stop: Arc::default(),
    };
    let load = |number: u64| client.clone().make_calls(seed + number);
    let killing = kill_others(&client, &started, seed);
    tokio::join!(load(1), load(2), killing);
}

/// Kills all workers but the worker of `but`, so that at any moment some are starting and some are ending.
async fn kill_others(client: &Client, but: &procession::TaskHandle<()>, seed: u64) {
    let mut random = Random::new(seed);
    loop {
        tokio::time::sleep(random.micros(5_000)).await;
        let infos = client.pool.workers();
        let runs_it = |it: &&WorkerInfo| it.current_task() == Some(but.id());
        // No worker is killed before the task runs: where a start takes long, repeated kills would fail the task.
        let runs = infos.iter().any(|it| runs_it(&it));
        let mut others = infos.iter().filter(|it| !runs_it(it));
        let victim = others.next_back().filter(|_| runs);
        if let Some(pid) = victim.and_then(WorkerInfo::pid) {
            client.ledger.kills(pid);
            kill_if_running(pid);
        }
    }
}

#[procession::test]
async fn parent_killed_at_random_leaves_nothing() {
    alone("parent::parent_killed_at_random_leaves_nothing", async {
        let seed = seed();
        let mut random = Random::new(seed);
        for round in 0..steps() / 10 {
            let board = Board::new();
            let family = format!("{}-{round}", std::process::id());
            let handle = Process::builder()
                .env(FAMILY, &family)
                .stderr(Stdio::null())
                .spawn(parent, (board.notes(), seed + u64::from(round)));
            // In every second round the kill comes early, while the pool starts.
            board.lines("parent", 1).await;
            if round % 2 == 0 {
                board.lines("started", 1).await;
            }
            tokio::time::sleep(random.micros(20_000)).await;
            kill_if_running(board.read("parent")[0].parse().unwrap());
            assert!(within(handle).await.unwrap_err().is_crashed());
            let limit = Duration::from_secs(5);
            until_limit(limit, || marked(FAMILY, &family).is_empty()).await;
        }
    })
    .await;
}
