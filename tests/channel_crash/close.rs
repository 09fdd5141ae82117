//! A channel is closed at a random moment while its ends are in use: each message whose send returned `Ok` is received.

use std::sync::Arc;
use std::time::{Duration, Instant};

use procession::{PipeSender, Receiver, Sender, channel, queue, spawn};

use crate::deadline::within;
use crate::message::{KINDS, Kind, Message};
use crate::processes::started;
use crate::random::Random;
use crate::soak;
use crate::tasks::{count_received, produce, receive_from, receive_from_async, send_through};

/// Sends until the channel is closed, by a thread of this process after `pause` microseconds or by the other process.
fn send_and_close(tx: PipeSender<Message>, kind: Kind, pause: u64, closes: bool) -> u64 {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_micros(pause));
            if closes {
                tx.close();
            }
        });
        send_through(kind, &tx)
    })
}

#[procession::test]
async fn close_of_channel_loses_no_sent_message() {
    let mut random = Random::seeded();
    let end = Instant::now() + soak();
    let mut closes = 0;
    while Instant::now() < end {
        let (tx, rx) = channel::<Message>().unwrap();
        let kind = random.choose(&KINDS);
        let (pause, blocks) = (random.below(3_000), random.coin());
        let sender_closes = random.coin();
        let child = spawn(send_and_close, (tx, kind, pause, sender_closes));
        let rx = Arc::new(rx);
        let receiving = tokio::task::spawn_blocking({
            let (rx, runtime) = (Arc::clone(&rx), tokio::runtime::Handle::current());
            move || match blocks {
                true => receive_from(&rx),
                false => runtime.block_on(receive_from_async(&rx)),
            }
        });
        if !sender_closes {
            started(&child).await;
            tokio::time::sleep(Duration::from_micros(pause)).await;
            rx.close();
        }
        let sent = within(child).await.unwrap();
        assert_eq!(within(receiving).await.unwrap(), sent);
        closes += 1;
    }
    eprintln!("{closes} closes");
}

/// Closes one end or the other after so many microseconds, in which this thread does not sleep.
fn close_one(tx: Sender<Message>, rx: Receiver<Message>, micros: u64) {
    let end = Instant::now() + Duration::from_micros(micros);
    while Instant::now() < end {
        std::thread::yield_now();
    }
    if micros % 2 == 1 {
        rx.close();
    } else {
        tx.close();
    }
}

#[procession::test]
async fn close_of_queue_loses_no_sent_message() {
    let mut random = Random::seeded();
    let end = Instant::now() + soak();
    while Instant::now() < end {
        let (tx, rx) = queue::<Message>(random.choose(&[1, 3, 64])).unwrap();
        let producers = [0, 1].map(|number| spawn(produce, (number, Kind::Sockets, tx.clone())));
        let consumers = [(); 2].map(|()| spawn(count_received, rx.clone()));
        let closer = spawn(close_one, (tx.clone(), rx.clone(), random.below(20_000)));
        within(futures::future::join(tx.closed(), rx.closed())).await;
        within(closer).await.unwrap();
        let (mut sent, mut received) = (0, 0);
        for producer in producers {
            sent += within(producer).await.unwrap();
        }
        for consumer in consumers {
            received += within(consumer).await.unwrap();
        }
        assert_eq!(received, sent);
    }
}
