//! A process is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use procession::{pipe, spawn};
use rustix::process::{Pid, Signal, kill_process};

use crate::crowd::Crowd;
use crate::deadline::{until, within};
use crate::log::Log;
use crate::message::{KINDS, Kind, Message};
use crate::random::Random;
use crate::soak;
use crate::tasks::{echo, echo_blocking};
use crate::watchdog::Watchdog;

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
