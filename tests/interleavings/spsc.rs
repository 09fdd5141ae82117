//! The doorbell of a pipe's receivers, without locks between the processes. One process sends. Tasks and blocked
//! threads of the other process receive. The sender is killed at any step, or the channel is closed.

mod receiver;
mod sender;

use std::collections::VecDeque;

use crate::{Model, Modelled, search};

pub(crate) const MODELS: &[Modelled] = &[
    ("Begin", "src/channel/spsc.rs", "try_push_bytes"),
    ("Commit to LookAtFlag", "src/channel/spsc.rs", "push_plain"),
    (
        "Begin to LookAtFlag with descriptors",
        "src/channel/spsc.rs",
        "push_with_fds",
    ),
    ("SendDescriptors", "src/channel/end.rs", "send_fds"),
    ("Commit", "src/ring/producer.rs", "commit_unless_ended"),
    (
        "SetFlag, Ring, SetFlagLate",
        "src/channel/spsc.rs",
        "ring_for_other_side",
    ),
    ("Look", "src/channel/spsc.rs", "try_pop"),
    ("take_descriptors", "src/channel/fds.rs", "receive"),
    ("Register of a task", "src/channel/waiters.rs", "poll_news"),
    (
        "Register of a thread",
        "src/channel/waiters.rs",
        "register_thread",
    ),
    ("TakePollTurn", "src/channel/waiters.rs", "take_poll_turn"),
    ("TakeRings to LookForEnd", "src/channel/spsc.rs", "arm"),
    (
        "TakeRings, TakeRingsLate",
        "src/channel/doorbell.rs",
        "take_rings",
    ),
    ("LookAgain", "src/channel/spsc.rs", "look_for_message"),
    ("LookForEnd", "src/channel/spsc.rs", "is_over"),
    ("LookForEnd of an empty ring", "src/ring/consumer.rs", "end"),
    ("Asleep of a task", "src/channel/wait.rs", "sleep"),
    (
        "RetryLater of a task",
        "src/channel/waiters.rs",
        "retry_later",
    ),
    (
        "Polling, Parked, RetryLater of a thread",
        "src/channel/spsc.rs",
        "block",
    ),
    (
        "DropPollTurn, DropPollTurnAtEnd",
        "src/channel/waiters.rs",
        "drop",
    ),
    ("wake_all", "src/channel/waiters.rs", "wake_all"),
    ("react", "src/sys/reactor.rs", "poll_edge"),
    ("faults: a close", "src/channel/end.rs", "close"),
];

/// The rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    SetsFlagAfterRing,
    ClearsFlagWithoutFence,
    SleepsWithoutSecondLook,
    TakesRingsAfterSecondLook,
    TakesDescriptors,
    WakesNoOtherWaiter,
    RingsNoDoorbell,
    DropsPollTurnWithoutWake,
    KeepsFlagAtDescriptors,
    ClosesWithoutCompare,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Packet {
    /// The descriptors of a message, which are sent before it, with their number.
    Descriptors(u8),
    /// A ring of the doorbell.
    Ring,
}

/// Whether receivers must be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Flag {
    /// They sleep or are about to.
    Sleeps,
    /// They were woken.
    Rung,
    /// Descriptors were sent, which wake them for their own message. The next message rings again.
    HasSentFds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Sender {
    Begin,
    SendDescriptors,
    Commit,
    LookAtFlag,
    SetFlag,
    Ring,
    SetFlagLate,
    Done,
    Dead,
}

/// The steps of a receiver. What a receiver does while it uses the end is one step where the sender cannot tell the
/// difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Look,
    Register,
    TakePollTurn,
    TakeRings,
    ClearFlag,
    LookAgain,
    TakeRingsLate,
    LookForEnd,
    RetryLater,
    /// A task waits for its waker.
    Asleep,
    /// A thread waits for the socket and the doorbell.
    Polling,
    /// A thread waits for the thread that has_poll_turn.
    Parked,
    DropPollTurn,
    DropPollTurnAtEnd,
    Done,
    Closed,
}

/// A task or thread that receives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Waiter {
    step: Step,
    is_thread: bool,
    /// How many messages it takes before it does something else for ever.
    wanted: u8,
    /// The next event wakes it.
    registered: bool,
    woken: bool,
    /// Its last poll took an event of the reactor.
    had_event: bool,
    /// It is the thread that waits for the socket.
    has_poll_turn: bool,
    /// It took rings out of the socket.
    took_rings: bool,
    /// It found descriptors in the socket whose message is not committed.
    saw_descriptors: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    sender: Sender,
    /// The messages that are not sent: whether each has descriptors.
    to_send: VecDeque<bool>,
    waiters: Vec<Waiter>,
    /// The committed messages, each with the number of its descriptors if it has some.
    frames: VecDeque<Option<u8>>,
    /// A receiver has ended the ring: nothing is committed any more.
    ended: bool,
    flag: Flag,
    /// A receiver has stored `Sleeps`, which the sender does not see yet.
    late_flag: bool,
    socket: VecDeque<Packet>,
    hung_up: bool,
    /// The number of the last descriptors that were sent.
    tags: u8,
    /// The waiter that uses the end: one at a time does.
    used_by: Option<usize>,
    /// A thread waits for the socket.
    is_polled: bool,
    /// The eventfd of the thread that waits for the socket.
    doorbell: bool,
    /// The kernel has an event for the reactor.
    edge: bool,
    /// The reactor has an event that was not is_polled.
    reactor_ready: bool,
    /// The next event of the reactor wakes all.
    reactor_armed: bool,
    /// A receiver did not find the descriptors of a message.
    descriptors_lost: bool,
    kills: u8,
    closes: u8,
}

const ALL: u8 = u8::MAX;

fn start(messages: &[bool], waiters: &[(bool, u8)], kills: u8, closes: u8) -> State {
    let waiter = |(is_thread, wanted): &(bool, u8)| Waiter {
        step: Step::Look,
        is_thread: *is_thread,
        wanted: *wanted,
        registered: false,
        woken: false,
        had_event: false,
        has_poll_turn: false,
        took_rings: false,
        saw_descriptors: false,
    };
    State {
        sender: Sender::Begin,
        to_send: messages.iter().copied().collect(),
        waiters: waiters.iter().map(waiter).collect(),
        frames: VecDeque::new(),
        ended: false,
        flag: Flag::Sleeps,
        late_flag: false,
        socket: VecDeque::new(),
        hung_up: false,
        tags: 0,
        used_by: None,
        is_polled: false,
        doorbell: false,
        edge: false,
        reactor_ready: false,
        reactor_armed: false,
        descriptors_lost: false,
        kills,
        closes,
    }
}

impl State {
    fn send(&mut self, packet: Packet) {
        if !self.hung_up {
            self.socket.push_back(packet);
            self.set_edge();
        }
    }

    /// There is a reactor if there are tasks.
    fn set_edge(&mut self) {
        self.edge = self.waiters.iter().any(|waiter| !waiter.is_thread);
    }

    fn is_readable(&self) -> bool {
        self.hung_up || !self.socket.is_empty()
    }

    fn hang_up(&mut self) {
        self.hung_up = true;
        self.set_edge();
    }

    /// Wakes all registered waiters.
    fn wake_all(&mut self, broken: Broken) {
        for waiter in &mut self.waiters {
            if std::mem::take(&mut waiter.registered) {
                waiter.woken = true;
                self.doorbell |= waiter.is_thread && broken != Broken::RingsNoDoorbell;
            }
        }
    }

    /// The reactor runs: `epoll_wait(2)` reports an edge only while there is something to read.
    fn react(&mut self, broken: Broken) {
        self.edge = false;
        if self.is_readable() {
            self.reactor_ready = true;
            if std::mem::take(&mut self.reactor_armed) {
                self.wake_all(broken);
            }
        }
    }
}

impl Model for State {
    type Rule = Broken;

    fn steps(&self, broken: Broken, found: &mut Vec<Self>) {
        let mut then = self.clone();
        if let Some(sender) = then.send_step(broken) {
            then.sender = sender;
            found.push(then);
        }
        for who in 0..self.waiters.len() {
            let mut then = self.clone();
            if let Some(step) = then.receive_step(who, broken) {
                then.waiters[who].step = step;
                if matches!(step, Step::Done | Step::Closed) {
                    then.waiters[who].registered = false;
                    then.waiters[who].woken = false;
                }
                found.push(then);
            }
        }
        if self.edge {
            let mut then = self.clone();
            then.react(broken);
            found.push(then);
        }
        if self.late_flag {
            let mut then = self.clone();
            (then.flag, then.late_flag) = (Flag::Sleeps, false);
            found.push(then);
        }
    }

    /// The sender is killed, or a process closes the channel.
    fn accidents(&self, broken: Broken, found: &mut Vec<Self>) {
        let over = matches!(self.sender, Sender::Done | Sender::Dead);
        if self.kills > 0 && !over {
            let mut then = self.clone();
            then.kills -= 1;
            then.sender = Sender::Dead;
            then.to_send.clear();
            then.hang_up();
            found.push(then);
        }
        if self.closes > 0 {
            let mut then = self.clone();
            then.closes -= 1;
            then.hang_up();
            then.wake_all(broken);
            found.push(then);
        }
    }

    /// Whether descriptors are lost, a waiter saw the end beside a message, or a waiter sleeps beside a message or the
    /// end although no step is possible.
    fn is_wrong(&self, is_stuck: bool, _broken: Broken) -> bool {
        let over = |waiter: &Waiter| waiter.step == Step::Closed;
        if self.descriptors_lost || (!self.frames.is_empty() && self.waiters.iter().any(over)) {
            return true;
        }
        let sleeps =
            |waiter: &Waiter| matches!(waiter.step, Step::Asleep | Step::Polling | Step::Parked);
        let has_news = !self.frames.is_empty() || self.hung_up;
        is_stuck && has_news && self.waiters.iter().any(sleeps)
    }
}

fn scenarios() -> Vec<State> {
    let (plain, with_fds) = (false, true);
    let (task, thread) = (false, true);
    vec![
        start(&[plain, with_fds], &[(task, ALL)], 1, 1),
        start(&[with_fds, plain, plain], &[(thread, ALL)], 1, 1),
        start(&[plain, plain], &[(task, 1), (task, ALL)], 0, 0),
        start(&[plain, plain], &[(task, 1), (thread, ALL)], 0, 0),
        start(&[plain, plain], &[(thread, 1), (thread, ALL)], 0, 0),
        start(&[with_fds], &[(thread, 1), (task, ALL)], 1, 0),
        start(&[plain, with_fds, plain], &[(task, 2), (task, ALL)], 0, 0),
    ]
}

#[test]
fn pipe_receiver_never_sleeps_beside_a_message_or_the_end() {
    assert_eq!(search(scenarios(), Broken::Nothing), None);
}

#[test]
fn pipe_needs_each_rule() {
    for broken in [
        Broken::SetsFlagAfterRing,
        Broken::ClearsFlagWithoutFence,
        Broken::SleepsWithoutSecondLook,
        Broken::TakesRingsAfterSecondLook,
        Broken::TakesDescriptors,
        Broken::WakesNoOtherWaiter,
        Broken::RingsNoDoorbell,
        Broken::DropsPollTurnWithoutWake,
        Broken::KeepsFlagAtDescriptors,
        Broken::ClosesWithoutCompare,
    ] {
        assert!(search(scenarios(), broken).is_some(), "{broken:?}");
    }
}
