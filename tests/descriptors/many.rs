//! Values with more descriptors than the kernel takes with one message of a socket (253).

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use futures::FutureExt as _;
use procession::{
    Descriptor, ErrorKind, Pipe, PipeSender, Pool, Process, Receiver, RecvError, Sender,
    StartMethod, channel, pipe, queue,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::deadline::within;
use crate::descriptors;
use crate::leftovers::{Census, alone};
use crate::shortage::Shortage;

const BOTH_METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Exec];

/// How many ends travel together.
const ENDS: u32 = 600;

/// How many of them are ends of pipes.
const PIPES: usize = 60;

/// As many descriptors as most tests here need in one process.
const NEEDED: u64 = 6_000;

/// Raises the limit of descriptors. False if this process may not have enough.
fn may_have_enough() -> bool {
    let limit = getrlimit(Resource::Nofile);
    let may = limit.maximum.is_none_or(|most| most >= NEEDED);
    if may && limit.current.is_some_and(|now| now < NEEDED) {
        let current = Some(NEEDED);
        setrlimit(Resource::Nofile, Rlimit { current, ..limit }).unwrap();
    }
    if !may {
        eprintln!("skipped: this user may not have {NEEDED} descriptors");
    }
    may
}

#[derive(Debug, Serialize, Deserialize)]
struct Ends {
    senders: Vec<Sender<u32>>,
    pipes: Vec<PipeSender<u32>>,
    bytes: serde_bytes::ByteBuf,
}

/// Ends whose receivers check that every end is used once.
struct Received {
    of_senders: Receiver<u32>,
    of_pipes: Vec<procession::PipeReceiver<u32>>,
}

fn ends(bytes: usize) -> (Ends, Received) {
    let (tx, of_senders) = queue(ENDS as usize).unwrap();
    let pipes = (0..PIPES).map(|_| channel().unwrap());
    let (pipes, of_pipes): (Vec<_>, Vec<_>) = pipes.unzip();
    let ends = Ends {
        senders: vec![tx; ENDS as usize - PIPES],
        pipes,
        bytes: serde_bytes::ByteBuf::from(vec![7; bytes]),
    };
    let received = Received {
        of_senders,
        of_pipes,
    };
    (ends, received)
}

/// Sends the number of each end through it.
fn use_all(ends: Ends) -> Ends {
    assert!(ends.bytes.iter().all(|byte| *byte == 7));
    for (n, tx) in (0..).zip(&ends.senders) {
        tx.blocking_send(n).unwrap();
    }
    for (n, tx) in (0..).zip(&ends.pipes) {
        tx.blocking_send(n).unwrap();
    }
    ends
}

impl Received {
    async fn check(&self) {
        for n in 0..ENDS - PIPES as u32 {
            assert_eq!(within(self.of_senders.recv()).await, Ok(n));
        }
        for (n, rx) in (0..).zip(&self.of_pipes) {
            assert_eq!(within(rx.recv()).await, Ok(n));
        }
    }

    async fn check_closed(&self) {
        let closed = Err(RecvError::Closed);
        assert_eq!(within(self.of_senders.recv()).await, closed);
        for rx in &self.of_pipes {
            assert_eq!(within(rx.recv()).await, closed);
        }
    }
}

/// Short values, and values that have shared memory of their own.
const LENGTHS: [usize; 2] = [0, 400_000];

#[procession::test]
async fn ends_in_arguments_and_results_of_processes() {
    let test = "many::ends_in_arguments_and_results_of_processes";
    alone(test, async {
        if !may_have_enough() {
            return;
        }
        for method in BOTH_METHODS {
            for len in LENGTHS {
                let (ends, received) = ends(len);
                let builder = Process::builder().start_method(method);
                let returned = within(builder.spawn(use_all, ends)).await.unwrap();
                received.check().await;
                let returned = tokio::task::spawn_blocking(|| use_all(returned));
                drop(within(returned).await.unwrap());
                received.check().await;
                received.check_closed().await;
            }
        }
    })
    .await;
}

#[procession::test]
async fn ends_in_arguments_and_results_of_tasks() {
    let test = "many::ends_in_arguments_and_results_of_tasks";
    alone(test, async {
        if !may_have_enough() {
            return;
        }
        for method in BOTH_METHODS {
            let builder = Pool::builder().workers(1).start_method(method);
            let pool = builder.build().unwrap();
            for len in LENGTHS {
                let (one, received) = ends(len);
                let returned = within(pool.run(use_all, one)).await.unwrap();
                received.check().await;
                let used = pool.map(use_all, [returned]);
                drop(within(used).await.unwrap());
                received.check().await;
                received.check_closed().await;
            }
            within(pool.shutdown()).await;
        }
    })
    .await;
}

#[procession::test]
async fn ends_in_messages_of_queues_and_pipes() {
    let test = "many::ends_in_messages_of_queues_and_pipes";
    alone(test, async {
        if !may_have_enough() {
            return;
        }
        fn forward(rx: Receiver<Ends>, both: Pipe<Ends, ()>) {
            while let Ok(ends) = rx.blocking_recv() {
                both.blocking_send(use_all(ends)).unwrap();
            }
        }
        for method in BOTH_METHODS {
            let (tx, rx) = queue::<Ends>(2).unwrap();
            let (here, there) = pipe::<(), Ends>().unwrap();
            let builder = Process::builder().start_method(method);
            let child = builder.spawn(forward, (rx, there));
            for len in LENGTHS {
                let (ends, received) = ends(len);
                within(tx.send(ends)).await.unwrap();
                let returned = within(here.recv()).await.unwrap();
                received.check().await;
                drop(returned);
                received.check_closed().await;
            }
            drop(tx);
            within(child).await.unwrap();
        }
    })
    .await;
}

type Many = Vec<Descriptor<File>>;

fn many(count: usize) -> Many {
    let file = File::open("/dev/null").unwrap();
    (0..count)
        .map(|_| file.try_clone().unwrap().into())
        .collect()
}

fn count(many: Many) -> usize {
    many.len()
}

/// The items of a map that carry descriptors go in several requests, and an item with too many for one message alone.
#[procession::test]
async fn map_over_items_with_descriptors() {
    let test = "many::map_over_items_with_descriptors";
    alone(test, async {
        if !may_have_enough() {
            return;
        }
        let pool = Pool::with_workers(2).unwrap();
        let counts = [1, 200, 0, 100, 300, 0, 1, 254, 253];
        let counted = pool.map(count, counts.map(many)).chunk_size(4);
        assert_eq!(within(counted).await.unwrap(), counts);
        within(pool.shutdown()).await;
    })
    .await;
}

/// Every number of free descriptors from too few to enough. A value that is not sent is usable afterwards.
#[procession::test]
async fn shortage_of_the_sender_is_an_encode_error() {
    let test = "many::shortage_of_the_sender_is_an_encode_error";
    alone(test, async {
        if !may_have_enough() {
            return;
        }
        let (tx, rx) = queue::<Many>(1).unwrap();
        let (pipe_tx, pipe_rx) = channel::<Many>().unwrap();
        let pool = Pool::with_workers(1).unwrap();
        assert_eq!(within(pool.run(count, many(1))).await.unwrap(), 1);
        let mut all_sent = false;
        for free in (0..330).filter(|free| free % 50 == 0 || *free > 295) {
            let (one, two, three) = (many(300), many(300), many(300));
            let shortage = Shortage::with_free(free);
            let queued = tx.try_send(one);
            let piped = pipe_tx.send(two).now_or_never().unwrap();
            let ran = within(pool.run(count, three)).await;
            drop(shortage);
            all_sent = queued.is_ok() && piped.is_ok() && ran.is_ok();
            if let Err(error) = queued {
                assert!(error.is_encode(), "{free}: {error}");
                tx.try_send(error.into_inner()).unwrap();
            }
            if let Err(error) = piped {
                assert!(error.is_encode(), "{free}: {error}");
                within(pipe_tx.send(error.into_inner().unwrap()))
                    .await
                    .unwrap();
            }
            if let Err(error) = ran {
                assert_eq!(error.kind(), ErrorKind::Encode, "{free}: {error}");
            }
            assert_eq!(within(rx.recv()).await.unwrap().len(), 300);
            assert_eq!(within(pipe_rx.recv()).await.unwrap().len(), 300);
        }
        assert!(all_sent);
        within(pool.shutdown()).await;
    })
    .await;
}

/// The result is in the worker, which has room for few descriptors.
#[procession::test]
async fn shortage_of_the_worker_fails_its_task_alone() {
    let test = "many::shortage_of_the_worker_fails_its_task_alone";
    fn many_with_free(free: usize) -> Many {
        let many = many(300);
        Box::leak(Box::new(Shortage::with_free(free)));
        many
    }
    alone(test, async {
        if !may_have_enough() {
            return;
        }
        for free in [0, 299, 300, 301, 310] {
            let pool = Pool::with_workers(1).unwrap();
            let result = within(pool.run(many_with_free, free)).await;
            match result {
                Ok(many) => assert!(many.len() == 300 && free > 301),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Encode, "{free}: {error}"),
            }
            assert_eq!(within(pool.run(|n: u32| n + 1, 1)).await.unwrap(), 2);
            assert_eq!(pool.metrics().crashed(), 0);
            within(pool.shutdown()).await;
        }
    })
    .await;
}

/// A receiver that may not have so many closes those it has got, and receives the next message.
#[procession::test]
async fn shortage_of_the_receiver_is_a_decode_error_of_that_message() {
    let test = "many::shortage_of_the_receiver_is_a_decode_error_of_that_message";
    alone(test, async {
        if !may_have_enough() {
            return;
        }
        fn receive(rx: Receiver<Many>, pipe_rx: procession::PipeReceiver<Many>) {
            let before = descriptors().len();
            for n in [1, 2] {
                for _ in 0..2 {
                    assert!(matches!(rx.blocking_recv(), Err(RecvError::Decode(_))));
                    assert!(matches!(pipe_rx.blocking_recv(), Err(RecvError::Decode(_))));
                }
                assert_eq!(rx.blocking_recv().unwrap().len(), n);
                assert_eq!(pipe_rx.blocking_recv().unwrap().len(), n);
                assert_eq!(descriptors().len(), before);
            }
        }
        for method in BOTH_METHODS {
            let (tx, rx) = queue::<Many>(8).unwrap();
            let (pipe_tx, pipe_rx) = channel::<Many>().unwrap();
            for n in [200, 300, 1, 300, 200, 2] {
                within(tx.send(many(n))).await.unwrap();
                within(pipe_tx.send(many(n))).await.unwrap();
            }
            let builder = Process::builder()
                .start_method(method)
                .descriptor_limit(100);
            let child = builder.spawn(receive, (rx, pipe_rx));
            within(child).await.unwrap();
            let builder = Process::builder()
                .start_method(method)
                .descriptor_limit(100);
            match within(builder.spawn(count, many(300))).await {
                // A spare has received them before it knows its limit.
                Ok(n) => assert_eq!(n, 300),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Decode, "{error}"),
            }
        }
        let pool = Pool::with_workers(1).unwrap();
        assert_eq!(within(pool.run(count, many(1))).await.unwrap(), 1);
        for n in [200, 300] {
            let shortage = Shortage::with_free(100);
            let error = within(pool.run(many, n)).await.unwrap_err();
            drop(shortage);
            assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
            assert_eq!(within(pool.run(many, n)).await.unwrap().len(), n);
        }
        within(pool.shutdown()).await;
    })
    .await;
}

/// The kernel takes fewer into the socket than the queue takes messages. The runtime's only thread never waits.
#[procession::test]
async fn sends_wait_for_room_in_the_socket() {
    let test = "many::sends_wait_for_room_in_the_socket";
    alone(test, async {
        if !may_have_enough() {
            return;
        }
        const MESSAGES: usize = 400;
        let (tx, rx) = queue::<(usize, Many)>(2 * MESSAGES).unwrap();
        let mut has_waited = false;
        let sending = async {
            for n in 0..MESSAGES {
                let mut sending = tx.send((n, many(260)));
                if let Some(sent) = (&mut sending).now_or_never() {
                    sent.unwrap();
                    continue;
                }
                has_waited = true;
                within(sending).await.unwrap();
            }
        };
        let receiving = async {
            while tx.try_send((0, many(260))).is_ok() {
                tokio::task::yield_now().await;
                if rx.len() > MESSAGES {
                    break;
                }
            }
            let mut next = 0;
            while next < MESSAGES {
                let (n, many) = within(rx.recv()).await.unwrap();
                assert_eq!(many.len(), 260);
                next += usize::from(n == next);
            }
        };
        tokio::join!(sending, receiving);
        assert!(has_waited);
    })
    .await;
}

/// A message whose descriptors all lead to one socket, which contains the number of the message.
type Numbered = (u64, Vec<Descriptor<UnixStream>>);

fn numbered(n: u64) -> Numbered {
    let (here, mut there) = UnixStream::pair().unwrap();
    let copies = (0..270).map(|_| Descriptor(here.try_clone().unwrap()));
    let copies = copies.collect();
    there.write_all(&vec![n as u8; 270]).unwrap();
    (n, copies)
}

fn check((n, copies): Numbered) -> u64 {
    assert_eq!(copies.len(), 270);
    for mut copy in copies {
        let mut byte = [0];
        copy.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [n as u8], "the descriptor of another message");
    }
    n
}

/// The sender is killed at any moment: also when some of the descriptors of a message are in the socket.
#[procession::test]
async fn message_of_a_killed_sender_is_whole_or_not_received() {
    let test = "many::message_of_a_killed_sender_is_whole_or_not_received";
    fn send(tx: Sender<Numbered>, pipe_tx: PipeSender<Numbered>) {
        for n in 0.. {
            tx.blocking_send(numbered(n)).unwrap();
            pipe_tx.blocking_send(numbered(n)).unwrap();
        }
    }
    alone(test, async {
        if !may_have_enough() {
            return;
        }
        for round in 0..24 {
            let before = Census::now();
            let (tx, rx) = queue::<Numbered>(4).unwrap();
            let (pipe_tx, pipe_rx) = channel::<Numbered>().unwrap();
            let method = BOTH_METHODS[round % 2];
            let builder = Process::builder().start_method(method);
            let child = builder.spawn(send, (tx, pipe_tx));
            let mut expected = 0;
            let mut killed = false;
            while let Ok(message) = within(rx.recv()).await {
                assert_eq!(check(message), expected);
                expected += 1;
                if let Ok(message) = pipe_rx.try_recv() {
                    check(message);
                }
                if expected == 4 && !killed {
                    killed = true;
                    tokio::time::sleep(Duration::from_micros(83 * round as u64)).await;
                    child.abort();
                }
            }
            while let Ok(message) = within(pipe_rx.recv()).await {
                check(message);
            }
            assert_eq!(
                within(child).await.unwrap_err().kind(),
                ErrorKind::Cancelled
            );
            drop((rx, pipe_rx));
            before.assert_none().await;
        }
    })
    .await;
}
