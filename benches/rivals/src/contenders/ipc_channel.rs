//! ipc-channel: Servo's. It blocks, so it is used without a runtime; procspawn starts its processes, and its
//! arguments carry the ends.

use ipc_channel::ipc::{self, IpcBytesReceiver, IpcBytesSender, IpcReceiver, IpcSender};

use crate::stopwatch;
use crate::work::{self, Message};

pub(crate) fn one_to_one() -> Vec<f64> {
    stopwatch::rates(|messages| {
        let (tx, rx) = ipc::channel::<Message>().expect("there are descriptors");
        let produce = |(messages, tx): (u64, IpcSender<Message>)| {
            for _ in 0..messages {
                tx.send(work::MESSAGE).expect("it listens");
            }
        };
        let producer = procspawn::spawn((messages, tx), produce);
        for _ in 0..messages {
            rx.recv().expect("it sends");
        }
        producer.join().expect("nothing kills it");
    })
}

pub(crate) fn large() -> Vec<f64> {
    stopwatch::rates(|messages| {
        let (tx, rx) = ipc::bytes_channel().expect("there are descriptors");
        let rx: IpcBytesReceiver = rx;
        let produce = |(messages, tx): (u64, IpcBytesSender)| {
            let bytes = vec![1; work::LARGE];
            for _ in 0..messages {
                tx.send(&bytes).expect("it listens");
            }
        };
        let producer = procspawn::spawn((messages, tx), produce);
        for _ in 0..messages {
            assert_eq!(rx.recv().expect("it sends").len(), work::LARGE);
        }
        producer.join().expect("nothing kills it");
    })
}

pub(crate) fn round_trip() -> Vec<f64> {
    let (here, requests) = ipc::channel::<Message>().expect("there are descriptors");
    let (replies, answers) = ipc::channel::<Message>().expect("there are descriptors");
    let echo = |(requests, replies): (IpcReceiver<Message>, IpcSender<Message>)| {
        while let Ok(message) = requests.recv() {
            replies.send(message).expect("it listens");
        }
    };
    let mut echo = procspawn::spawn((requests, replies), echo);
    let samples = stopwatch::durations(|| {
        here.send(work::MESSAGE).expect("it listens");
        assert!(answers.recv().expect("it answers") == work::MESSAGE);
    });
    // It may be gone already.
    let _ = echo.kill();
    samples
}
