//! Calls of several tasks, or with several outcomes.

use std::sync::Mutex;
use std::time::Duration;

use futures::StreamExt as _;
use procession::{Map, TaskSet};
use serde_bytes::ByteBuf;

use crate::Random;
use crate::call::{Call, Ends, Outcome};
use crate::causes::Cause;
use crate::client::Client;
use crate::deadline::LIMIT;
use crate::ledger::EVERY_WORKER;
use crate::operations::{Operation, Work, announce, emit, look_up, work};

type Mapped<'a> = Map<'a, (u64, ByteBuf)>;

/// Maps.
impl Client {
    /// Random items, and the options that they all have.
    fn items(&self, random: &mut Random, count: u64) -> Vec<Call> {
        let settings = &self.ledger.settings;
        let common = self.call(random, Ends::ByItself).without_options(settings);
        let is_deadly = random.one_in(4);
        let mut item = |number| match is_deadly {
            true => {
                Call::random(number, random, settings, Ends::ByItself).without_options(settings)
            }
            false => Call::returning(number, settings),
        };
        let numbers = std::iter::once(common.number);
        let numbers = numbers.chain((1..count).map(|_| self.ledger.number()));
        numbers.map(&mut item).collect()
    }

    fn works(&self, calls: &[Call]) -> Vec<Work> {
        calls.iter().map(|it| it.work(&self.notes)).collect()
    }

    fn configure<'a>(&self, random: &mut Random, mut map: Mapped<'a>) -> Mapped<'a> {
        if random.one_in(2) {
            map = map.chunk_size(1 + random.below(20) as usize);
        }
        if random.one_in(3) {
            map = map.concurrency(1 + random.below(8) as usize);
        }
        if random.one_in(4) {
            map = map.backoff(Duration::from_micros(random.below(3_000)), 2.0);
        }
        map
    }

    pub(crate) async fn map(&self, random: &mut Random) {
        let count = 1 + random.below(100);
        let calls = self.items(random, count);
        let works = self.works(&calls);
        let map = match random.one_in(3) {
            true => self.pool.map_stream(work, futures::stream::iter(works)),
            false => self.pool.map(work, works),
        };
        let mut map = self.configure(random, map);
        for call in &calls {
            let outcome = map.next().await.unwrap();
            self.ended(call, outcome);
        }
        assert!(map.next().await.is_none());
    }

    pub(crate) async fn collected_map(&self, random: &mut Random) {
        let calls = self.items(random, 40);
        let map = self.pool.map(work, self.works(&calls));
        let outcomes = self.configure(random, map).collect_all().await;
        assert_eq!(outcomes.len(), calls.len());
        for (call, outcome) in calls.iter().zip(outcomes) {
            self.ended(call, outcome);
        }
    }

    /// The items of an endless input, which notes what was read of it.
    fn endless<'a>(
        &'a self,
        read: &'a Mutex<Vec<Call>>,
        may_panic: bool,
    ) -> impl Iterator<Item = Work> + Send + 'a {
        std::iter::repeat_with(move || {
            let call = Call::returning(self.ledger.number(), &self.ledger.settings);
            let mut call = call.or(Cause::Cancelled);
            if may_panic && call.number % 7 == 0 {
                call.operation = Operation::Panic;
            }
            let work = call.work(&self.notes);
            read.lock().unwrap().push(call);
            work
        })
    }

    pub(crate) async fn dropped_map(&self, random: &mut Random) {
        let read = Mutex::new(Vec::new());
        let map = self.pool.map(work, self.endless(&read, true)).unordered();
        let mut map = self.configure(random, map);
        let mut ended = 0;
        for _ in 0..random.below(60) {
            // Out of order: only a value says whose it is.
            if let Ok((number, _)) = map.next().await.unwrap() {
                let call = read
                    .lock()
                    .unwrap()
                    .iter()
                    .position(|it| it.number == number);
                let call = read.lock().unwrap().swap_remove(call.unwrap());
                self.ledger.ended(&call, &Ok(number));
                ended += 1;
            }
        }
        drop(map);
        let read = read.into_inner().unwrap();
        assert!(ended <= 60, "{ended}");
        read.iter().for_each(|call| self.ledger.dropped(call));
    }

    /// A map that is awaited ends with its first failure.
    pub(crate) async fn failing_map(&self, random: &mut Random) {
        let read = Mutex::new(Vec::new());
        let count = 1 + random.below(60) as usize;
        let items = self.endless(&read, true).take(count);
        let map = self.configure(random, self.pool.map(work, items));
        let outcome = map.await;
        let read = read.into_inner().unwrap();
        match outcome {
            Ok(values) => {
                assert_eq!(values.len(), count);
                for (call, value) in read.iter().zip(values) {
                    self.ended(call, Ok(value));
                }
            }
            Err(error) => {
                assert!(!error.is_cancelled(), "{error:?}");
                read.iter().for_each(|call| self.ledger.dropped(call));
            }
        }
    }
}

/// All others.
impl Client {
    pub(crate) async fn set(&self, random: &mut Random) {
        let mut set = TaskSet::new(&self.pool);
        let count = 1 + random.below(6);
        let mut calls: Vec<_> = (0..count)
            .map(|_| self.call(random, Ends::ByItself).or(Cause::Cancelled))
            .collect();
        for call in &calls {
            set.spawn_run(call.run(&self.pool, &self.notes));
        }
        for _ in 0..random.below(count + 1) {
            if let Ok(value) = set.join_next().await.unwrap() {
                let place = calls.iter().position(|it| it.number == value.0).unwrap();
                self.ended(&calls.swap_remove(place), Ok(value));
            }
        }
        match random.below(3) {
            0 => drop(set),
            1 => set.shutdown().await,
            _ => {
                set.abort_all();
                while set.join_next().await.is_some() {}
            }
        }
        calls.iter().for_each(|call| self.ledger.dropped(call));
    }

    pub(crate) async fn stream(&self, random: &mut Random) {
        let call = self.call(random, Ends::ByItself);
        let mut call = call.without_options(&self.ledger.settings).pinned();
        let (items, buffer) = (random.below(200), 1 + random.below(80));
        let args = (self.notes.clone(), call.number, call.operation, items);
        let mut stream = self.pool.stream(emit, args).buffer(buffer as usize);
        let wanted = match random.one_in(3) {
            true => random.below(items + 1),
            false => u64::MAX,
        };
        let mut next = 0;
        while next < wanted {
            match stream.next().await {
                Some(Ok(item)) => {
                    assert_eq!(item, next);
                    next += 1;
                }
                Some(Err(error)) => {
                    let cause = self.ledger.ended(&call, &Err::<(), _>(error));
                    assert!(stream.next().await.is_none());
                    assert!(
                        next == items || !cause.proves_a_run(),
                        "{next} of {items} items"
                    );
                    return;
                }
                None => {
                    assert_eq!(next, items);
                    self.ledger.ended(&call, &Ok(()));
                    return;
                }
            }
        }
        // A stream that was never polled has no task.
        match wanted {
            0 => {}
            _ => {
                call = call.or(Cause::Cancelled);
                self.ledger.dropped(&call);
            }
        }
    }

    pub(crate) async fn lease(&self, random: &mut Random) {
        let failed_broadcasts = self.ledger.failed_broadcasts();
        let lease = match self.pool.worker().await {
            Ok(lease) => lease,
            Err(error) => return self.not_reserved(&error),
        };
        let mut may_be_over = self.ledger.settings.kills;
        for _ in 0..1 + random.below(4) {
            let ends = [Ends::ByItself, Ends::ByTheTest][random.below(2) as usize];
            let mut call = self.call(random, ends).pinned();
            if may_be_over {
                call = call.or(Cause::Closed);
            }
            let run = lease.run(work, call.work(&self.notes));
            let run = call.configure(run);
            let limit = match ends {
                Ends::ByItself => LIMIT,
                Ends::ByTheTest => random.micros(8_000),
            };
            may_be_over |= match tokio::time::timeout(limit, run).await {
                Ok(outcome) => {
                    let ended_otherwise = self.ledger.broadcast_may_end_workers(failed_broadcasts);
                    let call = match ended_otherwise {
                        true => call.or(Cause::Closed),
                        false => call,
                    };
                    self.ended_in_lease(&call, outcome)
                }
                Err(_) => {
                    self.ledger.dropped(&call.or(Cause::Cancelled));
                    true
                }
            };
        }
    }

    /// A call of a lease has ended. True if the lease may be over.
    fn ended_in_lease(&self, call: &Call, outcome: Outcome) -> bool {
        let cause = self.ended(call, outcome);
        if cause == Cause::Closed {
            // It waited for its worker and was counted, or was not taken.
            self.ledger.may_have_counted(1);
        }
        !matches!(cause, Cause::Done | Cause::Panicked | Cause::Overdue)
    }

    pub(crate) async fn broadcast(&self, random: &mut Random) {
        let call = Call::returning(self.ledger.number(), &self.ledger.settings);
        let call = call.or(Cause::Cancelled).pinned();
        self.ledger.broadcast_begins();
        let broadcast = self
            .pool
            .broadcast(announce, (self.notes.clone(), call.number));
        let outcome = match random.one_in(4) {
            true => tokio::time::timeout(random.micros(4_000), broadcast)
                .await
                .ok(),
            false => Some(broadcast.await),
        };
        self.ledger.broadcast_ended(matches!(outcome, Some(Ok(_))));
        // Each worker's part is a call. How many there are is known only if all have returned.
        match outcome {
            Some(Ok(values)) => {
                assert!(values.iter().all(|(number, _)| *number == call.number));
                self.ledger.broadcast(&call, values.len());
            }
            _ => self.ledger.may_have_counted(EVERY_WORKER as u64),
        }
    }

    pub(crate) async fn cached(&self, random: &mut Random) {
        let last = [10, 100_000][random.below(2) as usize];
        let values: Vec<u64> = (0..=last).collect();
        let cached = self.pool.cache(&values).unwrap();
        for _ in 0..1 + random.below(4) {
            let call = self.call(random, Ends::ByItself);
            let args = (
                cached.clone(),
                self.notes.clone(),
                call.number,
                call.operation,
            );
            let run = call.configure(self.pool.run(look_up, args));
            let outcome = run.await;
            if let Ok(number) = outcome {
                assert_eq!(number, call.number);
            }
            self.ledger.ended(&call, &outcome);
        }
    }
}
