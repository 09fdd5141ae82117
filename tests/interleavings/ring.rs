//! The ring's sleep flag and the futex on it: one producer, one consumer. Stores become visible late and in any order,
//! as the language allows for stores that are not SeqCst.

use crate::{Model, Modelled, search};

pub(crate) const MODELS: &[Modelled] = &[
    ("Producer::Commit", "src/ring/producer.rs", "commit"),
    (
        "Producer::Fence, LookAtFlag, TakeFlag",
        "src/ring/layout.rs",
        "take_sleeper",
    ),
    ("Producer::Wake", "src/sys/futex.rs", "wake"),
    ("Consumer::Look", "src/ring/consumer.rs", "peek"),
    (
        "Consumer::Announce, Fence",
        "src/ring/layout.rs",
        "announce_sleeper",
    ),
    (
        "Consumer::LookAgain",
        "src/ring/consumer.rs",
        "announce_sleep",
    ),
    ("Consumer::Sleep, Asleep", "src/sys/futex.rs", "wait"),
    ("Consumer::Awake", "src/ring/consumer.rs", "awake"),
];

const ITEMS: u8 = 3;

/// The step that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    ProducerFence,
    ConsumerFence,
    SecondLook,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Producer {
    Commit,
    Fence,
    LookAtFlag,
    TakeFlag,
    Wake,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Consumer {
    Look,
    Announce,
    Fence,
    LookAgain,
    Sleep,
    Asleep,
    Awake,
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    head: u8,
    flag: u8,
    /// Stores that only the storing side sees yet. The newest of a place is enough: it overwrites the older ones.
    late_head: Option<u8>,
    late_flag: Option<u8>,
    producer: Producer,
    consumer: Consumer,
    committed: u8,
    tail: u8,
}

fn start() -> State {
    State {
        head: 0,
        flag: 0,
        late_head: None,
        late_flag: None,
        producer: Producer::Commit,
        consumer: Consumer::Look,
        committed: 0,
        tail: 0,
    }
}

fn produce(state: &State, broken: Broken) -> Option<State> {
    let mut then = state.clone();
    then.producer = match state.producer {
        Producer::Commit => {
            then.committed += 1;
            then.late_head = Some(then.committed);
            Producer::Fence
        }
        Producer::Fence if broken == Broken::ProducerFence => Producer::LookAtFlag,
        // A fence is passed when the stores before it are visible.
        Producer::Fence => {
            if state.late_head.is_some() {
                return None;
            }
            Producer::LookAtFlag
        }
        Producer::LookAtFlag if state.flag != 0 => Producer::TakeFlag,
        Producer::TakeFlag if state.flag != 0 => {
            then.flag = 0;
            Producer::Wake
        }
        Producer::Wake => {
            if state.consumer == Consumer::Asleep {
                then.consumer = Consumer::Awake;
            }
            next_item(state)
        }
        Producer::LookAtFlag | Producer::TakeFlag => next_item(state),
        Producer::Done => return None,
    };
    Some(then)
}

fn next_item(state: &State) -> Producer {
    match state.committed < ITEMS {
        true => Producer::Commit,
        false => Producer::Done,
    }
}

fn consume(state: &State, broken: Broken) -> Option<State> {
    let mut then = state.clone();
    then.consumer = match state.consumer {
        Consumer::Look if state.head > state.tail => {
            then.tail += 1;
            match then.tail < ITEMS {
                true => Consumer::Look,
                false => Consumer::Done,
            }
        }
        Consumer::Look => Consumer::Announce,
        Consumer::Announce => {
            then.late_flag = Some(1);
            Consumer::Fence
        }
        Consumer::Fence if broken == Broken::ConsumerFence => Consumer::LookAgain,
        Consumer::Fence if state.late_flag.is_some() => return None,
        Consumer::Fence => Consumer::LookAgain,
        Consumer::LookAgain if broken == Broken::SecondLook => Consumer::Sleep,
        Consumer::LookAgain if state.head > state.tail => Consumer::Awake,
        Consumer::LookAgain => Consumer::Sleep,
        // The system call sees the stores of its caller, and compares the flag before it sleeps.
        Consumer::Sleep => {
            then.flag = state.late_flag.unwrap_or(state.flag);
            then.late_flag = None;
            match then.flag {
                0 => Consumer::Awake,
                _ => Consumer::Asleep,
            }
        }
        Consumer::Awake => {
            then.late_flag = Some(0);
            Consumer::Look
        }
        Consumer::Asleep | Consumer::Done => return None,
    };
    Some(then)
}

impl Model for State {
    type Rule = Broken;

    fn steps(&self, broken: Broken, found: &mut Vec<Self>) {
        found.extend(produce(self, broken));
        found.extend(consume(self, broken));
        if let Some(head) = self.late_head {
            let mut then = self.clone();
            (then.head, then.late_head) = (head, None);
            found.push(then);
        }
        if let Some(flag) = self.late_flag {
            let mut then = self.clone();
            (then.flag, then.late_flag) = (flag, None);
            found.push(then);
        }
    }

    /// The consumer sleeps for ever.
    fn is_wrong(&self, is_stuck: bool, _broken: Broken) -> bool {
        is_stuck && self.consumer != Consumer::Done
    }
}

#[test]
fn ring_loses_no_wake_up() {
    assert_eq!(search([start()], Broken::Nothing), None);
}

#[test]
fn ring_needs_each_step() {
    for broken in [
        Broken::ProducerFence,
        Broken::ConsumerFence,
        Broken::SecondLook,
    ] {
        assert!(search([start()], broken).is_some(), "{broken:?}");
    }
}
