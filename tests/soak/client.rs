//! Calls of one task, one kind after the other at random.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use procession::{JoinError, Pool};

use crate::Random;
use crate::call::{Call, Ends, Outcome};
use crate::causes::Cause;
use crate::ledger::Ledger;
use crate::notes::Notes;
use crate::operations::{return_undecodable, work};

/// Makes calls of every kind to a pool until `stop` is set.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) pool: Pool,
    pub(crate) notes: Notes,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Client {
    pub(crate) async fn make_calls(self, seed: u64) {
        let random = &mut Random::new(seed);
        while !self.stop.load(Ordering::Relaxed) {
            match random.below(24) {
                0..=3 => self.runs(random).await,
                4 | 5 => self.spawned(random).await,
                6 | 7 => self.dropped(random).await,
                8 => self.aborted(random).await,
                9 => self.detached(random),
                10 => self.tried(random).await,
                11 => self.reserved(random).await,
                12 => self.undecodable().await,
                13 => self.set(random).await,
                14 | 15 => self.map(random).await,
                16 => self.dropped_map(random).await,
                17 => self.failing_map(random).await,
                18 => self.collected_map(random).await,
                19 | 20 => self.stream(random).await,
                21 => self.lease(random).await,
                // It waits for all workers.
                22 if !self.ledger.settings.is_victim => self.broadcast(random).await,
                _ => self.cached(random).await,
            }
        }
    }

    pub(crate) fn call(&self, random: &mut Random, ends: Ends) -> Call {
        Call::random(self.ledger.number(), random, &self.ledger.settings, ends)
    }

    pub(crate) fn ended(&self, call: &Call, outcome: Outcome) -> Cause {
        call.ended(&self.ledger, outcome)
    }

    async fn runs(&self, random: &mut Random) {
        let count = 1 + random.below(8);
        let calls: Vec<_> = (0..count)
            .map(|_| self.call(random, Ends::ByItself))
            .collect();
        let runs = calls.iter().map(|it| it.run(&self.pool, &self.notes));
        let outcomes = join_all(runs).await;
        for (call, outcome) in calls.iter().zip(outcomes) {
            self.ended(call, outcome);
        }
    }

    async fn spawned(&self, random: &mut Random) {
        let call = self.call(random, Ends::ByItself);
        let handle = call.run(&self.pool, &self.notes).spawn();
        self.ended(&call, handle.await);
    }

    /// Dropped while it waits for room, for a worker, or runs.
    async fn dropped(&self, random: &mut Random) {
        let call = self.call(random, Ends::ByTheTest).or(Cause::Cancelled);
        let run = call.run(&self.pool, &self.notes);
        match tokio::time::timeout(random.micros(8_000), run).await {
            Ok(outcome) => _ = self.ended(&call, outcome),
            Err(_) => self.ledger.dropped(&call),
        }
    }

    async fn aborted(&self, random: &mut Random) {
        let call = self.call(random, Ends::ByTheTest).or(Cause::Cancelled);
        let handle = call.run(&self.pool, &self.notes).spawn();
        tokio::time::sleep(random.micros(8_000)).await;
        handle.abort();
        self.ended(&call, handle.await);
    }

    fn detached(&self, random: &mut Random) {
        let call = self.call(random, Ends::ByItself);
        drop(call.run(&self.pool, &self.notes).spawn());
        self.ledger.dropped(&call);
    }

    async fn tried(&self, random: &mut Random) {
        let call = self.call(random, Ends::ByItself);
        let call = call.without_options(&self.ledger.settings);
        match self.pool.try_spawn(work, call.work(&self.notes)) {
            Ok(handle) => _ = self.ended(&call, handle.await),
            Err(full) => assert_eq!(full.into_inner().1, call.number),
        }
    }

    async fn reserved(&self, random: &mut Random) {
        let call = self.call(random, Ends::ByItself);
        let permit = match self.pool.reserve().await {
            Ok(permit) => permit,
            Err(error) => return self.not_reserved(&error),
        };
        tokio::time::sleep(random.micros(2_000)).await;
        match random.below(3) {
            0 => drop(permit),
            1 => {
                let call = call.without_options(&self.ledger.settings);
                let handle = permit.spawn(work, call.work(&self.notes));
                self.ended(&call, handle.await);
            }
            _ => {
                let run = permit.run(work, call.work(&self.notes));
                self.ended(&call, call.configure(run).await);
            }
        }
    }

    /// A wait for a place or for a worker has ended without one. It is no task.
    pub(crate) fn not_reserved(&self, error: &JoinError) {
        let may_be_late = self.ledger.settings.queue_timeout.is_some();
        assert!(error.is_timed_out() && may_be_late, "{error:?}");
        assert!(!error.started(), "{error:?}");
    }

    async fn undecodable(&self) {
        let call = Call::returning(self.ledger.number(), &self.ledger.settings);
        let call = call.undecodable();
        let run = self
            .pool
            .run(return_undecodable, (self.notes.clone(), call.number));
        let outcome = call.configure(run).await;
        self.ledger.ended(&call, &outcome);
    }
}
