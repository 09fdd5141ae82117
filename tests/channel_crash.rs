//! Processes are killed and stopped at random moments while they send and receive: nothing torn is received,
//! nothing is lost but what the killed had in their hands, and nobody hangs.
//!
//! `PROCESSION_SOAK_SECONDS` says for how long; by default it is short.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod deadline;
mod leftovers;
mod notes;

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deadline::{until, within};
use futures::{FutureExt as _, StreamExt as _};
use leftovers::alone;
use notes::{Board, Desk};
use procession::{
    Descriptor, Pipe, PipeReceiver, PipeSender, ProcessHandle, Receiver, RecvError, Sender,
    channel, pipe, queue, spawn,
};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// How long each of the soaks goes on.
fn soak() -> Duration {
    let seconds = std::env::var("PROCESSION_SOAK_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(4.0);
    Duration::from_secs_f64(seconds / 4.0)
}

/// Numbers that look random: a linear congruential generator (Knuth's MMIX).
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn seeded() -> Self {
        let now = std::time::SystemTime::now();
        let seed = now
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_nanos() as u64;
        let seed = std::env::var("PROCESSION_SEED").map_or(seed, |text| text.parse().unwrap());
        eprintln!("PROCESSION_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Message {
    sender: u64,
    number: u64,
    /// Says the number too.
    socket: Option<Descriptor<UnixStream>>,
    bytes: ByteBuf,
}

/// What a sender sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    Short,
    Long,
    Sockets,
}

impl Message {
    fn new(sender: u64, number: u64, kind: Kind) -> Self {
        let len = match (kind, number % 5) {
            (Kind::Long, 0..3) => 70_000 + 1_000 * (number % 97),
            (Kind::Long, 3) => 60_000,
            _ => number % 61,
        };
        let socket = (kind == Kind::Sockets && !number.is_multiple_of(3)).then(|| {
            let (here, mut there) = UnixStream::pair().unwrap();
            there.write_all(&number.to_ne_bytes()).unwrap();
            Descriptor(here)
        });
        Self {
            sender,
            number,
            socket,
            bytes: ByteBuf::from(vec![(sender + number) as u8; len as usize]),
        }
    }

    fn check(mut self) -> (u64, u64) {
        let expected = (self.sender + self.number) as u8;
        assert!(self.bytes.iter().all(|byte| *byte == expected), "torn");
        if let Some(socket) = &mut self.socket {
            let mut number = [0; 8];
            socket.read_exact(&mut number).unwrap();
            assert_eq!(u64::from_ne_bytes(number), self.number, "another's socket");
        }
        (self.sender, self.number)
    }
}

fn produce(sender: u64, kind: Kind, tx: Sender<Message>) {
    for number in 0.. {
        if tx
            .blocking_send(Message::new(sender, number, kind))
            .is_err()
        {
            return;
        }
    }
}

async fn produce_async(sender: u64, kind: Kind, tx: Sender<Message>) {
    for number in 0.. {
        if tx.send(Message::new(sender, number, kind)).await.is_err() {
            return;
        }
    }
}

/// Notes what it has received in a file of its own, and whether it came to the end.
fn consume(log: PathBuf, rx: Receiver<Message>) {
    let mut log = Log::create(&log);
    loop {
        match rx.blocking_recv() {
            Ok(message) => log.note(message.check()),
            Err(RecvError::Closed) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn consume_async(log: PathBuf, mut rx: Receiver<Message>) {
    let mut log = Log::create(&log);
    while let Some(message) = rx.next().await {
        log.note(message.unwrap().check());
    }
}

struct Log(File);

impl Log {
    fn create(path: &Path) -> Self {
        Self(
            OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .unwrap(),
        )
    }

    fn note(&mut self, (sender, number): (u64, u64)) {
        let mut record = [0; 16];
        record[..8].copy_from_slice(&sender.to_ne_bytes());
        record[8..].copy_from_slice(&number.to_ne_bytes());
        self.0.write_all(&record).unwrap();
    }

    fn read(path: &Path) -> Vec<(u64, u64)> {
        let bytes = std::fs::read(path).unwrap_or_default();
        let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap());
        let records = bytes.chunks_exact(16);
        records
            .map(|record| (number(&record[..8]), number(&record[8..])))
            .collect()
    }
}

/// Which processes are killed.
#[derive(Debug, Clone, Copy)]
struct Victims {
    producers: bool,
    consumers: bool,
}

/// Everybody at one queue.
struct Crowd {
    kind: Kind,
    board: Board,
    tx: Option<Sender<Message>>,
    rx: Option<Receiver<Message>>,
    producers: Vec<ProcessHandle<()>>,
    consumers: Vec<ProcessHandle<()>>,
    senders: u64,
    logs: Vec<PathBuf>,
    killed_consumers: usize,
}

impl Crowd {
    fn new(capacity: usize, kind: Kind, producers: usize, consumers: usize) -> Self {
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

    fn received(&self) -> usize {
        self.logs.iter().map(|log| Log::read(log).len()).sum()
    }

    /// Kills one, and puts another in its place.
    async fn kill_one(&mut self, victims: Victims, random: &mut Random) {
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
    async fn finish(mut self) {
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

    fn check(&self) {
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

/// Rounds of killing until the time is over.
async fn soak_with(victims: Victims, kinds: &[Kind], with_holder: bool) {
    let mut random = Random::seeded();
    let end = Instant::now() + soak();
    let mut kills = 0;
    while Instant::now() < end {
        let capacity = [1, 3, 64, 4096][random.below(4) as usize];
        let kind = kinds[random.below(kinds.len() as u64) as usize];
        let mut crowd = Crowd::new(capacity, kind, 2, 3);
        let hold = |tx: Sender<Message>, rx: Receiver<Message>, desk: Desk| {
            desk.meet("holds", "never");
            drop((tx, rx));
        };
        let holder = with_holder.then(|| {
            let ends = (crowd.tx.clone().unwrap(), crowd.rx.clone().unwrap());
            spawn(hold, (ends.0, ends.1, crowd.board.desk()))
        });
        if with_holder {
            crowd.board.lines("holds", 1).await;
        }
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_micros(random.below(8_000))).await;
            crowd.kill_one(victims, &mut random).await;
            kills += 1;
        }
        // It goes on.
        let before = crowd.received();
        until(|| crowd.received() > before).await;
        if let Some(holder) = holder {
            holder.abort();
            let _ = within(holder).await;
        }
        crowd.finish().await;
    }
    eprintln!("{kills} kills");
}

#[procession::test]
async fn killed_producers() {
    let victims = Victims {
        producers: true,
        consumers: false,
    };
    soak_with(victims, &[Kind::Short, Kind::Long, Kind::Sockets], false).await;
}

#[procession::test]
async fn killed_consumers() {
    let victims = Victims {
        producers: false,
        consumers: true,
    };
    soak_with(victims, &[Kind::Short, Kind::Long, Kind::Sockets], false).await;
}

#[procession::test]
async fn killed_producers_and_consumers_beside_an_idle_holder() {
    let victims = Victims {
        producers: true,
        consumers: true,
    };
    soak_with(victims, &[Kind::Short, Kind::Long, Kind::Sockets], true).await;
}

/// Nothing is left of a soak's round but what everybody keeps.
#[procession::test]
async fn the_killed_leave_nothing() {
    alone("the_killed_leave_nothing", async {
        let victims = Victims {
            producers: true,
            consumers: true,
        };
        let mut random = Random::seeded();
        for kind in [Kind::Short, Kind::Long, Kind::Sockets] {
            let mut crowd = Crowd::new(16, kind, 2, 2);
            for _ in 0..4 {
                crowd.kill_one(victims, &mut random).await;
            }
            crowd.finish().await;
        }
    })
    .await;
}

/// While this process sends and receives too, with all kinds of waiting, and is never held up.
#[procession::test]
async fn a_stopped_process_holds_nobody_up() {
    let mut random = Random::seeded();
    for capacity in [1, 64] {
        let mut crowd = Crowd::new(capacity, Kind::Short, 1, 1);
        let (tx, rx) = (crowd.tx.clone().unwrap(), crowd.rx.clone().unwrap());
        let logs = crowd.logs.clone();
        until(|| logs.iter().any(|log| !Log::read(log).is_empty())).await;
        let (producer, consumer) = (&crowd.producers[0], &crowd.consumers[0]);
        until(|| producer.pid().is_some() && consumer.pid().is_some()).await;
        let pids: Vec<_> = [&crowd.producers[0], &crowd.consumers[0]]
            .iter()
            .map(|handle| Pid::from_raw(handle.pid().unwrap().cast_signed()).unwrap())
            .collect();
        let watchdog = Watchdog::start(pids.clone());
        let log = crowd.board.path("log-own");
        crowd.logs.push(log.clone());
        let mut log = Log::create(&log);
        let end = Instant::now() + soak() / 2;
        let mut number = 0;
        while Instant::now() < end {
            for pid in &pids {
                if random.below(3) > 0 {
                    kill_process(*pid, Signal::STOP).unwrap();
                }
            }
            for _ in 0..3 {
                let brief = Duration::from_millis(2);
                let message = Message::new(1_000_000, number, Kind::Short);
                if let Ok(sent) = tokio::time::timeout(brief, tx.send(message)).await {
                    sent.unwrap();
                    number += 1;
                }
                if let Ok(received) = tokio::time::timeout(brief, rx.recv()).await {
                    log.note(received.unwrap().check());
                }
                let _ = tx.is_full() || rx.is_closed();
                if let Ok(message) = rx.try_recv() {
                    log.note(message.check());
                }
                watchdog.tick();
            }
            for pid in &pids {
                kill_process(*pid, Signal::CONT).unwrap();
            }
            tokio::task::yield_now().await;
        }
        watchdog.stop();
        drop((tx, rx));
        crowd.finish().await;
    }
}

/// Lets the stopped go on if the test itself stands still, so that it fails instead of hanging.
struct Watchdog {
    ticks: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<bool>,
}

impl Watchdog {
    fn start(pids: Vec<Pid>) -> Self {
        let (ticks, over) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let thread = std::thread::spawn({
            let (ticks, over) = (Arc::clone(&ticks), Arc::clone(&over));
            move || {
                let (mut last, mut since) = (0, Instant::now());
                while !over.load(Ordering::Acquire) {
                    std::thread::sleep(Duration::from_millis(5));
                    let now = ticks.load(Ordering::Acquire);
                    if now != last {
                        (last, since) = (now, Instant::now());
                    } else if since.elapsed() > deadline::LIMIT / 3 {
                        for pid in &pids {
                            let _ = kill_process(*pid, Signal::CONT);
                        }
                        return false;
                    }
                }
                true
            }
        });
        Self {
            ticks,
            over,
            thread,
        }
    }

    fn tick(&self) {
        self.ticks.fetch_add(1, Ordering::AcqRel);
    }

    fn stop(self) {
        self.over.store(true, Ordering::Release);
        assert!(
            self.thread.join().unwrap(),
            "the runtime's thread stood still"
        );
    }
}

/// Receivers that are killed give back what they had not taken, and no more is missed than they held.
#[procession::test]
async fn joining_while_receivers_are_killed() {
    let mut random = Random::seeded();
    let end = Instant::now() + soak();
    while Instant::now() < end {
        let (tx, rx) = queue::<u64>(64).unwrap();
        let work = |rx: Receiver<u64>| {
            while rx.blocking_recv().is_ok() {
                rx.task_done().unwrap();
            }
        };
        let mut workers: Vec<_> = (0..2).map(|_| spawn(work, rx.clone())).collect();
        let mut killed = 0;
        let mut sent = 0;
        for _ in 0..4 {
            for _ in 0..random.below(2_000) {
                within(tx.send(sent)).await.unwrap();
                sent += 1;
            }
            let victim = workers.remove(0);
            victim.abort();
            let _ = within(victim).await;
            killed += 1;
            workers.push(spawn(work, rx.clone()));
        }
        if let Err(abandoned) = within(tx.join()).await {
            let lost = abandoned.count();
            assert!(lost <= killed, "{lost} of {sent} with {killed} killed");
        }
        tx.close();
        for worker in workers {
            within(worker).await.unwrap();
        }
    }
}

/// Waiting futures of a process whose peer is killed resolve, also when other holders stay.
#[procession::test]
async fn waiters_beside_the_killed() {
    let (tx, rx) = queue::<u64>(1).unwrap();
    let end = Instant::now() + soak() / 2;
    let take = |rx: Receiver<u64>| while rx.blocking_recv().is_ok() {};
    while Instant::now() < end {
        let taker = spawn(take, rx.clone());
        for n in 0..20 {
            within(tx.send(n)).await.unwrap();
        }
        taker.abort();
        let _ = within(taker).await;
        while rx.try_recv().is_ok() {}
        let mut waiting = rx.recv();
        for _ in 0..300 {
            assert!((&mut waiting).now_or_never().is_none());
        }
        let (sent, received) = within(futures::future::join(tx.send(7), waiting)).await;
        sent.unwrap();
        assert_eq!(received, Ok(7));
    }
}

/// Kills its process when it is serialised for the last of so many times.
#[derive(Debug)]
struct Deadly(Option<AtomicU64>);

impl Serialize for Deadly {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(left) = &self.0
            && left.fetch_sub(1, Ordering::AcqRel) == 1
        {
            kill_process(rustix::process::getpid(), Signal::KILL).unwrap();
        }
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Deadly {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer).map(|()| Self(None))
    }
}

type Halves = (ByteBuf, Deadly, ByteBuf);

/// In each of the times a message is looked at: to see how long it is, to write it, to write it into memory
/// of its own.
#[procession::test]
async fn a_message_half_written_by_the_killed() {
    let halves = |len: usize, last: Option<u64>| -> Halves {
        let half = ByteBuf::from(vec![len as u8; len]);
        (half.clone(), Deadly(last.map(AtomicU64::new)), half)
    };
    for len in [10, 40_000, 100_000, 3 << 20] {
        for last in 1.. {
            let (tx, rx) = queue::<Halves>(4).unwrap();
            let child = spawn(
                async |len: usize, last: u64, tx: Sender<Halves>| {
                    let halves = |last: Option<u64>| -> Halves {
                        let half = ByteBuf::from(vec![len as u8; len]);
                        (half.clone(), Deadly(last.map(AtomicU64::new)), half)
                    };
                    tx.send(halves(None)).await.unwrap();
                    tx.send(halves(Some(last))).await.unwrap();
                },
                (len, last, tx.clone()),
            );
            let survived = within(child).await.is_ok();
            within(tx.send(halves(len, None))).await.unwrap();
            drop(tx);
            let received: Vec<_> = within(rx.map(Result::unwrap).collect()).await;
            assert_eq!(received.len(), if survived { 3 } else { 2 });
            for (left, _, right) in received {
                assert_eq!((left.len(), &left), (len, &right));
                assert!(left.iter().all(|byte| *byte == len as u8));
            }
            if survived {
                // It was not looked at so often.
                assert!((2..=4).contains(&last), "{last}");
                break;
            }
        }
    }
}

async fn echo(pipe: Pipe<Message, Message>) {
    while let Ok(message) = pipe.recv().await {
        if pipe.send(message).await.is_err() {
            return;
        }
    }
}

fn echo_blocking(pipe: Pipe<Message, Message>) {
    while let Ok(message) = pipe.blocking_recv() {
        if pipe.blocking_send(message).is_err() {
            return;
        }
    }
}

/// Whoever is at the other end of a pipe hears of the death, and of what came before it.
#[procession::test]
async fn killed_at_the_other_end_of_a_pipe() {
    let mut random = Random::seeded();
    let end = Instant::now() + soak();
    let mut kills = 0;
    while Instant::now() < end {
        let (here, there) = pipe::<Message, Message>().unwrap();
        let child = match kills % 2 {
            0 => spawn(echo, there),
            _ => spawn(echo_blocking, there),
        };
        let kind = [Kind::Short, Kind::Long, Kind::Sockets][random.below(3) as usize];
        // A task of its own: beside two that are always busy, a timer in theirs would get no turn.
        let (abort, micros) = (child.abort_handle(), random.below(15_000));
        until(|| child.pid().is_some()).await;
        let killing = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_micros(micros)).await;
            abort.abort();
        });
        let sending = async {
            for number in 0.. {
                if here.send(Message::new(7, number, kind)).await.is_err() {
                    return number;
                }
            }
            unreachable!()
        };
        let receiving = async {
            for expected in 0.. {
                match here.recv().await {
                    Ok(message) => assert_eq!(message.check(), (7, expected)),
                    Err(RecvError::Closed) => return expected,
                    Err(error) => panic!("{error}"),
                }
            }
            unreachable!()
        };
        let (sent, received) = within(futures::future::join(sending, receiving)).await;
        within(killing).await.unwrap();
        assert!(received <= sent);
        assert!(here.is_closed() && here.try_send(Message::new(7, 0, kind)).is_err());
        let _ = within(child).await;
        kills += 1;
    }
    eprintln!("{kills} kills");
}

const KINDS: [Kind; 3] = [Kind::Short, Kind::Long, Kind::Sockets];

fn pour(kind: Kind, tx: PipeSender<Message>) -> u64 {
    let sent = (0..).take_while(|n| tx.blocking_send(Message::new(7, *n, kind)).is_ok());
    sent.count() as u64
}

async fn pour_async(kind: Kind, tx: PipeSender<Message>) -> u64 {
    for number in 0.. {
        if tx.send(Message::new(7, number, kind)).await.is_err() {
            return number;
        }
    }
    unreachable!()
}

/// Receives to the end; there is no gap.
fn swallow(rx: PipeReceiver<Message>) -> u64 {
    for expected in 0.. {
        match rx.blocking_recv() {
            Ok(message) => assert_eq!(message.check(), (7, expected)),
            Err(RecvError::Closed) => return expected,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!()
}

async fn swallow_async(rx: PipeReceiver<Message>) -> u64 {
    for expected in 0.. {
        match rx.recv().await {
            Ok(message) => assert_eq!(message.check(), (7, expected)),
            Err(RecvError::Closed) => return expected,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!()
}

/// Whichever end of a channel was killed, in whatever way it waited, and in whatever way the other one waits.
#[procession::test]
async fn killed_at_either_end_of_a_channel() {
    let mut random = Random::seeded();
    let end = Instant::now() + soak();
    let mut kills = 0;
    while Instant::now() < end {
        let (tx, rx) = channel::<Message>().unwrap();
        let (kind, blocks) = (KINDS[random.below(3) as usize], random.below(2) == 0);
        let pause = Duration::from_micros(random.below(10_000));
        let (child, here) = match random.below(4) {
            0 => (spawn(pour, (kind, tx)), Ok(rx)),
            1 => (spawn(pour_async, (kind, tx)), Ok(rx)),
            2 => (spawn(swallow, rx), Err(tx)),
            _ => (spawn(swallow_async, rx), Err(tx)),
        };
        until(|| child.pid().is_some()).await;
        let other = match (here, blocks) {
            (Ok(rx), true) => tokio::task::spawn_blocking(move || swallow(rx)),
            (Ok(rx), false) => tokio::spawn(swallow_async(rx)),
            (Err(tx), true) => tokio::task::spawn_blocking(move || pour(kind, tx)),
            (Err(tx), false) => tokio::spawn(pour_async(kind, tx)),
        };
        tokio::time::sleep(pause).await;
        child.abort();
        within(other).await.unwrap();
        let _ = within(child).await;
        kills += 1;
    }
    eprintln!("{kills} kills");
}

/// The processor time that this thread has had.
fn spent() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Stops the process after each of the pauses, in microseconds. How long it stood still, and how long this thread was
/// busy meanwhile.
async fn stop_now_and_then(
    pid: Pid,
    pauses: [u64; 3],
    over: Arc<AtomicBool>,
) -> (Duration, Duration) {
    let (mut stood, mut busy) = (Duration::ZERO, Duration::ZERO);
    for micros in pauses {
        tokio::time::sleep(Duration::from_micros(micros)).await;
        kill_process(pid, Signal::STOP).unwrap();
        // Until what can be done without it is done.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let (since, before) = (Instant::now(), spent());
        tokio::time::sleep(Duration::from_millis(20)).await;
        stood += since.elapsed();
        busy += spent() - before;
        kill_process(pid, Signal::CONT).unwrap();
    }
    over.store(true, Ordering::Release);
    (stood, busy)
}

/// Nothing here is busy because of it, and all goes on when it does.
#[procession::test]
async fn a_stopped_peer_of_a_pipe_costs_nothing_and_loses_nothing() {
    let mut random = Random::seeded();
    let end = Instant::now() + soak();
    let (mut stops, mut stood, mut busy) = (0, Duration::ZERO, Duration::ZERO);
    while Instant::now() < end {
        let (here, there) = pipe::<Message, Message>().unwrap();
        let child = match stops % 2 {
            0 => spawn(echo, there),
            _ => spawn(echo_blocking, there),
        };
        let kind = KINDS[random.below(3) as usize];
        until(|| child.pid().is_some()).await;
        let pid = Pid::from_raw(child.pid().unwrap().cast_signed()).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let pauses = [(); 3].map(|()| random.below(5_000));
        // A task of its own, as above.
        let stopping = tokio::spawn(stop_now_and_then(pid, pauses, Arc::clone(&over)));
        let sending = async {
            let mut number = 0;
            while !over.load(Ordering::Acquire) {
                here.send(Message::new(7, number, kind)).await.unwrap();
                number += 1;
            }
            here.send(Message::new(8, number, kind)).await.unwrap();
            number
        };
        let receiving = async {
            for expected in 0.. {
                let message = here.recv().await.unwrap().check();
                assert_eq!(message.1, expected);
                if message.0 == 8 {
                    return expected;
                }
            }
            unreachable!()
        };
        let (sent, received) = within(futures::future::join(sending, receiving)).await;
        assert_eq!(sent, received);
        let (still, spent) = within(stopping).await.unwrap();
        (stops, stood, busy) = (stops + pauses.len(), stood + still, busy + spent);
        drop(here);
        within(child).await.unwrap();
    }
    eprintln!("{stops} stops, {busy:?} of {stood:?} busy");
    // A nap now and then, if it was stopped between descriptors and their message.
    assert!(busy < stood / 5, "{busy:?} of {stood:?}");
}

/// Every message is received by one of those who wait for one, whoever waits in whatever way beside them.
#[procession::test]
async fn tasks_and_threads_at_one_end_of_a_pipe() {
    let (here, there) = pipe::<u64, u64>().unwrap();
    let child = spawn(
        async |there: Pipe<u64, u64>| {
            while let Ok(count) = there.recv().await {
                for number in 0..count {
                    if number % 3 == 2 {
                        tokio::time::sleep(Duration::from_micros(count * 20)).await;
                    }
                    there.send(number).await.unwrap();
                }
            }
        },
        there,
    );
    let here = Arc::new(here);
    let mut random = Random::seeded();
    let end = Instant::now() + soak();
    let mut rounds = 0;
    while Instant::now() < end {
        let (tasks, threads) = (random.below(4), random.below(4));
        let mut all = Vec::new();
        for _ in 0..tasks {
            let here = Arc::clone(&here);
            all.push(tokio::spawn(async move { here.recv().await.unwrap() }));
        }
        for _ in 0..threads {
            let here = Arc::clone(&here);
            let receives = move || here.blocking_recv().unwrap();
            all.push(tokio::task::spawn_blocking(receives));
        }
        if random.below(2) == 0 {
            // Until they sleep.
            tokio::time::sleep(Duration::from_micros(random.below(1_000))).await;
        }
        here.send(tasks + threads).await.unwrap();
        let received = within(futures::future::join_all(all)).await;
        let mut received: Vec<_> = received.into_iter().map(Result::unwrap).collect();
        received.sort_unstable();
        assert!(received.into_iter().eq(0..tasks + threads));
        rounds += 1;
    }
    eprintln!("{rounds} rounds");
    drop(here);
    within(child).await.unwrap();
}

/// The same for those who wait for room.
#[procession::test]
async fn tasks_and_threads_that_wait_for_room_in_a_pipe() {
    let mut random = Random::seeded();
    let end = Instant::now() + soak();
    while Instant::now() < end {
        let (tx, rx) = channel::<ByteBuf>().unwrap();
        let child = spawn(
            |rx: PipeReceiver<ByteBuf>, micros: u64| {
                let mut count = 0_u64;
                while let Ok(bytes) = rx.blocking_recv() {
                    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "torn");
                    count += 1;
                    if count.is_multiple_of(16) {
                        std::thread::sleep(Duration::from_micros(micros));
                    }
                }
                count
            },
            (rx, random.below(500)),
        );
        let tx = Arc::new(tx);
        let mut all = Vec::new();
        for who in 0..4_u8 {
            let tx = Arc::clone(&tx);
            let len = [60_000, 5_000, 100, 60_000][usize::from(who)];
            let message = move |n: u8| ByteBuf::from(vec![n; len]);
            all.push(match who % 2 {
                0 => tokio::spawn(async move {
                    for n in 0..50 {
                        tx.send(message(n)).await.unwrap();
                    }
                }),
                _ => tokio::task::spawn_blocking(move || {
                    (0..50).for_each(|n| tx.blocking_send(message(n)).unwrap());
                }),
            });
        }
        drop(tx);
        for sender in all {
            within(sender).await.unwrap();
        }
        assert_eq!(within(child).await.unwrap(), 200);
    }
}

/// Whoever closes a channel, while its sender and its receiver are at it: what was called sent arrives, once.
#[procession::test]
async fn closing_a_channel_of_two() {
    let mut random = Random::seeded();
    let end = Instant::now() + soak();
    let mut closes = 0;
    while Instant::now() < end {
        let (tx, rx) = channel::<Message>().unwrap();
        let kind = KINDS[random.below(3) as usize];
        let (pause, blocks) = (random.below(3_000), random.below(2) == 0);
        let closes_there = random.below(2) == 0;
        let child = spawn(
            |tx: PipeSender<Message>, kind: Kind, pause: u64, closes: bool| {
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        std::thread::sleep(Duration::from_micros(pause));
                        if closes {
                            tx.close();
                        }
                    });
                    (0..)
                        .take_while(|n| tx.blocking_send(Message::new(7, *n, kind)).is_ok())
                        .count() as u64
                })
            },
            (tx, kind, pause, closes_there),
        );
        let rx = Arc::new(rx);
        let receiving = tokio::task::spawn_blocking({
            let (rx, runtime) = (Arc::clone(&rx), tokio::runtime::Handle::current());
            move || {
                let mut received = 0;
                loop {
                    let next = match blocks {
                        true => rx.blocking_recv(),
                        false => runtime.block_on(rx.recv()),
                    };
                    match next {
                        Ok(message) => assert_eq!(message.check(), (7, received)),
                        Err(RecvError::Closed) => return received,
                        Err(error) => panic!("{error}"),
                    }
                    received += 1;
                }
            }
        });
        if !closes_there {
            until(|| child.pid().is_some()).await;
            tokio::time::sleep(Duration::from_micros(pause)).await;
            rx.close();
        }
        let sent = within(child).await.unwrap();
        assert_eq!(within(receiving).await.unwrap(), sent);
        closes += 1;
    }
    eprintln!("{closes} closes");
}

fn send_until_closed(number: u64, tx: Sender<Message>) -> u64 {
    let sent = (0..).take_while(|n| {
        let message = Message::new(number, *n, Kind::Sockets);
        tx.blocking_send(message).is_ok()
    });
    sent.count() as u64
}

async fn receive_until_closed(rx: Receiver<Message>) -> u64 {
    let received = rx.map(|message| message.unwrap().check());
    received.count().await as u64
}

/// Whoever closes, in whatever process, while others send, receive and wait: what was called sent arrives.
#[procession::test]
async fn closing_while_others_are_at_it() {
    let mut random = Random::seeded();
    let end = Instant::now() + soak();
    while Instant::now() < end {
        let (tx, rx) = queue::<Message>([1, 3, 64][random.below(3) as usize]).unwrap();
        let senders: Vec<_> = (0..2)
            .map(|number| spawn(send_until_closed, (number, tx.clone())))
            .collect();
        let receivers: Vec<_> = (0..2)
            .map(|_| spawn(receive_until_closed, rx.clone()))
            .collect();
        let closer = spawn(
            |tx: Sender<Message>, rx: Receiver<Message>, micros: u64| {
                let end = Instant::now() + Duration::from_micros(micros);
                while Instant::now() < end {
                    std::thread::yield_now();
                }
                if micros.is_multiple_of(2) {
                    tx.close();
                } else {
                    rx.close();
                }
            },
            (tx.clone(), rx.clone(), random.below(20_000)),
        );
        within(futures::future::join(tx.closed(), rx.closed())).await;
        within(closer).await.unwrap();
        let (mut sent, mut received) = (0, 0);
        for sender in senders {
            sent += within(sender).await.unwrap();
        }
        for receiver in receivers {
            received += within(receiver).await.unwrap();
        }
        assert_eq!(received, sent);
    }
}
