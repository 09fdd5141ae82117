//! Corrupted processes with ends of queues and pipes, while honest channels and calls run beside them.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use procession::{
    Descriptor, PipeReceiver, PipeSender, Pool, Receiver, RecvError, Sender, channel, queue, spawn,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::deadline::within;
use crate::descriptors::{close_some, flood, ring_doorbells};
use crate::leftovers::alone;
use crate::memory::{Random, be_quiet, resident_bytes, scribble};
use crate::{double, soak_time, working_pool};

/// A message with everything that a receiver has to check.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Letter {
    number: u64,
    text: String,
    bytes: ByteBuf,
    reply: Option<Sender<u64>>,
    file: Option<Descriptor<File>>,
}

/// Ends of one queue and of two pipes.
#[derive(Debug, Serialize, Deserialize)]
struct Ends {
    tx: Sender<Letter>,
    rx: Receiver<Letter>,
    up: PipeSender<Letter>,
    down: PipeReceiver<Letter>,
}

fn letter(random: &mut Random) -> Letter {
    let long = [0, 10, 10_000, 100_000][random.below(4) as usize];
    let reply = match random.below(8) {
        0 => queue(2).ok().map(|(tx, _)| tx),
        _ => None,
    };
    let file = match random.below(8) {
        0 => File::open("/dev/null").ok().map(Descriptor),
        _ => None,
    };
    Letter {
        number: random.next(),
        text: "x".repeat(random.below(1000) as usize),
        bytes: ByteBuf::from(vec![7; long]),
        reply,
        file,
    }
}

/// Uses its ends for a while, so that all of their memory is mapped and something waits everywhere.
fn use_ends(ends: &Ends, random: &mut Random) {
    for _ in 0..20 {
        let _ = ends.tx.try_send(letter(random));
        let _ = ends.up.try_send(letter(random));
        let _ = (ends.rx.try_recv(), ends.down.try_recv());
    }
}

/// Overwrites the memory that it shares with others, and uses all descriptors at random.
fn attack(seed: u64, ends: Ends) {
    be_quiet();
    let mut random = Random::new(seed);
    use_ends(&ends, &mut random);
    for _ in 0..1 + random.below(4) {
        match random.below(6) {
            0 | 1 => {
                let count = 1 + random.below(300);
                scribble("memfd:procession-channel", count, &mut random);
            }
            2 => scribble("memfd:procession", 1 + random.below(300), &mut random),
            3 => flood(1 + random.below(300), &mut random),
            4 => ring_doorbells(),
            _ => close_some(1 + random.below(4), &mut random),
        }
        use_ends(&ends, &mut random);
    }
    match random.below(4) {
        0 => std::process::abort(),
        1 => std::process::exit(3),
        2 => {
            let own = rustix::process::getpid();
            let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
        }
        _ => {}
    }
}

/// An honest process with ends of the queue that an attacker has, too. It ends when the queue does.
fn stand_by(tx: Sender<Letter>, rx: Receiver<Letter>) {
    while tx.blocking_send(Letter::default()).is_ok() {
        if let Err(RecvError::Closed) = rx.blocking_recv() {
            return;
        }
    }
}

async fn receive_all(rx: Receiver<Letter>) {
    while !matches!(rx.recv().await, Err(RecvError::Closed)) {
        tokio::task::yield_now().await;
    }
}

async fn receive_all_of_pipe(rx: Arc<PipeReceiver<Letter>>) {
    while !matches!(rx.recv().await, Err(RecvError::Closed)) {
        tokio::task::yield_now().await;
    }
}

async fn send_numbers(tx: Sender<Letter>) {
    let mut pause = tokio::time::interval(Duration::from_millis(1));
    while tx.send(Letter::default()).await.is_ok() {
        pause.tick().await;
    }
}

async fn send_numbers_to_pipe(tx: Arc<PipeSender<Letter>>) {
    let mut pause = tokio::time::interval(Duration::from_millis(1));
    while tx.send(Letter::default()).await.is_ok() {
        pause.tick().await;
    }
}

/// Gives an attacker ends of new channels, uses all other ends until it has ended, and closes them. Everything ends.
async fn meet_attacker(seed: u64) {
    let (tx, rx) = queue::<Letter>(16).unwrap();
    let (up, from_attacker) = channel::<Letter>().unwrap();
    let (to_attacker, down) = channel::<Letter>().unwrap();
    let bystander = spawn(stand_by, (tx.clone(), rx.clone()));
    let ends = Ends {
        tx: tx.clone(),
        rx: rx.clone(),
        up,
        down,
    };
    let attacker = spawn(attack, (seed, ends));
    let (to_attacker, from_attacker) = (Arc::new(to_attacker), Arc::new(from_attacker));
    let (blocking_rx, blocking_tx, joined) = (rx.clone(), tx.clone(), tx.clone());
    let users = [
        tokio::spawn(send_numbers(tx.clone())),
        tokio::spawn(receive_all(rx.clone())),
        tokio::spawn(send_numbers_to_pipe(Arc::clone(&to_attacker))),
        tokio::spawn(receive_all_of_pipe(Arc::clone(&from_attacker))),
        tokio::spawn(async move {
            let _ = joined.join().await;
        }),
        tokio::task::spawn_blocking(move || {
            while !matches!(blocking_rx.blocking_recv(), Err(RecvError::Closed)) {}
        }),
        tokio::task::spawn_blocking(move || {
            while blocking_tx.blocking_send(Letter::default()).is_ok() {
                thread::yield_now();
            }
        }),
    ];
    // How it ends is its word.
    let _ = within(attacker).await;
    let _ = (tx.len(), rx.len(), rx.task_done(), tx.is_full());
    // An attacker may have sent its ends of the pipes to others: they wait in a socket of the queue.
    tx.close();
    to_attacker.close();
    from_attacker.close();
    for (number, user) in users.into_iter().enumerate() {
        let ended = tokio::time::timeout(crate::deadline::LIMIT, user).await;
        assert!(ended.is_ok(), "seed {seed}: user {number} does not end");
        ended.unwrap().unwrap();
    }
    let bystander = tokio::time::timeout(crate::deadline::LIMIT, bystander).await;
    assert!(bystander.is_ok(), "seed {seed}: the bystander does not end");
}

/// Sends every number back.
fn echo(from: Receiver<u64>, to: PipeSender<u64>) {
    while let Ok(number) = from.blocking_recv() {
        to.blocking_send(number).unwrap();
    }
}

/// The longest time of a round of an honest user.
#[derive(Debug, Default)]
struct Longest(AtomicU64);

impl Longest {
    fn note(&self, since: Instant) {
        let taken = since.elapsed().as_millis() as u64;
        self.0.fetch_max(taken, Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Sends numbers through a queue to another process and back through a pipe, until `is_over`.
async fn use_honest_channels(is_over: Arc<AtomicBool>, longest: Arc<Longest>) -> u64 {
    let (to, from) = queue::<u64>(8).unwrap();
    let (back, answers) = channel::<u64>().unwrap();
    let other = spawn(echo, (from, back));
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        let began = Instant::now();
        within(to.send(number)).await.unwrap();
        assert_eq!(within(answers.recv()).await, Ok(number));
        longest.note(began);
        number += 1;
    }
    drop(to);
    within(other).await.unwrap();
    assert_eq!(within(answers.recv()).await, Err(RecvError::Closed));
    number
}

async fn use_honest_pool(pool: Pool, is_over: Arc<AtomicBool>, longest: Arc<Longest>) -> u64 {
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        let began = Instant::now();
        assert_eq!(within(pool.run(double, number)).await.unwrap(), 2 * number);
        longest.note(began);
        number += 1;
    }
    number
}

/// How late a thread of this process is that does nothing with the crate: what the machine itself causes.
fn watch_the_machine(is_over: &AtomicBool, longest: &Longest) {
    while !is_over.load(Ordering::Relaxed) {
        let began = Instant::now();
        thread::sleep(Duration::from_millis(1));
        longest.note(began);
    }
}

async fn attackers_with_channels() {
    let is_over = Arc::new(AtomicBool::new(false));
    let [honest, machine] = [Arc::new(Longest::default()), Arc::default()];
    let pool = working_pool(1).await;
    let users = [
        tokio::spawn(use_honest_channels(
            Arc::clone(&is_over),
            Arc::clone(&honest),
        )),
        tokio::spawn(use_honest_pool(
            pool.clone(),
            Arc::clone(&is_over),
            Arc::clone(&honest),
        )),
    ];
    let (over, longest) = (Arc::clone(&is_over), Arc::clone(&machine));
    let watch = thread::spawn(move || watch_the_machine(&over, &longest));

    let end = Instant::now() + soak_time();
    let mut seed = 0;
    let mut before = None;
    while Instant::now() < end {
        futures::future::join(meet_attacker(seed), meet_attacker(seed + 1)).await;
        seed += 2;
        // Memory that is kept for the next messages is there after a few rounds.
        if seed == 10 {
            before = Some(resident_bytes());
        }
    }
    is_over.store(true, Ordering::Relaxed);
    for user in users {
        assert!(within(user).await.unwrap() > 0);
    }
    watch.join().unwrap();
    let (late, control) = (honest.get(), machine.get());
    eprintln!(
        "{seed} attackers; the longest honest round took {late:?}, the machine was late by {control:?}"
    );
    assert!(
        late < Duration::from_secs(1) + 4 * control,
        "{late:?}, the machine: {control:?}"
    );
    if let Some(before) = before {
        let now = resident_bytes();
        assert!(
            now < before + (64 << 20),
            "{before} bytes before, {now} now"
        );
    }
    within(pool.shutdown()).await;
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_of_corrupted_processes_end_and_honest_ones_notice_nothing() {
    let name = "channels::channels_of_corrupted_processes_end_and_honest_ones_notice_nothing";
    alone(name, attackers_with_channels()).await;
}
