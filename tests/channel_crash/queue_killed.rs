//! Producers and consumers of a queue are killed.

use std::time::{Duration, Instant};

use procession::{ProcessHandle, Receiver, Sender, queue, spawn};

use crate::asleep::asleep;
use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::message::{KINDS, Message};
use crate::notes::Notes;
use crate::processes::{Processes, Victims};
use crate::random::Random;
use crate::soak;

/// Starts a process that holds both ends of the queue and does not use them.
async fn spawn_holder(processes: &Processes) -> ProcessHandle<()> {
    let hold = |tx: Sender<Message>, rx: Receiver<Message>, notes: Notes| {
        notes.meet("holds", "never");
        drop((tx, rx));
    };
    let (tx, rx) = (processes.tx.clone(), processes.rx.clone());
    let arguments = (tx.unwrap(), rx.unwrap(), processes.board.notes());
    let holder = spawn(hold, arguments);
    processes.board.lines("holds", 1).await;
    holder
}

/// Kills victims in rounds until the time is over. After the kills of a round the others still send and receive.
async fn soak_with(victims: Victims, with_holder: bool) {
    let mut random = Random::seeded();
    let end = Instant::now() + soak();
    let mut kills = 0;
    while Instant::now() < end {
        let (capacity, kind) = (random.choose(&[1, 3, 64, 4096]), random.choose(&KINDS));
        let mut processes = Processes::new(capacity, kind, 2, 3);
        let holder = match with_holder {
            true => Some(spawn_holder(&processes).await),
            false => None,
        };
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_micros(random.below(8_000))).await;
            processes.kill_one(victims, &mut random).await;
            kills += 1;
        }
        let before = processes.received();
        until(|| processes.received() > before).await;
        if let Some(holder) = holder {
            holder.abort();
            let _ = within(holder).await;
        }
        processes.finish().await;
    }
    eprintln!("{kills} kills");
}

#[procession::test]
async fn queue_survives_killed_producers() {
    let victims = Victims {
        producers: true,
        consumers: false,
    };
    soak_with(victims, false).await;
}

#[procession::test]
async fn queue_survives_killed_consumers() {
    let victims = Victims {
        producers: false,
        consumers: true,
    };
    soak_with(victims, false).await;
}

/// An idle process keeps both ends open: the kernel reports neither side as gone.
#[procession::test]
async fn queue_with_idle_holder_survives_killed_producers_and_consumers() {
    let victims = Victims {
        producers: true,
        consumers: true,
    };
    soak_with(victims, true).await;
}

#[procession::test]
async fn queue_of_killed_processes_leaves_nothing() {
    let test = "queue_killed::queue_of_killed_processes_leaves_nothing";
    alone(test, async {
        let victims = Victims {
            producers: true,
            consumers: true,
        };
        let mut random = Random::seeded();
        for kind in KINDS {
            let mut processes = Processes::new(16, kind, 2, 2);
            for _ in 0..4 {
                processes.kill_one(victims, &mut random).await;
            }
            processes.finish().await;
        }
    })
    .await;
}

/// A killed receiver had received at most one message that was not done.
#[procession::test]
async fn join_counts_at_most_one_message_per_killed_receiver() {
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

/// This process holds both ends, so the queue stays open.
#[procession::test]
async fn waiting_recv_is_woken_after_other_receiver_was_killed() {
    let (tx, rx) = queue::<u64>(1).unwrap();
    let end = Instant::now() + soak() / 2;
    let receive = |rx: Receiver<u64>| while rx.blocking_recv().is_ok() {};
    while Instant::now() < end {
        let receiver = spawn(receive, rx.clone());
        for n in 0..20 {
            within(tx.send(n)).await.unwrap();
        }
        receiver.abort();
        let _ = within(receiver).await;
        while rx.try_recv().is_ok() {}
        let mut waiting = rx.recv();
        asleep(&mut waiting).await;
        let (sent, received) = within(futures::future::join(tx.send(7), waiting)).await;
        sent.unwrap();
        assert_eq!(received, Ok(7));
    }
}
