//! Processes that send to and receive from one queue, and are killed and replaced.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::path::PathBuf;

use procession::{ProcessHandle, Receiver, Sender, queue, spawn};
use rustix::process::Pid;

use crate::deadline::{until, within};
use crate::log::Log;
use crate::message::{Kind, Message};
use crate::notes::Board;
use crate::random::Random;
use crate::tasks::{consume, consume_async, produce, produce_async};

/// Which processes may be killed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Victims {
    pub(crate) producers: bool,
    pub(crate) consumers: bool,
}

/// Producers and consumers of one queue.
pub(crate) struct Processes {
    kind: Kind,
    pub(crate) board: Board,
    /// Ends of this process, until no process is started any more.
    pub(crate) tx: Option<Sender<Message>>,
    pub(crate) rx: Option<Receiver<Message>>,
    pub(crate) producers: Vec<ProcessHandle<u64>>,
    pub(crate) consumers: Vec<ProcessHandle<()>>,
    /// How many producers were started. They are numbered in this order.
    senders: u64,
    /// The logs of all consumers that were started.
    pub(crate) logs: Vec<PathBuf>,
    killed_consumers: usize,
}

impl Processes {
    pub(crate) fn new(capacity: usize, kind: Kind, producers: usize, consumers: usize) -> Self {
        let (tx, rx) = queue(capacity).unwrap();
        let mut processes = Self {
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
        (0..producers).for_each(|_| processes.add_producer());
        (0..consumers).for_each(|_| processes.add_consumer());
        processes
    }

    fn add_producer(&mut self) {
        let arguments = (self.senders, self.kind, self.tx.clone().unwrap());
        self.producers.push(match self.senders % 2 {
            0 => spawn(produce, arguments),
            _ => spawn(produce_async, arguments),
        });
        self.senders += 1;
    }

    fn add_consumer(&mut self) {
        let log = self.board.path(&format!("log-{}", self.logs.len()));
        let arguments = (log.clone(), self.rx.clone().unwrap());
        self.consumers.push(match self.logs.len() % 2 {
            0 => spawn(consume, arguments),
            _ => spawn(consume_async, arguments),
        });
        self.logs.push(log);
    }

    /// How many messages were received and recorded.
    pub(crate) fn received(&self) -> usize {
        self.logs.iter().map(|log| Log::read(log).len()).sum()
    }

    /// Kills a process and starts another in its place.
    pub(crate) async fn kill_one(&mut self, victims: Victims, random: &mut Random) {
        if victims.producers && (!victims.consumers || random.coin()) {
            kill(&mut self.producers, random).await;
            self.add_producer();
        } else {
            kill(&mut self.consumers, random).await;
            self.killed_consumers += 1;
            self.add_consumer();
        }
    }

    /// Kills all producers. The consumers receive what was sent, and end.
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

    /// Checks that each message was received once and in order. A killed consumer may have taken one along.
    fn check(&self) {
        let mut numbers = HashMap::<u64, HashSet<u64>>::new();
        for log in &self.logs {
            let mut last = HashMap::new();
            for (sender, number) in Log::read(log) {
                let before = last.insert(sender, number);
                assert!(before.is_none_or(|before| before < number), "out of order");
                let new = numbers.entry(sender).or_default().insert(number);
                assert!(new, "message {number} of {sender} was received twice");
            }
        }
        let missing = missing(&numbers);
        let killed = self.killed_consumers;
        assert!(missing.len() <= killed, "{missing:?} lost, {killed} killed");
    }
}

async fn kill<T: Debug>(group: &mut Vec<ProcessHandle<T>>, random: &mut Random) {
    let victim = group.swap_remove(random.below(group.len() as u64) as usize);
    victim.abort();
    let error = within(victim).await.unwrap_err();
    assert!(error.panic().is_none(), "before it was killed: {error}");
}

/// The messages before the last one of each sender which were not received.
fn missing(received: &HashMap<u64, HashSet<u64>>) -> Vec<(u64, u64)> {
    let gaps = received.iter().flat_map(|(sender, numbers)| {
        let most = *numbers.iter().max().unwrap();
        let gaps = (0..most).filter(|number| !numbers.contains(number));
        gaps.map(|number| (*sender, number))
    });
    gaps.collect()
}

/// Waits until a process has started.
pub(crate) async fn started<T>(process: &ProcessHandle<T>) -> Pid {
    until(|| process.pid().is_some()).await;
    Pid::from_raw(process.pid().unwrap() as i32).unwrap()
}
