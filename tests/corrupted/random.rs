//! Random bytes in the rings of workers and processes, while honest calls run beside them.

use std::time::Instant;

use procession::{ErrorKind, Pool};

use crate::deadline::within;
use crate::leftovers::alone;
use crate::memory::{Random, be_quiet, scribble};
use crate::{double, soak_time, working_pool};

/// Overwrites the memory that this worker shares with its parent, and dies.
fn scribble_and_die(seed: u64) {
    be_quiet();
    let mut random = Random::new(seed);
    let count = 1 + random.below(200);
    scribble("memfd:procession", count, &mut random);
    match random.below(3) {
        0 => std::process::abort(),
        1 => std::process::exit(3),
        _ => {
            let own = rustix::process::getpid();
            rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
        }
    }
    std::process::abort()
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_with_scribbling_workers_gives_honest_calls_the_right_results() {
    let name = "random::pool_with_scribbling_workers_gives_honest_calls_the_right_results";
    alone(name, honest_calls_beside_attackers()).await;
}

async fn honest_calls_beside_attackers() {
    let pool = working_pool(3).await;
    let end = Instant::now() + soak_time();
    let attackers = tokio::spawn(send_attackers(pool.clone(), end));
    let mut honest = 0;
    while Instant::now() < end {
        // An attacker may overwrite the result of the call before it, which the parent had not read yet.
        let calls = pool.map(double, honest..honest + 50).retries(5);
        let numbers = within(calls).await.unwrap();
        assert!(numbers.into_iter().eq((honest..honest + 50).map(double)));
        honest += 50;
    }
    let sent = within(attackers).await.unwrap();
    assert!(
        sent > 0 && honest > 0,
        "{sent} attackers, {honest} honest calls"
    );
    assert_eq!(within(pool.run(double, 4)).await.unwrap(), 8);
    within(pool.shutdown()).await;
}

/// Runs attackers one after the other; returns how many.
async fn send_attackers(pool: Pool, end: Instant) -> u64 {
    let mut seed = 0;
    while Instant::now() < end {
        seed += 1;
        let error = within(pool.run(scribble_and_die, seed)).await.unwrap_err();
        // What the error says of the attacker is the attacker's word.
        let not_its_word = [ErrorKind::Cancelled, ErrorKind::Spawn, ErrorKind::Closed];
        let kind = error.kind();
        assert!(!not_its_word.contains(&kind), "seed {seed}: {error}");
    }
    seed
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_that_scribbles_fails_alone() {
    let end = Instant::now() + soak_time();
    let mut seed = 0;
    while Instant::now() < end {
        seed += 1;
        let attacker = procession::spawn(scribble_and_die, seed);
        let friend = procession::spawn(double, seed);
        assert_eq!(within(friend).await.unwrap(), 2 * seed);
        assert!(within(attacker).await.is_err(), "seed {seed}");
    }
}
