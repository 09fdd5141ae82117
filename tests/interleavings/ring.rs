//! The ring's flag and the futex on it: one producer, one consumer, and memory in which stores become visible
//! late and in any order, as the language allows for those that are not SeqCst.

use super::*;

const ITEMS: u8 = 3;

/// What is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    ProducersFence,
    ConsumersFence,
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
    /// Stores that nobody else sees yet: at most one for a place, the newest; older ones were in between.
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
        // `Writer::commit`
        Producer::Commit => {
            then.committed += 1;
            then.late_head = Some(then.committed);
            Producer::Fence
        }
        // `take_sleeper`
        Producer::Fence if broken == Broken::ProducersFence => Producer::LookAtFlag,
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
        // `futex::wake`
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
        // `announce_sleeper`
        Consumer::Announce => {
            then.late_flag = Some(1);
            Consumer::Fence
        }
        Consumer::Fence if broken == Broken::ConsumersFence => Consumer::LookAgain,
        Consumer::Fence if state.late_flag.is_some() => return None,
        Consumer::Fence => Consumer::LookAgain,
        Consumer::LookAgain if broken == Broken::SecondLook => Consumer::Sleep,
        Consumer::LookAgain if state.head > state.tail => Consumer::Awake,
        Consumer::LookAgain => Consumer::Sleep,
        // `futex::wait`: the system call sees its own stores, and looks at the word once more.
        Consumer::Sleep => {
            then.flag = state.late_flag.unwrap_or(state.flag);
            then.late_flag = None;
            match then.flag {
                0 => Consumer::Awake,
                _ => Consumer::Asleep,
            }
        }
        // `Consumer::awake`
        Consumer::Awake => {
            then.late_flag = Some(0);
            Consumer::Look
        }
        Consumer::Asleep | Consumer::Done => return None,
    };
    Some(then)
}

fn next(state: &State, broken: Broken, found: &mut Vec<State>) {
    found.extend(produce(state, broken));
    found.extend(consume(state, broken));
    if let Some(head) = state.late_head {
        let mut then = state.clone();
        (then.head, then.late_head) = (head, None);
        found.push(then);
    }
    if let Some(flag) = state.late_flag {
        let mut then = state.clone();
        (then.flag, then.late_flag) = (flag, None);
        found.push(then);
    }
}

fn sleeps_for_ever(broken: Broken) -> Option<State> {
    let next = |state: &State, found: &mut Vec<State>| next(state, broken, found);
    explore(start(), next, |state, stuck| {
        stuck && state.consumer != Consumer::Done
    })
    .err()
}

#[test]
fn no_wake_up_is_lost() {
    assert_eq!(sleeps_for_ever(Broken::Nothing), None);
}

#[test]
fn each_step_is_needed() {
    for broken in [
        Broken::ProducersFence,
        Broken::ConsumersFence,
        Broken::SecondLook,
    ] {
        assert!(sleeps_for_ever(broken).is_some(), "{broken:?}");
    }
}
