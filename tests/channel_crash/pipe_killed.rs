//! A process at an end of a pipe is killed.

use std::time::{Duration, Instant};

use procession::{RecvError, channel, pipe, spawn};

use crate::deadline::within;
use crate::message::{KINDS, Message};
use crate::processes::started;
use crate::random::Random;
use crate::soak;
use crate::tasks::{PIPE_SENDER, echo, echo_blocking, receive, receive_async, send, send_async};

/// The messages that were sent before the kill are received.
#[procession::test]
async fn pipe_ends_when_other_process_is_killed() {
    let mut random = Random::seeded();
    let end = Instant::now() + soak();
    let mut kills = 0;
    while Instant::now() < end {
        let (here, there) = pipe::<Message, Message>().unwrap();
        let child = match kills % 2 {
            0 => spawn(echo, there),
            _ => spawn(echo_blocking, there),
        };
        let kind = random.choose(&KINDS);
        let message = |number| Message::new(PIPE_SENDER, number, kind);
        // In a task of its own: the sender and the receiver are always ready, so a timer beside them would be late.
        let (abort, micros) = (child.abort_handle(), random.below(15_000));
        started(&child).await;
        let killing = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_micros(micros)).await;
            abort.abort();
        });
        let sending = async {
            for number in 0.. {
                if here.send(message(number)).await.is_err() {
                    return number;
                }
            }
            unreachable!()
        };
        let receiving = async {
            for expected in 0.. {
                match here.recv().await {
                    Ok(message) => assert_eq!(message.check(), (PIPE_SENDER, expected)),
                    Err(RecvError::Closed) => return expected,
                    Err(error) => panic!("{error}"),
                }
            }
            unreachable!()
        };
        let (sent, received) = within(futures::future::join(sending, receiving)).await;
        within(killing).await.unwrap();
        assert!(received <= sent);
        assert!(here.is_closed() && here.try_send(message(0)).is_err());
        let _ = within(child).await;
        kills += 1;
    }
    eprintln!("{kills} kills");
}

/// Tasks and blocked threads, in the killed process and in this one, send and receive.
#[procession::test]
async fn channel_ends_when_process_at_either_end_is_killed() {
    let mut random = Random::seeded();
    let end = Instant::now() + soak();
    let mut kills = 0;
    while Instant::now() < end {
        let (tx, rx) = channel::<Message>().unwrap();
        let (kind, blocks) = (random.choose(&KINDS), random.coin());
        let pause = Duration::from_micros(random.below(10_000));
        let (child, here) = match random.below(4) {
            0 => (spawn(send, (kind, tx)), Ok(rx)),
            1 => (spawn(send_async, (kind, tx)), Ok(rx)),
            2 => (spawn(receive, rx), Err(tx)),
            _ => (spawn(receive_async, rx), Err(tx)),
        };
        started(&child).await;
        let other = match (here, blocks) {
            (Ok(rx), true) => tokio::task::spawn_blocking(move || receive(rx)),
            (Ok(rx), false) => tokio::spawn(receive_async(rx)),
            (Err(tx), true) => tokio::task::spawn_blocking(move || send(kind, tx)),
            (Err(tx), false) => tokio::spawn(send_async(kind, tx)),
        };
        tokio::time::sleep(pause).await;
        child.abort();
        within(other).await.unwrap();
        let _ = within(child).await;
        kills += 1;
    }
    eprintln!("{kills} kills");
}
