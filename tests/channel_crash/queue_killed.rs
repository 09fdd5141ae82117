//! Processes at a queue are killed.

use std::time::{Duration, Instant};

use futures::FutureExt as _;
use procession::{Receiver, Sender, queue, spawn};

use crate::crowd::{Crowd, Victims};
use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::message::{Kind, Message};
use crate::notes::Desk;
use crate::random::Random;
use crate::soak;

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
    alone("queue_killed::the_killed_leave_nothing", async {
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
