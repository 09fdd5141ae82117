//! The wake-ups of a pipe's receivers, without locks between the processes. One process sends. Tasks and blocked threads
//! of the other process receive. The sender is killed at any step, or the channel is closed.

mod receiver;
mod sender;

use std::collections::VecDeque;

use crate::{Modelled, explore};

pub(crate) const MODELS: &[Modelled] = &[
    ("Begin to LookAtFlag", "src/channel/solo.rs", "push_solo"),
    (
        "Begin to LookAtFlag with descriptors",
        "src/channel/solo.rs",
        "push_laden",
    ),
    ("SendDescriptors", "src/channel/ahead.rs", "send_ahead"),
    ("Commit", "src/ring/producer.rs", "commit_unless_ended"),
    (
        "SetFlag, Wake, SetFlagLate",
        "src/channel/solo.rs",
        "ring_solo",
    ),
    ("Look", "src/channel/solo.rs", "pop_solo"),
    ("take_descriptors", "src/channel/ahead.rs", "descriptors"),
    ("Register of a task", "src/channel/hub.rs", "poll_news"),
    ("Register of a thread", "src/channel/hub.rs", "sit_blocked"),
    ("TakePolling", "src/channel/hub.rs", "listen"),
    (
        "Drain to LookForEnd",
        "src/channel/solo.rs",
        "must_wait_solo",
    ),
    ("Drain, DrainLate", "src/channel/solo.rs", "empty_socket"),
    ("LookAgain", "src/channel/solo.rs", "look_for_message"),
    ("LookForEnd", "src/channel/solo.rs", "is_over_solo"),
    ("LookForEnd of an empty ring", "src/ring/consumer.rs", "end"),
    (
        "Asleep, RetryLater of a task",
        "src/channel/wait.rs",
        "sleep",
    ),
    (
        "Polling, Parked, RetryLater of a thread",
        "src/channel/solo.rs",
        "block_solo",
    ),
    (
        "StopPolling, StopPollingAtEnd",
        "src/channel/hub.rs",
        "drop",
    ),
    ("wake_all", "src/channel/hub.rs", "wake_all"),
    ("react", "src/sys/reactor.rs", "poll_edge"),
    ("close in faults", "src/channel/end.rs", "close"),
];

/// The rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    SetsFlagAfterWake,
    ClearsFlagWithoutFence,
    SleepsWithoutSecondLook,
    DrainsAfterSecondLook,
    DrainsDescriptors,
    WakesNoOtherWaiter,
    RingsNoDoorbell,
    StopsPollingWithoutWake,
    KeepsFlagAtDescriptors,
    ClosesWithoutCompare,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Packet {
    /// The descriptors of a message, which are sent before it, with their number.
    Descriptors(u8),
    /// A byte that wakes receivers.
    Wake,
}

/// Whether receivers must be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Flag {
    /// They sleep or are about to.
    Asleep,
    /// They were woken.
    Woken,
    /// Descriptors were sent, which wake them for their own message. The next message wakes them again.
    DescriptorsSent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Sender {
    Begin,
    SendDescriptors,
    Commit,
    LookAtFlag,
    SetFlag,
    Wake,
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
    TakePolling,
    Drain,
    ClearFlag,
    LookAgain,
    DrainLate,
    LookForEnd,
    RetryLater,
    /// A task waits for its waker.
    Asleep,
    /// A thread waits for the socket and the doorbell.
    Polling,
    /// A thread waits for the thread that polls.
    Parked,
    StopPolling,
    StopPollingAtEnd,
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
    polls: bool,
    /// It took wake-ups out of the socket.
    drained: bool,
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
    ring: VecDeque<Option<u8>>,
    /// A receiver has ended the ring: nothing is committed any more.
    ended: bool,
    flag: Flag,
    /// A receiver has stored `Asleep`, which the sender does not see yet.
    late_flag: bool,
    socket: VecDeque<Packet>,
    hung_up: bool,
    /// The number of the last descriptors that were sent.
    tags: u8,
    /// The waiter that uses the end: one at a time does.
    used_by: Option<usize>,
    /// A thread waits for the socket.
    polled: bool,
    /// The eventfd of the thread that waits for the socket.
    doorbell: bool,
    /// The kernel has an event for the reactor.
    edge: bool,
    /// The reactor has an event that was not polled.
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
        polls: false,
        drained: false,
        saw_descriptors: false,
    };
    State {
        sender: Sender::Begin,
        to_send: messages.iter().copied().collect(),
        waiters: waiters.iter().map(waiter).collect(),
        ring: VecDeque::new(),
        ended: false,
        flag: Flag::Asleep,
        late_flag: false,
        socket: VecDeque::new(),
        hung_up: false,
        tags: 0,
        used_by: None,
        polled: false,
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

    fn next(&self, broken: Broken, found: &mut Vec<Self>) {
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
            (then.flag, then.late_flag) = (Flag::Asleep, false);
            found.push(then);
        }
    }

    /// The sender is killed, or a process closes the channel.
    fn faults(&self, broken: Broken, found: &mut Vec<Self>) {
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

    /// Whether descriptors are lost, a waiter saw the end beside a message, or a waiter sleeps beside a message or the end
    /// although no step is possible.
    fn is_wrong(&self, broken: Broken) -> bool {
        let over = |waiter: &Waiter| waiter.step == Step::Closed;
        if self.descriptors_lost || (!self.ring.is_empty() && self.waiters.iter().any(over)) {
            return true;
        }
        let sleeps =
            |waiter: &Waiter| matches!(waiter.step, Step::Asleep | Step::Polling | Step::Parked);
        if (self.ring.is_empty() && !self.hung_up) || !self.waiters.iter().any(sleeps) {
            return false;
        }
        let mut alive = Vec::new();
        self.next(broken, &mut alive);
        alive.is_empty()
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

/// A wrong state, if there is one.
fn search(broken: Broken) -> Option<State> {
    let next = |state: &State, found: &mut Vec<State>| {
        state.next(broken, found);
        state.faults(broken, found);
    };
    let is_wrong = |state: &State, _| state.is_wrong(broken);
    scenarios()
        .into_iter()
        .find_map(|scenario| explore(scenario, next, is_wrong).err())
}

#[test]
fn pipe_receiver_never_sleeps_beside_a_message_or_the_end() {
    assert_eq!(search(Broken::Nothing), None);
}

#[test]
fn pipe_needs_each_rule() {
    for broken in [
        Broken::SetsFlagAfterWake,
        Broken::ClearsFlagWithoutFence,
        Broken::SleepsWithoutSecondLook,
        Broken::DrainsAfterSecondLook,
        Broken::DrainsDescriptors,
        Broken::WakesNoOtherWaiter,
        Broken::RingsNoDoorbell,
        Broken::StopsPollingWithoutWake,
        Broken::KeepsFlagAtDescriptors,
        Broken::ClosesWithoutCompare,
    ] {
        assert!(search(broken).is_some(), "{broken:?}");
    }
}
