//! Descriptors in messages.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use futures::FutureExt as _;
use procession::{Descriptor, ErrorKind, Pipe, Pool, RecvError, pipe, queue, spawn};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::deadline::{self, within};
use crate::leftovers::{Census, alone};
use crate::notes::{Board, Desk};
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

/// As an argument and a result of a process and a task, and as messages.
#[procession::test]
async fn files_and_sockets_travel() {
    alone("descriptors::files_and_sockets_travel", async {
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
        "descriptors::a_message_that_is_never_decoded_closes_what_it_carried",
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
    alone(
        "descriptors::channels_are_opened_and_closed_10_000_times",
        async {
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
        },
    )
    .await;
}

#[procession::test]
async fn descriptors_above_255() {
    alone("descriptors::descriptors_above_255", async {
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
