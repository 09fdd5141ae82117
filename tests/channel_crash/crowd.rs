//! Processes at one queue, of which some are killed.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use procession::{ProcessHandle, Receiver, Sender, queue, spawn};

use crate::deadline::within;
use crate::log::Log;
use crate::message::{Kind, Message};
use crate::notes::Board;
use crate::random::Random;
use crate::tasks::{consume, consume_async, produce, produce_async};

/// Which processes are killed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Victims {
    pub(crate) producers: bool,
    pub(crate) consumers: bool,
}

/// Everybody at one queue.
pub(crate) struct Crowd {
    pub(crate) kind: Kind,
    pub(crate) board: Board,
    pub(crate) tx: Option<Sender<Message>>,
    pub(crate) rx: Option<Receiver<Message>>,
    pub(crate) producers: Vec<ProcessHandle<()>>,
    pub(crate) consumers: Vec<ProcessHandle<()>>,
    pub(crate) senders: u64,
    pub(crate) logs: Vec<PathBuf>,
    pub(crate) killed_consumers: usize,
}

impl Crowd {
    pub(crate) fn new(capacity: usize, kind: Kind, producers: usize, consumers: usize) -> Self {
        let (tx, rx) = queue(capacity).unwrap();
        let mut crowd = Self {
            kind,
            board: Board::new(),
            tx: Some(tx),
            rx: Some(rx),
            producers: Vec::new(),
            consumers: Vec::new(),
            senders: 0,
            logs: Vec::new(),
            killed_consumers: 0,
        };
        (0..producers).for_each(|_| crowd.add_producer());
        (0..consumers).for_each(|_| crowd.add_consumer());
        crowd
    }

    pub(crate) fn add_producer(&mut self) {
        let arguments = (self.senders, self.kind, self.tx.clone().unwrap());
        self.producers.push(match self.senders % 2 {
            0 => spawn(produce, arguments),
            _ => spawn(produce_async, arguments),
        });
        self.senders += 1;
    }

    pub(crate) fn add_consumer(&mut self) {
        let log = self.board.path(&format!("log-{}", self.logs.len()));
        let arguments = (log.clone(), self.rx.clone().unwrap());
        self.consumers.push(match self.logs.len() % 2 {
            0 => spawn(consume, arguments),
            _ => spawn(consume_async, arguments),
        });
        self.logs.push(log);
    }

    pub(crate) fn received(&self) -> usize {
        self.logs.iter().map(|log| Log::read(log).len()).sum()
    }

    /// Kills one, and puts another in its place.
    pub(crate) async fn kill_one(&mut self, victims: Victims, random: &mut Random) {
        let producer = victims.producers && (!victims.consumers || random.below(2) == 0);
        let group = if producer {
            &mut self.producers
        } else {
            &mut self.consumers
        };
        let victim = group.swap_remove(random.below(group.len() as u64) as usize);
        victim.abort();
        let ended = within(victim).await;
        if producer {
            self.add_producer();
        } else {
            // It was killed, and did not fail before.
            assert!(ended.unwrap_err().panic().is_none());
            self.killed_consumers += 1;
            self.add_consumer();
        }
    }

    /// Ends all producers; what they sent is received, and the consumers come to the end.
    pub(crate) async fn finish(mut self) {
        for producer in &self.producers {
            producer.abort();
        }
        for producer in self.producers.drain(..) {
            let _ = within(producer).await;
        }
        self.tx = None;
        self.rx = None;
        for consumer in std::mem::take(&mut self.consumers) {
            within(consumer).await.unwrap();
        }
        self.check();
    }

    pub(crate) fn check(&self) {
        let mut numbers = HashMap::<u64, HashSet<u64>>::new();
        for log in &self.logs {
            let mut last = HashMap::new();
            for (sender, number) in Log::read(log) {
                let before = last.insert(sender, number);
                assert!(before.is_none_or(|before| before < number), "out of order");
                let new = numbers.entry(sender).or_default().insert(number);
                assert!(new, "message {number} of {sender} came twice");
            }
        }
        let missing: Vec<_> = numbers
            .iter()
            .flat_map(|(sender, numbers)| {
                let most = *numbers.iter().max().unwrap();
                let gaps = (0..most).filter(|number| !numbers.contains(number));
                gaps.map(|number| (*sender, number))
            })
            .collect();
        let killed = self.killed_consumers;
        assert!(missing.len() <= killed, "{missing:?} lost, {killed} killed");
    }
}
