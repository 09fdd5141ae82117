//! A process is stopped by SIGSTOP and continued.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use procession::{Pipe, Receiver, Sender, pipe, spawn};
use rustix::process::{Pid, Signal, kill_process};

use crate::deadline::{until, within};
use crate::log::Log;
use crate::message::{KINDS, Kind, Message};
use crate::processes::{Processes, started};
use crate::random::Random;
use crate::soak;
use crate::tasks::{PIPE_SENDER, echo, echo_blocking};
use crate::watchdog::Watchdog;

/// Sends and receives with limits and without waiting. None of it may block this thread.
async fn use_queue(tx: &Sender<Message>, rx: &Receiver<Message>, number: &mut u64, log: &mut Log) {
    let brief = Duration::from_millis(2);
    let message = Message::new(1_000_000, *number, Kind::Short);
    if let Ok(sent) = tokio::time::timeout(brief, tx.send(message)).await {
        sent.unwrap();
        *number += 1;
    }
    if let Ok(received) = tokio::time::timeout(brief, rx.recv()).await {
        log.record(received.unwrap().check());
    }
    let _ = tx.is_full() || rx.is_closed();
    if let Ok(message) = rx.try_recv() {
        log.record(message.check());
    }
}

/// The producer and the consumer are stopped at random steps, perhaps while they hold a lock of the queue.
#[procession::test]
async fn queue_never_blocks_while_other_processes_are_stopped() {
    let mut random = Random::seeded();
    for capacity in [1, 64] {
        let mut processes = Processes::new(capacity, Kind::Short, 1, 1);
        let tx = processes.tx.clone().unwrap();
        let rx = processes.rx.clone().unwrap();
        until(|| processes.received() > 0).await;
        let producer = started(&processes.producers[0]).await;
        let pids = vec![producer, started(&processes.consumers[0]).await];
        let watchdog = Watchdog::start(pids.clone());
        let log = processes.board.path("log-own");
        processes.logs.push(log.clone());
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
                use_queue(&tx, &rx, &mut number, &mut log).await;
                watchdog.tick();
            }
            for pid in &pids {
                kill_process(*pid, Signal::CONT).unwrap();
            }
            tokio::task::yield_now().await;
        }
        watchdog.stop();
        drop((tx, rx));
        processes.finish().await;
    }
}

/// The processor time of this thread.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Stops the process after each of the pauses, in microseconds, and sets `over` at the end. Returns for how long the
/// process was stopped and measured, and the processor time of this thread meanwhile.
async fn stop_after(pid: Pid, pauses: [u64; 3], over: Arc<AtomicBool>) -> (Duration, Duration) {
    let (mut stopped, mut busy) = (Duration::ZERO, Duration::ZERO);
    for micros in pauses {
        tokio::time::sleep(Duration::from_micros(micros)).await;
        kill_process(pid, Signal::STOP).unwrap();
        // The ring fills or empties first: that work is not measured.
        within(rest()).await;
        let (since, before) = (Instant::now(), thread_time());
        tokio::time::sleep(Duration::from_millis(20)).await;
        stopped += since.elapsed();
        busy += thread_time() - before;
        kill_process(pid, Signal::CONT).unwrap();
    }
    over.store(true, Ordering::Release);
    (stopped, busy)
}

/// Waits until this thread uses little of the processor.
async fn rest() {
    loop {
        let (since, before) = (Instant::now(), thread_time());
        tokio::time::sleep(Duration::from_millis(5)).await;
        if thread_time() - before < since.elapsed() / 10 {
            return;
        }
    }
}

/// The sender of the last message.
const LAST: u64 = PIPE_SENDER + 1;

async fn send_until(over: &AtomicBool, kind: Kind, pipe: &Pipe<Message, Message>) -> u64 {
    let mut number = 0;
    while !over.load(Ordering::Acquire) {
        let message = Message::new(PIPE_SENDER, number, kind);
        pipe.send(message).await.unwrap();
        number += 1;
    }
    pipe.send(Message::new(LAST, number, kind)).await.unwrap();
    number
}

async fn receive_until_last(pipe: &Pipe<Message, Message>) -> u64 {
    for expected in 0.. {
        let (sender, number) = pipe.recv().await.unwrap().check();
        assert_eq!(number, expected);
        if sender == LAST {
            return expected;
        }
    }
    unreachable!()
}

#[procession::test]
async fn pipe_to_stopped_process_uses_no_processor_and_loses_nothing() {
    let mut random = Random::seeded();
    let end = Instant::now() + soak();
    let (mut stops, mut stopped, mut busy) = (0, Duration::ZERO, Duration::ZERO);
    while Instant::now() < end {
        let (here, there) = pipe::<Message, Message>().unwrap();
        let child = match stops % 2 {
            0 => spawn(echo, there),
            _ => spawn(echo_blocking, there),
        };
        let kind = random.choose(&KINDS);
        let pid = started(&child).await;
        let over = Arc::new(AtomicBool::new(false));
        let pauses = [(); 3].map(|()| random.below(5_000));
        // In a task of its own: the sender and the receiver are always ready, so a timer beside them would be late.
        let stopping = tokio::spawn(stop_after(pid, pauses, Arc::clone(&over)));
        let sending = send_until(&over, kind, &here);
        let exchange = futures::future::join(sending, receive_until_last(&here));
        let (sent, received) = within(exchange).await;
        assert_eq!(sent, received);
        let measured = within(stopping).await.unwrap();
        (stopped, busy) = (stopped + measured.0, busy + measured.1);
        stops += pauses.len();
        drop(here);
        within(child).await.unwrap();
    }
    eprintln!("{stops} stops, {busy:?} of {stopped:?} busy");
    // A receiver looks again now and then while the sender is stopped between descriptors and their message.
    assert!(busy < stopped / 5, "{busy:?} of {stopped:?}");
}
