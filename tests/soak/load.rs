//! Calls of every kind, with random parameters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use procession::{ErrorKind, Pool};
use serde_bytes::ByteBuf;

use crate::accounts::Accounts;
use crate::notes::Notes;
use crate::{Random, spin};

pub(crate) fn note(notes: Notes, number: u64) -> u64 {
    notes.write("ran", number);
    number
}

fn note_and_spin(notes: Notes, number: u64, micros: u64) -> u64 {
    notes.write("ran", number);
    spin(Duration::from_micros(micros));
    number
}

async fn note_and_sleep(notes: Notes, number: u64, micros: u64) -> u64 {
    notes.write("ran", number);
    tokio::time::sleep(Duration::from_micros(micros)).await;
    number
}

pub(crate) fn large(notes: Notes, number: u64, bytes: ByteBuf) -> (u64, ByteBuf) {
    notes.write("ran", number);
    (number, bytes)
}

fn fails(notes: Notes, number: u64) -> u64 {
    notes.write("ran", number);
    std::panic::panic_any(number);
}

/// Makes calls of every kind to a pool until `stop` is set.
pub(crate) struct Load {
    pub(crate) pool: Pool,
    pub(crate) notes: Notes,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Load {
    pub(crate) async fn run(self, seed: u64) {
        let mut random = Random::new(seed);
        while !self.stop.load(Ordering::Relaxed) {
            match random.below(16) {
                0..=5 => self.runs().await,
                6 => self.timed(&mut random).await,
                7 => self.dropped(&mut random).await,
                8 => self.aborted(&mut random).await,
                9 => self.large(&mut random).await,
                10 => self.panics().await,
                11 => self.sleeps(&mut random).await,
                12 => self.retried(&mut random).await,
                13 => self.dropped_map(&mut random).await,
                _ => self.maps(&mut random).await,
            }
        }
    }

    pub(crate) async fn runs(&self) {
        let runs = (0..8).map(|_| async {
            let number = self.accounts.number();
            let outcome = self.pool.run(note, (self.notes.clone(), number)).await;
            self.accounts.record(number, outcome, &[]);
        });
        join_all(runs).await;
    }

    pub(crate) async fn timed(&self, random: &mut Random) {
        let number = self.accounts.number();
        let task = (self.notes.clone(), number, random.below(3_000));
        let run = self.pool.run(note_and_spin, task);
        let outcome = run.timeout(Duration::from_millis(2)).await;
        self.accounts
            .record(number, outcome, &[ErrorKind::TimedOut]);
    }

    pub(crate) async fn dropped(&self, random: &mut Random) {
        let number = self.accounts.number();
        let task = (self.notes.clone(), number, random.below(1_000));
        let run = self.pool.run(note_and_spin, task);
        if let Ok(outcome) = tokio::time::timeout(random.micros(2_000), run).await {
            self.accounts.record(number, outcome, &[]);
        }
    }

    pub(crate) async fn aborted(&self, random: &mut Random) {
        let number = self.accounts.number();
        let task = (self.notes.clone(), number, random.below(1_000));
        let handle = self.pool.spawn(note_and_spin, task);
        tokio::time::sleep(random.micros(2_000)).await;
        handle.abort();
        let outcome = handle.await;
        self.accounts
            .record(number, outcome, &[ErrorKind::Cancelled]);
    }

    pub(crate) async fn large(&self, random: &mut Random) {
        let number = self.accounts.number();
        let bytes = ByteBuf::from(vec![number as u8; random.below(600_000) as usize]);
        let task = (self.notes.clone(), number, bytes.clone());
        let outcome = self.pool.run(large, task).await.map(|(number, back)| {
            assert!(back == bytes);
            number
        });
        self.accounts.record(number, outcome, &[]);
    }

    pub(crate) async fn panics(&self) {
        let number = self.accounts.number();
        let outcome = self.pool.run(fails, (self.notes.clone(), number)).await;
        assert!(outcome.is_err());
        self.accounts
            .record(number, outcome, &[ErrorKind::Panicked]);
    }

    pub(crate) async fn sleeps(&self, random: &mut Random) {
        let number = self.accounts.number();
        let task = (self.notes.clone(), number, random.below(3_000));
        let outcome = self.pool.run(note_and_sleep, task).await;
        self.accounts.record(number, outcome, &[]);
    }

    pub(crate) async fn retried(&self, random: &mut Random) {
        // The task may run more than once, so it writes no note.
        let micros = random.below(500);
        let task = |micros: u64| spin(Duration::from_micros(micros));
        let outcome = self.pool.run(task, micros).retries(2).await;
        if let Err(error) = outcome {
            assert!(error.is_crashed(), "{error:?}");
        }
        self.accounts.number();
    }

    pub(crate) async fn maps(&self, random: &mut Random) {
        let count = 1 + random.below(400);
        let numbers: Vec<_> = (0..count).map(|_| self.accounts.number()).collect();
        let items = numbers.iter().map(|&number| (self.notes.clone(), number));
        let mut map = self.pool.map(note, items);
        if random.below(2) == 0 {
            map = map.chunk_size(1 + random.below(50) as usize);
        }
        for &number in &numbers {
            let outcome = map.next().await.unwrap();
            self.accounts.record(number, outcome, &[]);
        }
        assert!(map.next().await.is_none());
    }

    pub(crate) async fn dropped_map(&self, random: &mut Random) {
        let accounts = &self.accounts;
        let items = std::iter::repeat_with(|| (self.notes.clone(), accounts.number()));
        let mut map = self.pool.map(note, items).unordered();
        for _ in 0..random.below(100) {
            match map.next().await.unwrap() {
                Ok(number) => accounts.record(number, Ok(number), &[]),
                Err(error) => assert!(error.is_crashed(), "{error:?}"),
            }
        }
    }
}
