//! Messages that contain ends of their own channel, and handles of calls that give such messages.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};

use futures::{FutureExt as _, SinkExt as _};
use procession::{
    Descriptor, Map, Pipe, PipeReceiver, PipeSender, Process, ProcessHandle, Receiver, Run, Sender,
    StartMethod, TaskHandle, channel, pipe, queue,
};
use serde::{Deserialize, Serialize};

use crate::deadline::within;

const BOTH_METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Exec];

#[derive(Debug, Serialize, Deserialize)]
struct Myself {
    n: u64,
    me: Option<Sender<Myself>>,
    inbox: Option<Receiver<Myself>>,
}

/// Sends itself to itself until it has been sent 100 times. The last message has no ends.
fn act(rx: Receiver<Myself>) -> u64 {
    loop {
        let Myself { n, me, inbox } = rx.blocking_recv().unwrap();
        let Some(tx) = me.clone() else {
            assert!(inbox.is_none());
            return n;
        };
        let (me, inbox) = if n < 99 { (me, inbox) } else { (None, None) };
        let n = n + 1;
        tx.blocking_send(Myself { n, me, inbox }).unwrap();
    }
}

#[procession::test]
async fn actor_sends_itself_its_own_ends() {
    for method in BOTH_METHODS {
        let (tx, rx) = queue::<Myself>(4).unwrap();
        let builder = Process::builder().start_method(method);
        let actor = builder.spawn(act, rx.clone());
        let first = Myself {
            n: 0,
            me: Some(tx.clone()),
            inbox: Some(rx),
        };
        within(tx.send(first)).await.unwrap();
        assert_eq!(within(actor).await.unwrap(), 100);
    }
}

/// The message that waits in a sink contains the sink's own queue.
#[procession::test]
async fn own_end_waits_in_a_sink() {
    let (mut tx, rx) = queue::<Myself>(1).unwrap();
    for n in 0..2 {
        let me = Some(tx.clone());
        let inbox = None;
        tx.feed(Myself { n, me, inbox }).await.unwrap();
    }
    assert!(tx.flush().now_or_never().is_none());
    assert_eq!(within(rx.recv()).await.unwrap().n, 0);
    within(tx.flush()).await.unwrap();
    let last = within(rx.recv()).await.unwrap();
    drop(tx);
    last.me.unwrap().try_send(act_once(7)).unwrap();
    assert_eq!(within(rx.recv()).await.unwrap().n, 7);
    assert!(within(rx.recv()).await.is_err());
}

fn act_once(n: u64) -> Myself {
    let (me, inbox) = (None, None);
    Myself { n, me, inbox }
}

#[derive(Debug, Serialize, Deserialize)]
struct Traveller {
    steps: u64,
    file: Descriptor<File>,
    onward: Option<PipeSender<Traveller>>,
    back: Option<PipeReceiver<Traveller>>,
    both: Option<Pipe<Traveller, Traveller>>,
}

/// Takes a step of the traveller, and sends it over what it brings.
fn guide(arrivals: PipeReceiver<Traveller>) {
    let mut traveller = arrivals.blocking_recv().unwrap();
    let mut onward = traveller.onward.take().unwrap();
    while let Ok(mut next) = traveller.back.take().unwrap().blocking_recv() {
        next.file.write_all(b"x").unwrap();
        next.steps += 1;
        let following = next.onward.take();
        traveller.back = next.back.take();
        onward.blocking_send(next).unwrap();
        match following {
            Some(following) => onward = following,
            None => return,
        }
    }
}

#[procession::test]
async fn ends_of_pipes_travel_through_pipes_of_their_own_type() {
    for method in BOTH_METHODS {
        let mut file = tempfile();
        let blank = || Traveller {
            steps: 0,
            file: Descriptor(file.try_clone().unwrap()),
            onward: None,
            back: None,
            both: None,
        };
        let (tx, rx) = channel::<Traveller>().unwrap();
        let (there, arrivals) = channel::<Traveller>().unwrap();
        let (onward, home) = channel::<Traveller>().unwrap();
        let guide = Process::builder()
            .start_method(method)
            .spawn(guide, arrivals);
        let first = Traveller {
            onward: Some(onward),
            back: Some(rx),
            ..blank()
        };
        within(there.send(first)).await.unwrap();
        let (a, b) = pipe::<Traveller, Traveller>().unwrap();
        let with_pipe = Traveller {
            both: Some(b),
            ..blank()
        };
        within(tx.send(with_pipe)).await.unwrap();
        let returned = within(home.recv()).await.unwrap();
        assert_eq!(returned.steps, 1);
        within(guide).await.unwrap();
        // The pipe that has come back carries travellers too.
        within(returned.both.unwrap().send(blank())).await.unwrap();
        assert_eq!(within(a.recv()).await.unwrap().steps, 0);
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
    }
}

fn tempfile() -> File {
    let memory = rustix::fs::memfd_create("traveller", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    File::from(memory)
}

/// A message that keeps handles of calls whose results are such messages. The handles stay in this process.
#[derive(Default, Serialize, Deserialize)]
struct Keeper {
    to: Option<Sender<Keeper>>,
    #[serde(skip)]
    task: Option<TaskHandle<Keeper>>,
    #[serde(skip)]
    process: Option<ProcessHandle<Keeper>>,
    #[serde(skip)]
    run: Option<Run<Keeper>>,
    #[serde(skip)]
    map: Option<Map<'static, Keeper>>,
}

#[procession::test]
async fn handles_give_messages_that_contain_such_handles() {
    fn is_send<T: Send>(_: &T) {}
    let (tx, rx) = queue::<Keeper>(2).unwrap();
    let pool = procession::Pool::with_workers(1).unwrap();
    let give = |to: Option<Sender<Keeper>>| Keeper {
        to,
        ..Keeper::default()
    };
    let mut keeper = give(Some(tx.clone()));
    keeper.task = Some(pool.spawn(give, Some(tx.clone())));
    keeper.process = Some(procession::spawn(give, Some(tx)));
    keeper.run = Some(pool.run(give, None));
    keeper.map = Some(pool.map(give, [None, None]));
    is_send(&keeper);
    let mapped = within(keeper.map.take().unwrap()).await.unwrap();
    assert_eq!(mapped.len(), 2);
    assert!(
        within(keeper.run.take().unwrap())
            .await
            .unwrap()
            .to
            .is_none()
    );
    let given = within(keeper.task.take().unwrap()).await.unwrap();
    within(given.to.unwrap().send(keeper)).await.unwrap();
    let received = within(rx.recv()).await.unwrap();
    assert!(received.to.is_some() && received.process.is_none());
}

#[test]
fn ends_keep_their_auto_traits() {
    fn check<T: Send + Sync + Unpin + std::panic::UnwindSafe>() {}
    check::<Sender<Myself>>();
    check::<Receiver<Myself>>();
    check::<PipeSender<Traveller>>();
    check::<PipeReceiver<Traveller>>();
    check::<Pipe<Traveller, Traveller>>();
    check::<Sender<std::cell::Cell<u8>>>();
    fn check_pinned<T: Send + Sync + Unpin>() {}
    check_pinned::<Sender<std::marker::PhantomPinned>>();
    check_pinned::<PipeSender<std::marker::PhantomPinned>>();
}
