//! A channel is closed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use procession::{PipeSender, Receiver, RecvError, Sender, channel, queue, spawn};

use crate::deadline::{until, within};
use crate::message::{KINDS, Kind, Message};
use crate::random::Random;
use crate::soak;
use crate::tasks::{receive_until_closed, send_until_closed};

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
