//! Everything that can be done with a pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use procession::{ErrorKind, Pool};
use serde_bytes::ByteBuf;

use crate::accounts::Accounts;
use crate::notes::Desk;
use crate::{Dice, spin};

pub(crate) fn note(desk: Desk, number: u64) -> u64 {
    desk.write("ran", number);
    number
}

fn note_and_spin(desk: Desk, number: u64, micros: u64) -> u64 {
    desk.write("ran", number);
    spin(Duration::from_micros(micros));
    number
}

async fn note_and_sleep(desk: Desk, number: u64, micros: u64) -> u64 {
    desk.write("ran", number);
    tokio::time::sleep(Duration::from_micros(micros)).await;
    number
}

pub(crate) fn large(desk: Desk, number: u64, bytes: ByteBuf) -> (u64, ByteBuf) {
    desk.write("ran", number);
    (number, bytes)
}

fn fails(desk: Desk, number: u64) -> u64 {
    desk.write("ran", number);
    std::panic::panic_any(number);
}

/// Everything that can be done with a pool, until it is told to stop.
pub(crate) struct Load {
    pub(crate) pool: Pool,
    pub(crate) desk: Desk,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Load {
    pub(crate) async fn go_on(self, seed: u64) {
        let mut dice = Dice::new(seed);
        while !self.stop.load(Ordering::Relaxed) {
            match dice.below(16) {
                0..=5 => self.runs().await,
                6 => self.timed(&mut dice).await,
                7 => self.dropped(&mut dice).await,
                8 => self.aborted(&mut dice).await,
                9 => self.large(&mut dice).await,
                10 => self.panics().await,
                11 => self.sleeps(&mut dice).await,
                12 => self.retried(&mut dice).await,
                13 => self.dropped_map(&mut dice).await,
                _ => self.maps(&mut dice).await,
            }
        }
    }

    pub(crate) async fn runs(&self) {
        let runs = (0..8).map(|_| async {
            let number = self.accounts.number();
            let outcome = self.pool.run(note, (self.desk.clone(), number)).await;
            self.accounts.settle(number, outcome, &[]);
        });
        join_all(runs).await;
    }

    pub(crate) async fn timed(&self, dice: &mut Dice) {
        let number = self.accounts.number();
        let task = (self.desk.clone(), number, dice.below(3_000));
        let run = self.pool.run(note_and_spin, task);
        let outcome = run.timeout(Duration::from_millis(2)).await;
        self.accounts
            .settle(number, outcome, &[ErrorKind::TimedOut]);
    }

    pub(crate) async fn dropped(&self, dice: &mut Dice) {
        let number = self.accounts.number();
        let task = (self.desk.clone(), number, dice.below(1_000));
        let run = self.pool.run(note_and_spin, task);
        if let Ok(outcome) = tokio::time::timeout(dice.micros(2_000), run).await {
            self.accounts.settle(number, outcome, &[]);
        }
    }

    pub(crate) async fn aborted(&self, dice: &mut Dice) {
        let number = self.accounts.number();
        let task = (self.desk.clone(), number, dice.below(1_000));
        let handle = self.pool.spawn(note_and_spin, task);
        tokio::time::sleep(dice.micros(2_000)).await;
        handle.abort();
        let outcome = handle.await;
        self.accounts
            .settle(number, outcome, &[ErrorKind::Cancelled]);
    }

    pub(crate) async fn large(&self, dice: &mut Dice) {
        let number = self.accounts.number();
        let bytes = ByteBuf::from(vec![number as u8; dice.below(600_000) as usize]);
        let task = (self.desk.clone(), number, bytes.clone());
        let outcome = self.pool.run(large, task).await.map(|(number, back)| {
            assert!(back == bytes);
            number
        });
        self.accounts.settle(number, outcome, &[]);
    }

    pub(crate) async fn panics(&self) {
        let number = self.accounts.number();
        let outcome = self.pool.run(fails, (self.desk.clone(), number)).await;
        assert!(outcome.is_err());
        self.accounts
            .settle(number, outcome, &[ErrorKind::Panicked]);
    }

    pub(crate) async fn sleeps(&self, dice: &mut Dice) {
        let number = self.accounts.number();
        let task = (self.desk.clone(), number, dice.below(3_000));
        let outcome = self.pool.run(note_and_sleep, task).await;
        self.accounts.settle(number, outcome, &[]);
    }

    pub(crate) async fn retried(&self, dice: &mut Dice) {
        // It may run more than once, and says nothing.
        let micros = dice.below(500);
        let task = |micros: u64| spin(Duration::from_micros(micros));
        let outcome = self.pool.run(task, micros).retries(2).await;
        if let Err(error) = outcome {
            assert!(error.is_crashed(), "{error:?}");
        }
        self.accounts.number();
    }

    pub(crate) async fn maps(&self, dice: &mut Dice) {
        let count = 1 + dice.below(400);
        let numbers: Vec<_> = (0..count).map(|_| self.accounts.number()).collect();
        let items = numbers.iter().map(|&number| (self.desk.clone(), number));
        let mut map = self.pool.map(note, items);
        if dice.below(2) == 0 {
            map = map.chunk_size(1 + dice.below(50) as usize);
        }
        for &number in &numbers {
            let outcome = map.next().await.unwrap();
            self.accounts.settle(number, outcome, &[]);
        }
        assert!(map.next().await.is_none());
    }

    pub(crate) async fn dropped_map(&self, dice: &mut Dice) {
        let accounts = &self.accounts;
        let items = std::iter::repeat_with(|| (self.desk.clone(), accounts.number()));
        let mut map = self.pool.map(note, items).unordered();
        for _ in 0..dice.below(100) {
            match map.next().await.unwrap() {
                Ok(number) => accounts.settle(number, Ok(number), &[]),
                Err(error) => assert!(error.is_crashed(), "{error:?}"),
            }
        }
    }
}
