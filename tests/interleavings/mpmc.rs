//! The doorbell of a queue's receivers: senders and receivers with a lock each, a socket, and processes that are killed at
//! any step.

mod receiver;
mod sender;

use std::collections::VecDeque;

use crate::{Modelled, explore};

pub(crate) const MODELS: &[Modelled] = &[
    (
        "LockToSend, LockSenders",
        "src/channel/mpmc.rs",
        "lock_senders",
    ),
    ("Ring of descriptors", "src/channel/end.rs", "send_fds"),
    ("Ring to Commit", "src/channel/mpmc.rs", "push_plain"),
    (
        "Ring, RingLate",
        "src/channel/mpmc_bell.rs",
        "ring_before_commit",
    ),
    (
        "Ring of descriptors to Commit",
        "src/channel/mpmc.rs",
        "push_with_fds",
    ),
    ("Unlock", "src/channel/mpmc.rs", "try_push_bytes"),
    (
        "LockToReceive, LockBoth",
        "src/channel/mpmc.rs",
        "lock_receivers",
    ),
    ("Look", "src/channel/end.rs", "peek_frame"),
    ("TakeDescriptors", "src/channel/fds.rs", "receive"),
    ("Release", "src/channel/mpmc.rs", "take"),
    ("PollSocket", "src/channel/waiters.rs", "poll_news"),
    ("LockSenders to UnlockBoth", "src/channel/mpmc.rs", "arm"),
    ("TakeRings", "src/channel/doorbell.rs", "drain"),
    ("Asleep", "src/channel/wait.rs", "sleep"),
    (
        "lock_receivers with needs_recovery",
        "src/channel/mpmc.rs",
        "recover",
    ),
    (
        "first_is_without_fds",
        "src/channel/orphaned.rs",
        "frame_without_fds",
    ),
    ("fds_were_taken", "src/channel/fds.rs", "were_taken"),
];

/// The rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    RingsAfterCommit,
    KeepsFlagAfterDescriptors,
    KeepsFlagOfDeadSender,
    ClearsFlagWithoutSendersLock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Lock {
    Free,
    Held(usize),
    /// Its owner was killed. The next owner is told so.
    OwnerDied,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Packet {
    /// The descriptors of a message, which are sent before it, with their number.
    Descriptors(u8),
    /// A ring of the doorbell, with the number of the last descriptors before it.
    Ring(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    // The steps of a sender.
    LockToSend,
    Ring,
    SetFlag,
    Commit,
    RingLate,
    Unlock,
    // The steps of a receiver.
    LockToReceive,
    Look,
    TakeDescriptors,
    Release,
    PollSocket,
    LockSenders,
    LockBoth,
    TakeRings,
    Clear,
    UnlockBoth,
    Asleep,
    Done,
    Dead,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Process {
    step: Step,
    /// The messages of a sender that are not sent: whether each has descriptors.
    to_send: VecDeque<bool>,
    /// How many messages a receiver takes before it does something else for ever. Zero for a sender.
    wanted: u8,
    /// The reactor of a receiver has an event that was not polled.
    event: bool,
    /// The last poll took an event.
    had_event: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    processes: Vec<Process>,
    send_lock: Lock,
    receive_lock: Lock,
    /// A receiver was killed with the lock. What it had begun is not settled.
    needs_recovery: bool,
    /// The committed messages, each with the number of its descriptors if it has some.
    frames: VecDeque<Option<u8>>,
    socket: VecDeque<Packet>,
    /// The doorbell was rung and no receiver has looked since. The next message need not ring.
    flag: bool,
    /// The number of the last descriptors that were sent.
    tags: u8,
    /// The number of the last descriptors that a receiver looked for.
    taken: u8,
    kills: u8,
}

const ALL: u8 = u8::MAX;

fn start(senders: &[&[bool]], receivers: &[u8], kills: u8) -> State {
    let sender = |messages: &&[bool]| Process {
        step: Step::LockToSend,
        to_send: messages.iter().copied().collect(),
        wanted: 0,
        event: false,
        had_event: false,
    };
    let receiver = |wanted: &u8| Process {
        step: Step::LockToReceive,
        to_send: VecDeque::new(),
        wanted: *wanted,
        event: false,
        had_event: false,
    };
    let senders = senders.iter().map(sender);
    State {
        processes: senders.chain(receivers.iter().map(receiver)).collect(),
        send_lock: Lock::Free,
        receive_lock: Lock::Free,
        needs_recovery: false,
        frames: VecDeque::new(),
        socket: VecDeque::new(),
        flag: false,
        tags: 0,
        taken: 0,
        kills,
    }
}

impl State {
    /// A packet is an event for the reactor of every receiver.
    fn send(&mut self, packet: Packet) {
        self.socket.push_back(packet);
        for process in &mut self.processes {
            process.event = process.wanted > 0;
        }
    }

    fn lock_senders(&mut self, who: usize, broken: Broken) -> Option<()> {
        match self.send_lock {
            Lock::Held(_) => return None,
            Lock::Free => {}
            Lock::OwnerDied if broken == Broken::KeepsFlagOfDeadSender => {}
            Lock::OwnerDied => self.flag = false,
        }
        self.send_lock = Lock::Held(who);
        Some(())
    }

    fn unlock_senders(&mut self, who: usize) {
        if self.send_lock == Lock::Held(who) {
            self.send_lock = Lock::Free;
        }
    }

    fn kill(&mut self, who: usize) {
        self.kills -= 1;
        self.processes[who].step = Step::Dead;
        for lock in [&mut self.send_lock, &mut self.receive_lock] {
            if *lock == Lock::Held(who) {
                *lock = Lock::OwnerDied;
            }
        }
    }

    fn next(&self, broken: Broken, found: &mut Vec<Self>) {
        for who in 0..self.processes.len() {
            let mut then = self.clone();
            let step = match self.processes[who].wanted > 0 {
                _ if matches!(self.processes[who].step, Step::Dead | Step::Done) => None,
                true => then.receive_step(who, broken),
                false => then.send_step(who, broken),
            };
            if let Some(step) = step {
                then.processes[who].step = step;
                found.push(then);
            }
        }
    }

    fn kills(&self, found: &mut Vec<Self>) {
        for who in 0..self.processes.len() {
            let over = matches!(self.processes[who].step, Step::Dead | Step::Done);
            if self.kills > 0 && !over {
                let mut then = self.clone();
                then.kill(who);
                found.push(then);
            }
        }
    }

    /// Whether a receiver sleeps beside a message. A message whose descriptors died with a receiver does not count: no
    /// other receiver can have it.
    fn sleeps_beside_message(&self) -> bool {
        let sleeps = |process: &Process| process.step == Step::Asleep;
        let lost = self.receive_lock == Lock::OwnerDied && self.first_is_without_fds();
        self.frames.len() > usize::from(lost) && self.processes.iter().any(sleeps)
    }
}

fn scenarios() -> Vec<State> {
    let (plain, with_fds) = (false, true);
    vec![
        start(&[&[plain], &[plain]], &[1, ALL], 1),
        start(&[&[with_fds, plain], &[plain]], &[1, ALL], 1),
        start(&[&[with_fds, with_fds, plain]], &[2, ALL], 1),
        start(&[&[plain, plain, plain]], &[2, ALL], 1),
        start(&[&[with_fds], &[plain]], &[ALL, ALL], 1),
    ]
}

/// A state in which no process can do anything and a receiver sleeps beside a message, if there is one. A kill is no way
/// out of it.
fn search(broken: Broken) -> Option<State> {
    let next = |state: &State, found: &mut Vec<State>| {
        state.next(broken, found);
        state.kills(found);
    };
    let is_wrong = |state: &State, _| {
        let mut alive = Vec::new();
        state.sleeps_beside_message() && {
            state.next(broken, &mut alive);
            alive.is_empty()
        }
    };
    scenarios()
        .into_iter()
        .find_map(|scenario| explore(scenario, next, is_wrong).err())
}

#[test]
fn queue_receiver_never_sleeps_beside_a_message() {
    assert_eq!(search(Broken::Nothing), None);
}

#[test]
fn queue_needs_each_rule() {
    for broken in [
        Broken::RingsAfterCommit,
        Broken::KeepsFlagAfterDescriptors,
        Broken::KeepsFlagOfDeadSender,
        Broken::ClearsFlagWithoutSendersLock,
    ] {
        assert!(search(broken).is_some(), "{broken:?}");
    }
}
