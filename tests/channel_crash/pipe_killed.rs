//! A process at a pipe is killed.

use std::time::{Duration, Instant};

use procession::{RecvError, channel, pipe, spawn};

use crate::deadline::{until, within};
use crate::message::{KINDS, Kind, Message};
use crate::random::Random;
use crate::soak;
use crate::tasks::{echo, echo_blocking, pour, pour_async, swallow, swallow_async};

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
