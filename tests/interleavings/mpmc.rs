//! The doorbell of a queue's receivers and the memory of what does not fit the ring: senders and receivers with a lock
//! each, a socket, and processes that are killed at any step.

mod receiver;
mod sender;
mod spill;

use std::collections::VecDeque;

use spill::{Memory, Place};

use crate::{Model, Modelled, search};

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
    ("Write", "src/channel/spill.rs", "write"),
    ("Keep", "src/channel/spill.rs", "keep"),
    (
        "Write, Ring, Keep, Commit",
        "src/channel/mpmc_spill.rs",
        "push",
    ),
    ("Copy", "src/channel/mpmc_spill.rs", "read"),
    ("Copy to GiveBack", "src/channel/mpmc.rs", "pop_spilled"),
    ("GiveBack, NoteFreed", "src/channel/spill.rs", "free"),
    (
        "Reset, ResetFreed, ResetEnd",
        "src/channel/spill.rs",
        "reset",
    ),
];

/// The rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    RingsAfterCommit,
    KeepsFlagAfterDescriptors,
    KeepsFlagOfDeadSender,
    ClearsFlagWithoutSendersLock,
    KeepsAfterCommit,
    GivesBackBeforeRelease,
    GivesBackAfterUnlock,
    GivesBackSharedPages,
    ForgetsWhatIsWritten,
    ResetsBesideMessages,
    ResetsEndFirst,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Lock {
    Free,
    /// The number of its owner, who may have been killed. The next owner is told so.
    Held(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Packet {
    /// The descriptors of a message, which are sent before it, with their number.
    Descriptors(u8),
    /// A ring of the doorbell, with the number of the last descriptors before it.
    Ring(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Plain,
    WithDescriptors,
    /// It does not fit the ring.
    Spilled,
}

/// A committed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Frame {
    Plain,
    /// With the number of its descriptors.
    WithDescriptors(u8),
    Spilled(Place),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    // The steps of a sender.
    LockToSend,
    Mark,
    Write,
    Keep,
    Ring,
    SetFlag,
    Commit,
    RingLate,
    Unlock,
    // The steps of a receiver.
    LockToReceive,
    Look,
    TakeDescriptors,
    Copy,
    Release,
    GiveBack,
    NoteFreed,
    PollSocket,
    LockSenders,
    LockBoth,
    Reset,
    ResetPages,
    ResetFreed,
    ResetEnd,
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
    /// The messages of a sender that are not sent.
    to_send: VecDeque<Kind>,
    /// Where the message is that the process sends or receives, if it does not fit the ring.
    place: Option<Place>,
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
    frames: VecDeque<Frame>,
    memory: Memory,
    /// A receiver has read other bytes than the sender wrote.
    is_torn: bool,
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

fn start(senders: &[&[Kind]], receivers: &[u8], kills: u8) -> State {
    let sender = |messages: &&[Kind]| Process {
        step: Step::LockToSend,
        to_send: messages.iter().copied().collect(),
        place: None,
        wanted: 0,
        event: false,
        had_event: false,
    };
    let receiver = |wanted: &u8| Process {
        step: Step::LockToReceive,
        to_send: VecDeque::new(),
        place: None,
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
        memory: Memory::default(),
        is_torn: false,
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
            Lock::Free => {}
            Lock::Held(_) if !self.has_dead_owner(self.send_lock) => return None,
            Lock::Held(_) if broken == Broken::KeepsFlagOfDeadSender => {}
            Lock::Held(_) => self.flag = false,
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
    }

    /// Whether the kernel says that the owner of `lock` was killed.
    fn has_dead_owner(&self, lock: Lock) -> bool {
        matches!(lock, Lock::Held(owner) if self.processes[owner].step == Step::Dead)
    }

    /// Whether a receiver sleeps beside a message. A message whose descriptors died with a receiver does not count: no
    /// other receiver can have it.
    fn sleeps_beside_message(&self) -> bool {
        let sleeps = |process: &Process| process.step == Step::Asleep;
        let lost = self.has_dead_owner(self.receive_lock) && self.first_is_without_fds();
        self.frames.len() > usize::from(lost) && self.processes.iter().any(sleeps)
    }
}

impl Model for State {
    type Rule = Broken;

    fn steps(&self, broken: Broken, found: &mut Vec<Self>) {
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

    fn accidents(&self, _broken: Broken, found: &mut Vec<Self>) {
        for who in 0..self.processes.len() {
            let over = matches!(self.processes[who].step, Step::Dead | Step::Done);
            if self.kills > 0 && !over {
                let mut then = self.clone();
                then.kill(who);
                found.push(then);
            }
        }
    }

    /// A message is torn, memory is forgotten, or no process can do anything and a receiver sleeps beside a message.
    fn is_wrong(&self, is_stuck: bool, _broken: Broken) -> bool {
        let sleeps = is_stuck && self.sleeps_beside_message();
        sleeps || self.is_torn || self.memory.is_forgotten()
    }
}

/// A receiver sleeps beside no message.
fn of_the_doorbell() -> Vec<State> {
    let (plain, with_fds) = (Kind::Plain, Kind::WithDescriptors);
    vec![
        start(&[&[plain], &[plain]], &[1, ALL], 1),
        start(&[&[with_fds, plain], &[plain]], &[1, ALL], 1),
        start(&[&[with_fds, with_fds, plain]], &[2, ALL], 1),
        start(&[&[plain, plain, plain]], &[2, ALL], 1),
        start(&[&[with_fds], &[plain]], &[ALL, ALL], 1),
    ]
}

/// No message beside the ring is torn, and no memory is forgotten.
fn of_the_memory() -> Vec<State> {
    let (plain, spilled) = (Kind::Plain, Kind::Spilled);
    vec![
        start(&[&[spilled], &[spilled, plain]], &[ALL], 1),
        start(&[&[spilled, spilled, spilled]], &[ALL], 2),
        start(&[&[spilled, spilled, spilled]], &[2, ALL], 0),
        start(&[&[spilled, spilled]], &[2, 1], 1),
    ]
}

#[test]
fn queue_receiver_never_sleeps_beside_a_message() {
    assert_eq!(search(of_the_doorbell(), Broken::Nothing), None);
}

#[test]
fn queue_message_beside_the_ring_is_whole() {
    assert_eq!(search(of_the_memory(), Broken::Nothing), None);
}

#[test]
fn queue_needs_each_rule() {
    for broken in [
        Broken::RingsAfterCommit,
        Broken::KeepsFlagAfterDescriptors,
        Broken::KeepsFlagOfDeadSender,
        Broken::ClearsFlagWithoutSendersLock,
    ] {
        assert!(search(of_the_doorbell(), broken).is_some(), "{broken:?}");
    }
    for broken in [
        Broken::KeepsAfterCommit,
        Broken::GivesBackBeforeRelease,
        Broken::GivesBackAfterUnlock,
        Broken::GivesBackSharedPages,
        Broken::ForgetsWhatIsWritten,
        Broken::ResetsBesideMessages,
        Broken::ResetsEndFirst,
    ] {
        assert!(search(of_the_memory(), broken).is_some(), "{broken:?}");
    }
}
