//! The parent is killed at random.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use procession::{Pool, Process, WorkerInfo};

use crate::deadline::{until_limit, within};
use crate::leftovers::{alone, marked};
use crate::load::Load;
use crate::notes::{Board, Desk};
use crate::{Dice, kill, seed, spin, steps};

const FAMILY: &str = "PROCESSION_SOAK_FAMILY";

fn starts_something(desk: Desk) {
    let mut sleep = Command::new("sleep");
    sleep.arg("1000").stdin(Stdio::null()).spawn().unwrap();
    desk.write("started", std::process::id());
    loop {
        spin(Duration::from_millis(1));
    }
}

/// A parent with a pool that does all kinds of things, for ever.
async fn parent(desk: Desk, seed: u64) {
    let pool = Pool::with_workers(3).unwrap();
    let started = pool.spawn(starts_something, desk.clone());
    desk.write("parent", std::process::id());
    let load = |number: u64| {
        Load {
            pool: pool.clone(),
            desk: desk.clone(),
            accounts: Arc::default(),
            stop: Arc::default(),
        }
        .go_on(seed + number)
    };
    let killing = kill_others(&pool, &started, seed);
    tokio::join!(load(1), load(2), killing);
}

/// Kills workers too, so that there are always some that start and some that end.
async fn kill_others(pool: &Pool, but: &procession::TaskHandle<()>, seed: u64) {
    let mut dice = Dice::new(seed);
    loop {
        tokio::time::sleep(dice.micros(5_000)).await;
        let infos = pool.workers();
        let is_at_it = |it: &&WorkerInfo| it.current_task() == Some(but.id());
        // Until it runs, nobody is killed: where starting takes long, several in a row would fail it.
        let runs = infos.iter().any(|it| is_at_it(&it));
        let mut others = infos.iter().filter(|it| !is_at_it(it));
        let victim = others.next_back().filter(|_| runs);
        if let Some(pid) = victim.and_then(WorkerInfo::pid) {
            kill(pid);
        }
    }
}

#[procession::test]
async fn nothing_outlives_a_parent_that_is_killed() {
    alone("parent::nothing_outlives_a_parent_that_is_killed", async {
        let seed = seed();
        let mut dice = Dice::new(seed);
        for round in 0..steps() / 10 {
            let board = Board::new();
            let family = format!("{}-{round}", std::process::id());
            let handle = Process::builder()
                .env(FAMILY, &family)
                .stderr(Stdio::null())
                .spawn(parent, (board.desk(), seed + u64::from(round)));
            // Half of them early, while the pool starts.
            board.lines("parent", 1).await;
            if round % 2 == 0 {
                board.lines("started", 1).await;
            }
            tokio::time::sleep(dice.micros(20_000)).await;
            kill(board.read("parent")[0].parse().unwrap());
            assert!(within(handle).await.unwrap_err().is_crashed());
            let limit = Duration::from_secs(5);
            until_limit(limit, || marked(FAMILY, &family).is_empty()).await;
        }
    })
    .await;
}
