//! Pipes: one to one, in both directions, for messages and for bytes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod deadline;
mod leftovers;
mod notes;

use std::collections::BTreeMap;
use std::fs::File;
use std::future::poll_fn;
use std::io::{Read as _, Seek as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use deadline::within;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _, TryStreamExt as _};
use leftovers::{Census, alone};
use notes::{Board, Desk};
use procession::{
    BytePipe, Descriptor, ErrorKind, Pipe, PipeReceiver, PipeSender, Pool, RecvError, TryRecvError,
    byte_pipe, channel, pipe, queue, spawn,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn echo(pipe: Pipe<u64, u64>) {
    while let Ok(n) = pipe.recv().await {
        pipe.send(n + 1).await.unwrap();
    }
}

fn echo_blocking(pipe: Pipe<u64, u64>) {
    while let Ok(n) = pipe.blocking_recv() {
        pipe.blocking_send(n + 1).unwrap();
    }
}

#[procession::test]
async fn requests_and_replies_10_000_times() {
    let (here, there) = pipe::<u64, u64>().unwrap();
    let child = spawn(echo, there);
    for n in 0..10_000 {
        here.send(n).await.unwrap();
        assert_eq!(within(here.recv()).await, Ok(n + 1));
    }
    drop(here);
    within(child).await.unwrap();
}

#[procession::test]
async fn requests_and_replies_10_000_times_blocking() {
    let (here, there) = pipe::<u64, u64>().unwrap();
    let child = spawn(echo_blocking, there);
    let asking = tokio::task::spawn_blocking(move || {
        (0..10_000).all(|n| {
            here.blocking_send(n).unwrap();
            here.blocking_recv() == Ok(n + 1)
        })
    });
    assert!(within(asking).await.unwrap());
    within(child).await.unwrap();
}

#[procession::test]
async fn both_directions_at_once_through_one_reference() {
    let (here, there) = pipe::<u64, u64>().unwrap();
    let child = spawn(echo, there);
    let (sending, receiving) = (&here, &here);
    let send = async {
        for n in 0..3_000 {
            sending.send(n).await.unwrap();
        }
    };
    let receive = async {
        for n in 0..3_000 {
            assert_eq!(receiving.recv().await, Ok(n + 1));
        }
    };
    within(futures::future::join(send, receive)).await;
    let (tx, rx) = here.into_split();
    drop(tx);
    assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
    within(child).await.unwrap();
}

#[procession::test]
async fn a_pipe_is_a_sink_and_a_stream() {
    let (here, there) = pipe::<u64, u64>().unwrap();
    let child = spawn(echo, there);
    let (mut sink, stream) = here.split();
    let sending = async {
        let mut input = futures::stream::iter((0..500).map(Ok));
        sink.send_all(&mut input).await.unwrap();
    };
    let (all, ()) = within(futures::future::join(
        stream.take(500).try_collect::<Vec<_>>(),
        sending,
    ))
    .await;
    assert!(all.unwrap().into_iter().eq(1..=500));
    drop(sink);
    within(child).await.unwrap();
}

#[procession::test]
async fn the_forms_that_try() {
    let (a, b) = pipe::<u8, String>().unwrap();
    assert_eq!(b.try_recv(), Err(TryRecvError::Empty));
    a.try_send(7).unwrap();
    b.try_send("seven".to_owned()).unwrap();
    assert_eq!(b.try_recv(), Ok(7));
    assert_eq!(a.try_recv().unwrap(), "seven");
    a.try_send(8).unwrap();
    assert!(!b.is_closed());
    drop(a);
    assert!(b.is_closed());
    within(b.closed()).await;
    assert_eq!(b.try_recv(), Ok(8));
    assert_eq!(b.try_recv(), Err(TryRecvError::Closed));
    let back = b.try_send("nobody".to_owned()).unwrap_err();
    assert!(back.is_closed());
    assert_eq!(back.into_inner(), "nobody");
}

#[procession::test]
async fn closing_and_crashing() {
    let (a, b) = pipe::<u8, u8>().unwrap();
    a.send(1).await.unwrap();
    b.close();
    assert!(a.is_closed() && within(a.send(2)).await.unwrap_err().is_closed());
    assert_eq!(within(a.recv()).await, Err(RecvError::Closed));
    assert_eq!(within(b.recv()).await, Ok(1));
    assert_eq!(within(b.recv()).await, Err(RecvError::Closed));

    let (a, b) = pipe::<u8, u8>().unwrap();
    let child = spawn(
        |b: Pipe<u8, u8>| {
            b.blocking_send(5).unwrap();
            b.blocking_recv().unwrap()
        },
        b,
    );
    assert_eq!(within(a.recv()).await, Ok(5));
    let mut more = a.recv();
    assert!((&mut more).now_or_never().is_none());
    child.abort();
    assert_eq!(within(more).await, Err(RecvError::Closed));
    within(a.closed()).await;
    assert!(within(a.send(1)).await.is_err());
}

#[procession::test]
async fn long_messages_both_ways() {
    let (a, b) = pipe::<ByteBuf, ByteBuf>().unwrap();
    let child = spawn(
        async |b: Pipe<ByteBuf, ByteBuf>| {
            while let Ok(bytes) = b.recv().await {
                b.send(bytes).await.unwrap();
            }
        },
        b,
    );
    for len in [0, 65_000, 66_000, 1 << 20, 5 << 20] {
        let bytes = ByteBuf::from((0..len).map(|i| i as u8).collect::<Vec<_>>());
        a.send(bytes.clone()).await.unwrap();
        assert!(within(a.recv()).await.unwrap() == bytes);
    }
    drop(a);
    within(child).await.unwrap();
}

#[procession::test]
async fn an_end_through_a_pipe_and_back() {
    let (way, out) = channel::<(PipeSender<u8>, Pipe<u8, u8>, BytePipe)>().unwrap();
    let (tx, rx) = channel::<u8>().unwrap();
    let (a, b) = pipe::<u8, u8>().unwrap();
    let (mut bytes, there) = byte_pipe().unwrap();
    way.send((tx, b, there)).await.unwrap();
    let child = spawn(
        async |out: PipeReceiver<(PipeSender<u8>, Pipe<u8, u8>, BytePipe)>| {
            let (tx, pipe, mut bytes) = out.recv().await.unwrap();
            tx.send(pipe.recv().await.unwrap()).await.unwrap();
            bytes.write_all(b"bytes").await.unwrap();
            pipe
        },
        out,
    );
    a.send(3).await.unwrap();
    assert_eq!(within(rx.recv()).await, Ok(3));
    let mut text = String::new();
    within(bytes.read_to_string(&mut text)).await.unwrap();
    assert_eq!(text, "bytes");
    let b = within(child).await.unwrap();
    assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
    b.send(4).await.unwrap();
    assert_eq!(within(a.recv()).await, Ok(4));
}

/// Somebody who keeps what he sends: serde's `rc` feature does the same.
#[derive(Debug)]
struct Shared<T>(Arc<T>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Shared<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|value| Self(Arc::new(value)))
    }
}

#[procession::test]
async fn sending_an_end_moves_it() {
    let (tx, rx) = queue::<(Vec<Shared<PipeSender<u8>>>, ByteBuf)>(4).unwrap();
    let (end, other) = channel::<u8>().unwrap();
    let end = Shared(Arc::new(end));
    for len in [0, 100_000] {
        // The same end twice is no message, and changes nothing.
        let twice = (vec![end.clone(), end.clone()], ByteBuf::from(vec![0; len]));
        assert!(within(tx.send(twice)).await.unwrap_err().is_encode());
        assert!(!end.0.is_closed());
    }
    end.0.send(1).await.unwrap();
    let long = ByteBuf::from(vec![0; 100_000]);
    tx.send((vec![end.clone()], long)).await.unwrap();
    assert!(end.0.is_closed());
    assert!(within(end.0.send(2)).await.unwrap_err().is_closed());
    let again = tx
        .try_send((vec![end.clone()], ByteBuf::new()))
        .unwrap_err();
    assert!(again.is_encode());
    let (moved, _) = within(rx.recv()).await.unwrap();
    // Nor can what is left of it be closed from here.
    end.0.close();
    moved[0].0.send(3).await.unwrap();
    assert_eq!(within(other.recv()).await, Ok(1));
    assert_eq!(within(other.recv()).await, Ok(3));
    // What could not be sent for want of room or receivers has not moved.
    let (end, other) = channel::<u8>().unwrap();
    let end = Shared(Arc::new(end));
    drop(rx);
    let back = tx
        .try_send((vec![end.clone()], ByteBuf::new()))
        .unwrap_err();
    assert!(back.is_closed() && !end.0.is_closed());
    end.0.send(1).await.unwrap();
    assert_eq!(within(other.recv()).await, Ok(1));
}

/// Whether somebody was woken since it was asked last.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Polls `future` until it waits to be woken by somebody else.
async fn falls_asleep(future: &mut (impl Future + Unpin), woken: &Arc<Woken>) {
    let waker = Waker::from(Arc::clone(woken));
    let polls = poll_fn(|cx| {
        let polled = future.poll_unpin(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        match woken.0.swap(false, Ordering::SeqCst) {
            true => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            false => Poll::Ready(()),
        }
    });
    within(polls).await;
}

#[procession::test]
async fn who_waits_at_an_end_hears_that_it_is_sent_elsewhere() {
    let (tx, rx) = queue::<Shared<PipeReceiver<u8>>>(4).unwrap();
    let (other, end) = channel::<u8>().unwrap();
    let end = Shared(Arc::new(end));
    let (mut waiting, mut watching) = (end.0.recv(), end.0.closed());
    let woken = [(); 2].map(|()| Arc::<Woken>::default());
    falls_asleep(&mut waiting, &woken[0]).await;
    falls_asleep(&mut watching, &woken[1]).await;
    tx.send(end.clone()).await.unwrap();
    assert!(woken.iter().all(|it| it.0.load(Ordering::SeqCst)));
    assert_eq!(within(waiting).await, Err(RecvError::Closed));
    within(watching).await;
    let moved = within(rx.recv()).await.unwrap();
    other.send(5).await.unwrap();
    assert_eq!(within(moved.0.recv()).await, Ok(5));
}

#[procession::test]
async fn a_blocked_thread_hears_that_its_end_is_sent_elsewhere() {
    let (tx, rx) = queue::<Shared<PipeReceiver<u8>>>(4).unwrap();
    for _ in 0..20 {
        let (other, end) = channel::<u8>().unwrap();
        let end = Shared(Arc::new(end));
        let blocked: Vec<_> = (0..2)
            .map(|_| {
                let end = end.clone();
                tokio::task::spawn_blocking(move || end.0.blocking_recv())
            })
            .collect();
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        tx.send(end).await.unwrap();
        for blocked in blocked {
            assert_eq!(within(blocked).await.unwrap(), Err(RecvError::Closed));
        }
        let moved = within(rx.recv()).await.unwrap();
        other.send(5).await.unwrap();
        assert_eq!(within(moved.0.recv()).await, Ok(5));
    }
}

/// Long enough to be torn if two write at the same time.
type Numbered = (u8, u64, [u64; 16]);

fn send_numbered(who: u8, tx: &PipeSender<Numbered>, most: u64) -> u64 {
    let sent = (0..most).take_while(|n| tx.blocking_send((who, *n, [*n; 16])).is_ok());
    sent.count() as u64
}

/// As a message and as an argument of a process, while threads and tasks of this process send through it.
#[procession::test]
async fn an_end_is_sent_elsewhere_while_others_send_through_it() {
    for round in 0..40 {
        let (tx, rx) = channel::<Numbered>().unwrap();
        let tx = Shared(Arc::new(tx));
        let receiving = tokio::spawn(async move {
            let mut counts = [0_u64; 4];
            while let Ok((who, number, copies)) = rx.recv().await {
                assert!(copies.iter().all(|copy| *copy == number), "torn");
                let count = &mut counts[usize::from(who)];
                assert_eq!(number, *count, "of {who}");
                *count += 1;
            }
            counts
        });
        let threads: Vec<_> = (0..2)
            .map(|who| {
                let tx = tx.clone();
                tokio::task::spawn_blocking(move || send_numbered(who, &tx.0, u64::MAX))
            })
            .collect();
        let task = tokio::spawn({
            let tx = tx.clone();
            async move {
                for n in 0.. {
                    if tx.0.send((2, n, [n; 16])).await.is_err() {
                        return n;
                    }
                }
                unreachable!()
            }
        });
        tokio::time::sleep(std::time::Duration::from_micros(round * 100)).await;
        let child = match round % 2 {
            0 => spawn(
                |tx: Shared<PipeSender<Numbered>>| send_numbered(3, &tx.0, 5_000),
                tx,
            ),
            _ => {
                let (way, out) = channel::<Shared<PipeSender<Numbered>>>().unwrap();
                way.send(tx).await.unwrap();
                spawn(
                    |out: PipeReceiver<Shared<PipeSender<Numbered>>>| {
                        send_numbered(3, &out.blocking_recv().unwrap().0, 5_000)
                    },
                    out,
                )
            }
        };
        let mut sent = [0; 4];
        for (who, thread) in threads.into_iter().enumerate() {
            sent[who] = within(thread).await.unwrap();
        }
        sent[2] = within(task).await.unwrap();
        sent[3] = within(child).await.unwrap();
        assert_eq!(sent[3], 5_000);
        assert_eq!(within(receiving).await.unwrap(), sent);
    }
}

/// One process at a time holds an end, however it was sent.
#[procession::test]
async fn an_end_that_is_sent_twice_arrives_once() {
    let (tx, rx) = channel::<u8>().unwrap();
    let tx = Shared(Arc::new(tx));
    let (waits, go) = channel::<()>().unwrap();
    let first = spawn(
        |tx: Shared<PipeSender<u8>>, go: PipeReceiver<()>| {
            tx.0.blocking_send(1).unwrap();
            go.blocking_recv().unwrap();
        },
        (tx.clone(), go),
    );
    assert_eq!(within(rx.recv()).await, Ok(1));
    assert!(tx.0.is_closed() && tx.0.try_send(2).unwrap_err().is_closed());
    let second = within(spawn(
        |tx: Shared<PipeSender<u8>>| tx.0.is_closed(),
        tx.clone(),
    ))
    .await;
    let error = second.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.to_string().contains("twice"), "{error}");
    waits.send(()).await.unwrap();
    within(first).await.unwrap();
}

/// An end that can be in its own message.
#[derive(Debug, Serialize, Deserialize)]
struct Snake(Option<Shared<PipeSender<Snake>>>);

#[procession::test]
async fn an_end_does_not_go_through_itself() {
    let (tx, rx) = channel::<Snake>().unwrap();
    let tx = Shared(Arc::new(tx));
    let refused = within(tx.0.send(Snake(Some(tx.clone())))).await;
    let error = refused.unwrap_err();
    assert!(error.to_string().contains("itself"), "{error}");
    tx.0.send(Snake(None)).await.unwrap();
    assert!(within(rx.recv()).await.unwrap().0.is_none());
}

async fn upper(mut pipe: BytePipe) {
    let mut bytes = [0; 1000];
    loop {
        let n = pipe.read(&mut bytes).await.unwrap();
        if n == 0 {
            break;
        }
        bytes[..n].make_ascii_uppercase();
        pipe.write_all(&bytes[..n]).await.unwrap();
    }
    pipe.write_all(b".").await.unwrap();
}

#[procession::test]
async fn a_pipe_of_bytes() {
    let (mut here, there) = byte_pipe().unwrap();
    let child = spawn(upper, there);
    let text = "some words ".repeat(50_000);
    let (mut read, mut write) = tokio::io::split(&mut here);
    let sending = async {
        write.write_all(text.as_bytes()).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let mut got = String::new();
    let (read, ()) = within(futures::future::join(
        read.read_to_string(&mut got),
        sending,
    ))
    .await;
    read.unwrap();
    assert!(got == text.to_uppercase() + ".");
    within(child).await.unwrap();
    // The end of a killed process.
    let (mut here, there) = byte_pipe().unwrap();
    let child = spawn(upper, there);
    here.write_all(b"a").await.unwrap();
    assert_eq!(within(here.read_u8()).await.unwrap(), b'A');
    child.abort();
    assert_eq!(within(here.read(&mut [0; 8])).await.unwrap(), 0);
}

#[derive(Debug, Serialize, Deserialize)]
struct Files {
    file: Descriptor<File>,
    any: Descriptor<OwnedFd>,
    listener: Descriptor<TcpListener>,
    tcp: Descriptor<TcpStream>,
    unix: Option<Descriptor<UnixStream>>,
    named: BTreeMap<String, (u8, Descriptor<UnixListener>)>,
}

fn use_files(mut files: Files) -> Files {
    files.file.write_all(b"from the child").unwrap();
    files.unix.as_mut().unwrap().write_all(b"unix").unwrap();
    files.tcp.write_all(b"tcp").unwrap();
    let (mut accepted, _) = files.listener.accept().unwrap();
    accepted.write_all(b"accepted").unwrap();
    let (mut accepted, _) = files.named["one"].1.accept().unwrap();
    accepted.write_all(b"named").unwrap();
    files
}

/// As an argument and a result of a process and a task, and as messages.
#[procession::test]
async fn files_and_sockets_travel() {
    alone("files_and_sockets_travel", async {
        for how in 0..3 {
            let path = std::env::temp_dir().join(format!("travel-{}-{how}", std::process::id()));
            let mut options = File::options();
            let file = options.create_new(true).read(true).write(true).open(&path);
            std::fs::remove_file(&path).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut tcp_here, _) = listener.accept().unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut unix_here, unix) = UnixStream::pair().unwrap();
            let place = SocketAddr::from_abstract_name(format!("{path:?}")).unwrap();
            let named = UnixListener::bind_addr(&place).unwrap();
            let mut named_here = UnixStream::connect_addr(&place).unwrap();
            let files = Files {
                file: file.unwrap().into(),
                any: Descriptor(unix.try_clone().unwrap().into()),
                listener: listener.into(),
                tcp: tcp.into(),
                unix: Some(unix.into()),
                named: BTreeMap::from([("one".to_owned(), (1, named.into()))]),
            };
            let mut back = match how {
                0 => within(spawn(use_files, files)).await.unwrap(),
                1 => {
                    let pool = Pool::with_workers(1).unwrap();
                    within(pool.run(use_files, files)).await.unwrap()
                }
                _ => {
                    let (a, b) = pipe::<Files, Files>().unwrap();
                    a.send(files).await.unwrap();
                    let child = spawn(
                        |b: Pipe<Files, Files>| {
                            let files = b.blocking_recv().unwrap();
                            b.blocking_send(use_files(files)).unwrap();
                        },
                        b,
                    );
                    within(child).await.unwrap();
                    within(a.recv()).await.unwrap()
                }
            };
            let mut text = String::new();
            back.file.rewind().unwrap();
            back.file.read_to_string(&mut text).unwrap();
            assert_eq!(text, "from the child");
            drop(back);
            for (stream, expected) in [(&mut tcp_here, "tcp"), (&mut client, "accepted")] {
                let mut text = String::new();
                stream.read_to_string(&mut text).unwrap();
                assert_eq!(text, expected);
            }
            for (stream, expected) in [(&mut unix_here, "unix"), (&mut named_here, "named")] {
                let mut text = String::new();
                stream.read_to_string(&mut text).unwrap();
                assert_eq!(text, expected);
            }
        }
    })
    .await;
}

#[procession::test]
async fn a_descriptor_is_serialised_in_a_send_and_nowhere_else() {
    let (tx, rx) = queue::<u8>(1).unwrap();
    let (a, _b) = pipe::<u8, u8>().unwrap();
    let file = Descriptor(File::open("/dev/null").unwrap());
    assert!(postcard::to_slice(&file, &mut [0; 64]).is_err());
    assert!(postcard::to_slice(&tx, &mut [0; 64]).is_err());
    assert!(postcard::to_slice(&rx, &mut [0; 64]).is_err());
    assert!(postcard::to_slice(&a, &mut [0; 64]).is_err());
    assert!(postcard::from_bytes::<Descriptor<File>>(&[0]).is_err());
    assert!(!a.is_closed());
}

type Many = Vec<Descriptor<File>>;

#[procession::test]
async fn more_descriptors_than_the_kernel_takes() {
    let many = |n: usize| -> Many {
        let file = File::open("/dev/null").unwrap();
        (0..n).map(|_| file.try_clone().unwrap().into()).collect()
    };
    let error = within(spawn(|many: Many| many.len(), many(254)))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    assert!(error.to_string().contains("253"), "{error}");
    assert_eq!(
        within(spawn(|many: Many| many.len(), many(253)))
            .await
            .unwrap(),
        253
    );
    let (tx, rx) = queue::<(Many, ByteBuf)>(4).unwrap();
    let error = within(tx.send((many(254), ByteBuf::new())))
        .await
        .unwrap_err();
    assert!(error.is_encode());
    assert!(error.to_string().contains("253"), "{error}");
    assert_eq!(error.into_inner().unwrap().0.len(), 254);
    let long = || ByteBuf::from(vec![0; 100_000]);
    assert!(
        within(tx.send((many(253), long())))
            .await
            .unwrap_err()
            .is_encode()
    );
    tx.send((many(252), long())).await.unwrap();
    tx.send((many(253), ByteBuf::new())).await.unwrap();
    let child = spawn(
        |rx: procession::Receiver<(Many, ByteBuf)>| {
            let count = || rx.blocking_recv().unwrap().0.len();
            (count(), count())
        },
        rx,
    );
    assert_eq!(within(child).await.unwrap(), (252, 253));
}

/// A queue's worth of messages with descriptors, more than a socket has room for.
#[procession::test]
async fn many_messages_with_descriptors() {
    let (tx, rx) = queue::<(u32, Descriptor<File>)>(2_000).unwrap();
    let child = spawn(
        |rx: procession::Receiver<(u32, Descriptor<File>)>, desk: Desk| {
            desk.wait("go");
            let mut next = 0;
            while let Ok((n, mut file)) = rx.blocking_recv() {
                assert_eq!((n, file.read(&mut [0; 1]).unwrap()), (next, 1));
                next += 1;
            }
            next
        },
        {
            let board = Board::new();
            let desk = board.desk();
            tokio::spawn(async move {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                board.write("go", 1);
                tokio::time::sleep(deadline::LIMIT).await;
            });
            (rx, desk)
        },
    );
    for n in 0..1_000 {
        let zeros = File::open("/dev/zero").unwrap();
        within(tx.send((n, zeros.into()))).await.unwrap();
    }
    drop(tx);
    assert_eq!(within(child).await.unwrap(), 1_000);
}

struct Refuses;

impl Serialize for Refuses {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("never"))
    }
}

impl<'de> Deserialize<'de> for Refuses {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("never"))
    }
}

struct RefusesHere;

impl Serialize for RefusesHere {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for RefusesHere {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("never"))
    }
}

/// However a message ends, what it carried is closed.
#[procession::test]
async fn a_message_that_is_never_decoded_closes_what_it_carried() {
    alone(
        "a_message_that_is_never_decoded_closes_what_it_carried",
        async {
            for len in [0, 100_000, 2 << 20] {
                let bytes = || ByteBuf::from(vec![0; len]);
                let (reader, writer) = UnixStream::pair().unwrap();
                let copy = || Descriptor(writer.try_clone().unwrap());
                // Never received.
                let (tx, rx) = queue::<(Descriptor<UnixStream>, ByteBuf)>(4).unwrap();
                tx.send((copy(), bytes())).await.unwrap();
                drop((tx, rx));
                // Not decodable, not encodable.
                let (tx, rx) = queue::<(Descriptor<UnixStream>, ByteBuf, RefusesHere)>(4).unwrap();
                tx.send((copy(), bytes(), RefusesHere)).await.unwrap();
                assert!(matches!(within(rx.recv()).await, Err(RecvError::Decode(_))));
                let (tx, _rx) = queue::<(Descriptor<UnixStream>, ByteBuf, Refuses)>(4).unwrap();
                assert!(within(tx.send((copy(), bytes(), Refuses))).await.is_err());
                // Given up while it waits for room.
                let (tx, _rx) = queue::<(Descriptor<UnixStream>, ByteBuf)>(1).unwrap();
                tx.send((copy(), bytes())).await.unwrap();
                assert!(tx.send((copy(), bytes())).now_or_never().is_none());
                drop((tx, _rx, writer));
                let mut reader = reader;
                let end = tokio::task::spawn_blocking(move || reader.read(&mut [0; 1]).unwrap());
                assert_eq!(within(end).await.unwrap(), 0);
            }
        },
    )
    .await;
}

#[procession::test]
async fn channels_are_opened_and_closed_10_000_times() {
    alone("channels_are_opened_and_closed_10_000_times", async {
        let before = Census::now();
        for n in 0..10_000_u32 {
            let (tx, rx) = queue::<u32>(1).unwrap();
            let (a, b) = pipe::<u32, u32>().unwrap();
            tx.try_send(n).unwrap();
            a.try_send(n).unwrap();
            if n % 10 == 0 {
                assert!(tx.send(n).now_or_never().is_none());
                assert_eq!(within(b.recv()).await, Ok(n));
                assert_eq!(within(rx.recv()).await, Ok(n));
                for _ in 0..200 {
                    // Until it does not only look, but waits.
                    let mut waiting = rx.recv();
                    assert!((&mut waiting).now_or_never().is_none());
                }
            }
        }
        before.assert_none().await;
    })
    .await;
}

#[procession::test]
async fn descriptors_above_255() {
    alone("descriptors_above_255", async {
        let null = File::open("/dev/null").unwrap();
        let _many: Vec<_> = (0..400).map(|_| null.try_clone().unwrap()).collect();
        let (here, there) = pipe::<u64, u64>().unwrap();
        let child = spawn(echo, there);
        for n in 0..100 {
            here.send(n).await.unwrap();
            assert_eq!(within(here.recv()).await, Ok(n + 1));
        }
        drop(here);
        within(child).await.unwrap();
    })
    .await;
}
