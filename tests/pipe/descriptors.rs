//! Descriptors beside messages: files and sockets travel, and none is left open.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use futures::FutureExt as _;
use procession::{Descriptor, Pipe, Pool, Receiver, RecvError, pipe, queue, spawn};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::asleep::asleep;
use crate::deadline::within;
use crate::leftovers::{Census, alone};
use crate::notes::{Board, Notes};
use crate::tasks::echo;

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

/// The other ends of what is in [`Files`].
struct Peers {
    accepted: TcpStream,
    client: TcpStream,
    unix: UnixStream,
    named: UnixStream,
}

fn files_and_peers(name: &str) -> (Files, Peers) {
    let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
    let mut options = File::options();
    let file = options.create_new(true).read(true).write(true).open(&path);
    std::fs::remove_file(&path).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (unix_here, unix) = UnixStream::pair().unwrap();
    let address = SocketAddr::from_abstract_name(format!("{path:?}")).unwrap();
    let named = UnixListener::bind_addr(&address).unwrap();
    let files = Files {
        file: file.unwrap().into(),
        any: Descriptor(unix.try_clone().unwrap().into()),
        listener: listener.into(),
        tcp: tcp.into(),
        unix: Some(unix.into()),
        named: BTreeMap::from([("one".to_owned(), (1, named.into()))]),
    };
    let peers = Peers {
        accepted,
        client,
        unix: unix_here,
        named: UnixStream::connect_addr(&address).unwrap(),
    };
    (files, peers)
}

/// Sends the files through a pipe to a process, which sends them back.
async fn use_through_pipe(files: Files) -> Files {
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

fn read_to_end(mut from: impl Read) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).unwrap();
    text
}

/// Checks what the other process wrote. The files are the last copies: each peer sees the end of its stream.
fn assert_used(mut files: Files, peers: Peers) {
    files.file.rewind().unwrap();
    assert_eq!(read_to_end(&mut *files.file), "from the child");
    drop(files);
    assert_eq!(read_to_end(peers.accepted), "tcp");
    assert_eq!(read_to_end(peers.client), "accepted");
    assert_eq!(read_to_end(peers.unix), "unix");
    assert_eq!(read_to_end(peers.named), "named");
}

#[procession::test]
async fn descriptors_travel_in_arguments_results_and_messages() {
    let test = "descriptors::descriptors_travel_in_arguments_results_and_messages";
    alone(test, async {
        let (files, peers) = files_and_peers("of-process");
        assert_used(within(spawn(use_files, files)).await.unwrap(), peers);
        let pool = Pool::with_workers(1).unwrap();
        let (files, peers) = files_and_peers("of-task");
        assert_used(within(pool.run(use_files, files)).await.unwrap(), peers);
        let (files, peers) = files_and_peers("of-message");
        assert_used(use_through_pipe(files).await, peers);
    })
    .await;
}

/// The kernel takes fewer descriptors into a socket than the queue takes messages.
#[procession::test]
async fn messages_with_descriptors_wait_for_room_in_the_socket() {
    let (tx, rx) = queue::<(u32, Descriptor<File>)>(2_000).unwrap();
    let board = Board::new();
    let child = spawn(
        |rx: Receiver<(u32, Descriptor<File>)>, notes: Notes| {
            notes.wait("full");
            let mut next = 0;
            while let Ok((n, mut file)) = rx.blocking_recv() {
                assert_eq!((n, file.read(&mut [0; 1]).unwrap()), (next, 1));
                next += 1;
            }
            next
        },
        (rx, board.notes()),
    );
    for n in 0..1_000 {
        let zeros = File::open("/dev/zero").unwrap();
        match tx.try_send((n, zeros.into())) {
            Ok(()) => {}
            Err(refused) => {
                assert!(refused.is_full(), "{refused}");
                let mut sending = tx.send(refused.into_inner());
                if !board.has("full") {
                    assert!((&mut sending).now_or_never().is_none());
                    board.write("full", n);
                }
                within(sending).await.unwrap();
            }
        }
    }
    assert!(board.has("full"));
    drop(tx);
    assert_eq!(within(child).await.unwrap(), 1_000);
}

struct NotEncoded;

impl Serialize for NotEncoded {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("never"))
    }
}

impl<'de> Deserialize<'de> for NotEncoded {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("never"))
    }
}

struct NotDecoded;

impl Serialize for NotDecoded {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for NotDecoded {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("never"))
    }
}

#[procession::test]
async fn message_that_is_not_decoded_closes_its_descriptors() {
    let test = "descriptors::message_that_is_not_decoded_closes_its_descriptors";
    alone(test, async {
        for len in [0, 100_000, 2 << 20] {
            let bytes = || ByteBuf::from(vec![0; len]);
            let (reader, writer) = UnixStream::pair().unwrap();
            let copy = || Descriptor(writer.try_clone().unwrap());
            // Never received.
            let (tx, rx) = queue::<(Descriptor<UnixStream>, ByteBuf)>(4).unwrap();
            tx.send((copy(), bytes())).await.unwrap();
            drop((tx, rx));
            // Received and not decoded.
            let (tx, rx) = queue::<(Descriptor<UnixStream>, ByteBuf, NotDecoded)>(4).unwrap();
            tx.send((copy(), bytes(), NotDecoded)).await.unwrap();
            assert!(matches!(within(rx.recv()).await, Err(RecvError::Decode(_))));
            // Not encoded.
            let (tx, _rx) = queue::<(Descriptor<UnixStream>, ByteBuf, NotEncoded)>(4).unwrap();
            assert!(
                within(tx.send((copy(), bytes(), NotEncoded)))
                    .await
                    .is_err()
            );
            // Dropped while its send waits for room.
            let (tx, _rx) = queue::<(Descriptor<UnixStream>, ByteBuf)>(1).unwrap();
            tx.send((copy(), bytes())).await.unwrap();
            assert!(tx.send((copy(), bytes())).now_or_never().is_none());
            drop((tx, _rx, writer));
            let mut reader = reader;
            let end = tokio::task::spawn_blocking(move || reader.read(&mut [0; 1]).unwrap());
            assert_eq!(within(end).await.unwrap(), 0);
        }
    })
    .await;
}

#[procession::test]
async fn channels_created_and_dropped_leave_nothing() {
    let test = "descriptors::channels_created_and_dropped_leave_nothing";
    alone(test, async {
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
                asleep(&mut rx.recv()).await;
            }
        }
        before.assert_none().await;
    })
    .await;
}

#[procession::test]
async fn pipe_works_with_descriptors_above_255() {
    let test = "descriptors::pipe_works_with_descriptors_above_255";
    alone(test, async {
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
