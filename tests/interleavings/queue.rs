//! A channel's bell for messages: senders and receivers under two locks, a socket, and death at any step.

use super::*;

/// Which rule is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    RingsAfterTheCommit,
    KeepsTheFlagAfterDescriptors,
    ForgetsToRingAfterTheDead,
    ClearsWithoutTheSendersLock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Lock {
    Free,
    Held(usize),
    Orphaned,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Packet {
    /// Descriptors that go ahead of a message, and their number.
    Descriptors(u8),
    /// A ring of the bell, after so many of them.
    Ring(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    // Of a sender.
    LockToSend,
    Ring,
    Flag,
    Commit,
    RingLate,
    Unlock,
    // Of a receiver.
    LockToReceive,
    Look,
    TakeDescriptors,
    Release,
    Listen,
    LockSenders,
    LockBoth,
    Drain,
    Clear,
    UnlockBoth,
    Asleep,
    // Of either.
    Done,
    Dead,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Process {
    step: Step,
    /// What a sender has yet to send: whether with descriptors.
    to_send: VecDeque<bool>,
    /// How many messages a receiver wants; then it is busy with something else for ever.
    wanted: u8,
    /// The reactor has something to tell a receiver.
    event: bool,
    heard: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    processes: Vec<Process>,
    send_lock: Lock,
    receive_lock: Lock,
    /// `Duct::orphaned`
    orphaned: bool,
    /// The committed messages: the numbers of their descriptors.
    ring: VecDeque<Option<u8>>,
    socket: VecDeque<Packet>,
    flag: bool,
    tags: u8,
    taken: u8,
    kills: u8,
}

const FOR_EVER: u8 = u8::MAX;

fn start(senders: &[&[bool]], receivers: &[u8], kills: u8) -> State {
    let sender = |messages: &&[bool]| Process {
        step: Step::LockToSend,
        to_send: messages.iter().copied().collect(),
        wanted: 0,
        event: false,
        heard: false,
    };
    let receiver = |wanted: &u8| Process {
        step: Step::LockToReceive,
        to_send: VecDeque::new(),
        wanted: *wanted,
        event: false,
        heard: false,
    };
    let senders = senders.iter().map(sender);
    State {
        processes: senders.chain(receivers.iter().map(receiver)).collect(),
        send_lock: Lock::Free,
        receive_lock: Lock::Free,
        orphaned: false,
        ring: VecDeque::new(),
        socket: VecDeque::new(),
        flag: false,
        tags: 0,
        taken: 0,
        kills,
    }
}

impl State {
    /// Every packet that comes is news to every reactor.
    fn send(&mut self, packet: Packet) {
        self.socket.push_back(packet);
        for process in &mut self.processes {
            process.event = process.wanted > 0;
        }
    }

    /// `End::is_past`
    fn is_past(&self, tag: u8) -> bool {
        match self.socket.front() {
            None => true,
            Some(Packet::Descriptors(next)) => *next > tag,
            Some(Packet::Ring(after)) => *after >= tag,
        }
    }

    /// `End::try_push`
    fn send_step(&mut self, who: usize, broken: Broken) -> Option<Step> {
        let with_descriptors = self.processes[who].to_send[0];
        Some(match self.processes[who].step {
            Step::LockToSend => {
                self.lock_senders(who, broken)?;
                match broken {
                    Broken::RingsAfterTheCommit if !with_descriptors => Step::Commit,
                    _ if with_descriptors || !self.flag => Step::Ring,
                    _ => Step::Commit,
                }
            }
            Step::Ring if with_descriptors => {
                self.tags += 1;
                self.send(Packet::Descriptors(self.tags));
                Step::Flag
            }
            Step::Ring => {
                self.send(Packet::Ring(self.tags));
                Step::Flag
            }
            Step::Flag => {
                self.flag = !with_descriptors || broken == Broken::KeepsTheFlagAfterDescriptors;
                Step::Commit
            }
            Step::Commit => {
                self.ring.push_back(with_descriptors.then_some(self.tags));
                match broken {
                    Broken::RingsAfterTheCommit if !with_descriptors && !self.flag => {
                        Step::RingLate
                    }
                    _ => Step::Unlock,
                }
            }
            Step::RingLate => {
                self.send(Packet::Ring(self.tags));
                self.flag = true;
                Step::Unlock
            }
            Step::Unlock => {
                self.send_lock = Lock::Free;
                self.processes[who].to_send.pop_front();
                match self.processes[who].to_send.is_empty() {
                    true => Step::Done,
                    false => Step::LockToSend,
                }
            }
            _ => return None,
        })
    }

    fn lock_senders(&mut self, who: usize, broken: Broken) -> Option<()> {
        match self.send_lock {
            Lock::Held(_) => return None,
            Lock::Free => {}
            Lock::Orphaned if broken == Broken::ForgetsToRingAfterTheDead => {}
            Lock::Orphaned => self.flag = false,
        }
        self.send_lock = Lock::Held(who);
        Some(())
    }

    fn lock_receivers(&mut self, who: usize) -> Option<()> {
        match self.receive_lock {
            Lock::Held(_) => return None,
            Lock::Free => {}
            Lock::Orphaned => self.orphaned = true,
        }
        self.receive_lock = Lock::Held(who);
        if self.orphaned && self.is_robbed() {
            self.ring.pop_front();
        }
        self.orphaned = false;
        Some(())
    }

    /// `End::robbed`
    fn is_robbed(&self) -> bool {
        let tag = self.ring.front().copied().flatten();
        tag.is_some_and(|tag| self.taken == tag && self.is_past(tag))
    }

    /// `End::try_pop` and `End::sleep`
    fn receive_step(&mut self, who: usize, broken: Broken) -> Option<Step> {
        Some(match self.processes[who].step {
            Step::LockToReceive => {
                self.lock_receivers(who)?;
                Step::Look
            }
            Step::Look => match self.ring.front() {
                None => {
                    self.receive_lock = Lock::Free;
                    Step::Listen
                }
                Some(None) => Step::Release,
                Some(Some(tag)) => {
                    self.taken = *tag;
                    Step::TakeDescriptors
                }
            },
            Step::TakeDescriptors => {
                let tag = self.ring[0].unwrap();
                // A model of the socket without what was asked for would panic here.
                match self.socket.pop_front().unwrap() == Packet::Descriptors(tag) {
                    true => Step::Release,
                    false => Step::TakeDescriptors,
                }
            }
            Step::Release => {
                self.ring.pop_front();
                self.receive_lock = Lock::Free;
                self.processes[who].wanted -= 1;
                match self.processes[who].wanted {
                    0 => Step::Done,
                    _ => Step::LockToReceive,
                }
            }
            step => return self.wait_step(who, step, broken),
        })
    }

    fn wait_step(&mut self, who: usize, step: Step, broken: Broken) -> Option<Step> {
        Some(match step {
            // `Hub::poll_news`: the reactor tells of news only while there is something to read.
            Step::Listen => {
                let event = std::mem::take(&mut self.processes[who].event);
                self.processes[who].heard = event && !self.socket.is_empty();
                match broken {
                    Broken::ClearsWithoutTheSendersLock => Step::LockBoth,
                    _ => Step::LockSenders,
                }
            }
            // Whoever finds a lock taken naps, and looks again.
            Step::LockSenders => match self.lock_senders(who, broken) {
                Some(()) => Step::LockBoth,
                None => Step::LockToReceive,
            },
            Step::LockBoth => match self.lock_receivers(who) {
                Some(()) => Step::Drain,
                None => {
                    self.unlock_senders(who);
                    Step::LockToReceive
                }
            },
            Step::Drain if !self.ring.is_empty() => {
                self.unlock_senders(who);
                self.receive_lock = Lock::Free;
                Step::LockToReceive
            }
            Step::Drain => {
                self.socket.clear();
                Step::Clear
            }
            Step::Clear => {
                self.flag = false;
                Step::UnlockBoth
            }
            Step::UnlockBoth => {
                self.unlock_senders(who);
                self.receive_lock = Lock::Free;
                match std::mem::take(&mut self.processes[who].heard) {
                    true => Step::LockToReceive,
                    false => Step::Asleep,
                }
            }
            Step::Asleep if std::mem::take(&mut self.processes[who].event) => {
                match self.socket.is_empty() {
                    true => Step::Asleep,
                    false => Step::LockToReceive,
                }
            }
            _ => return None,
        })
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
                *lock = Lock::Orphaned;
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

    /// Nobody can do anything, and somebody sleeps though there is something for him.
    ///
    /// A message whose descriptors died with a receiver is nothing: nobody can have it.
    fn is_stuck(&self) -> bool {
        let sleeps = |process: &Process| process.step == Step::Asleep;
        let robbed = usize::from(self.receive_lock == Lock::Orphaned && self.is_robbed());
        self.ring.len() > robbed && self.processes.iter().any(sleeps)
    }
}

fn crowds() -> Vec<State> {
    let (plain, with) = (false, true);
    vec![
        start(&[&[plain], &[plain]], &[1, FOR_EVER], 1),
        start(&[&[with, plain], &[plain]], &[1, FOR_EVER], 1),
        start(&[&[with, with, plain]], &[2, FOR_EVER], 1),
        start(&[&[plain, plain, plain]], &[2, FOR_EVER], 1),
        start(&[&[with], &[plain]], &[FOR_EVER, FOR_EVER], 1),
    ]
}

fn search(broken: Broken) -> Option<State> {
    let next = |state: &State, found: &mut Vec<State>| {
        state.next(broken, found);
        state.kills(found);
    };
    let is_wrong = |state: &State, _| {
        let mut alive = Vec::new();
        state.is_stuck() && {
            state.next(broken, &mut alive);
            alive.is_empty()
        }
    };
    crowds()
        .into_iter()
        .find_map(|crowd| explore(crowd, next, is_wrong).err())
}

#[test]
fn nobody_sleeps_beside_a_message() {
    assert_eq!(search(Broken::Nothing), None);
}

#[test]
fn each_rule_is_needed() {
    for broken in [
        Broken::RingsAfterTheCommit,
        Broken::KeepsTheFlagAfterDescriptors,
        Broken::ForgetsToRingAfterTheDead,
        Broken::ClearsWithoutTheSendersLock,
    ] {
        assert!(search(broken).is_some(), "{broken:?}");
    }
}
