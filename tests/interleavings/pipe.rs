//! A channel of which one process holds either side: its bell for messages without locks between the two. A sender; in
//! the other process tasks and blocked threads that receive. The sender is killed at any step, or the channel closed.

use super::*;

/// Which rule is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    SetsTheFlagAfterTheRing,
    ClearsTheFlagWithoutFence,
    SleepsWithoutSecondLook,
    EmptiesTheSocketAfterTheLook,
    EmptiesTheSocketOfDescriptors,
    KeepsRingsToItself,
    DoesNotRingForTheListener,
    StopsToListenInSilence,
    KeepsTheFlagAtDescriptors,
    EndsWithoutComparing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Packet {
    Descriptors(u8),
    Ring,
}

const ASLEEP: u8 = 0;
const RUNG: u8 = 1;
const AHEAD: u8 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Sending {
    Begin,
    SendAhead,
    Commit,
    LookAtFlag,
    SetFlag,
    Ring,
    SetFlagLate,
    Done,
    Dead,
}

/// What is done under the turn, and nobody else can tell from what is done right before or after it, is one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Look,
    Sit,
    Listen,
    Empty,
    Clear,
    LookAgain,
    EmptyLate,
    IsOver,
    Nap,
    Asleep,
    Polling,
    Parked,
    Leave,
    LeaveAtTheEnd,
    Done,
    Over,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Waiter {
    step: Step,
    is_blocked: bool,
    /// How many messages it wants; then it is busy with something else for ever.
    wanted: u8,
    seated: bool,
    woken: bool,
    heard: bool,
    listens: bool,
    took: bool,
    /// Descriptors of a message that was not there yet were in the socket.
    ahead: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    sending: Sending,
    to_send: VecDeque<bool>,
    waiters: Vec<Waiter>,
    ring: VecDeque<Option<u8>>,
    ended: bool,
    flag: u8,
    /// The receivers' store that the sender does not see yet.
    late_flag: bool,
    socket: VecDeque<Packet>,
    hung_up: bool,
    tags: u8,
    turn: Option<usize>,
    listened_to: bool,
    /// The eventfd of who listens.
    bell: bool,
    /// What the kernel has to tell the reactor, what the reactor has to tell, and whether it is to wake anybody.
    edge: bool,
    ready: bool,
    armed: bool,
    is_torn: bool,
    kills: u8,
    closes: u8,
}

const FOR_EVER: u8 = u8::MAX;

fn start(messages: &[bool], waiters: &[(bool, u8)], kills: u8, closes: u8) -> State {
    let waiter = |(is_blocked, wanted): &(bool, u8)| Waiter {
        step: Step::Look,
        is_blocked: *is_blocked,
        wanted: *wanted,
        seated: false,
        woken: false,
        heard: false,
        listens: false,
        took: false,
        ahead: false,
    };
    State {
        sending: Sending::Begin,
        to_send: messages.iter().copied().collect(),
        waiters: waiters.iter().map(waiter).collect(),
        ring: VecDeque::new(),
        ended: false,
        flag: ASLEEP,
        late_flag: false,
        socket: VecDeque::new(),
        hung_up: false,
        tags: 0,
        turn: None,
        listened_to: false,
        bell: false,
        edge: false,
        ready: false,
        armed: false,
        is_torn: false,
        kills,
        closes,
    }
}

impl State {
    fn send(&mut self, packet: Packet) {
        if !self.hung_up {
            self.socket.push_back(packet);
            self.tell_the_reactor();
        }
    }

    /// There is one if there are tasks.
    fn tell_the_reactor(&mut self) {
        self.edge = self.waiters.iter().any(|waiter| !waiter.is_blocked);
    }

    fn is_readable(&self) -> bool {
        self.hung_up || !self.socket.is_empty()
    }

    fn hang_up(&mut self) {
        self.hung_up = true;
        self.tell_the_reactor();
    }

    /// `Hub::wake_all`
    fn wake_all(&mut self, broken: Broken) {
        for waiter in &mut self.waiters {
            if std::mem::take(&mut waiter.seated) {
                waiter.woken = true;
                self.bell |= waiter.is_blocked && broken != Broken::DoesNotRingForTheListener;
            }
        }
    }

    /// `End::push_solo`, `End::push_laden` and `End::ring_solo`
    fn send_step(&mut self, broken: Broken) -> Option<Sending> {
        let with_descriptors = *self.to_send.front()?;
        Some(match self.sending {
            Sending::Begin if with_descriptors => {
                if broken != Broken::KeepsTheFlagAtDescriptors {
                    // It orders the store, and so does the system call after it.
                    self.late_flag = false;
                    self.flag = AHEAD;
                }
                Sending::SendAhead
            }
            Sending::Begin => {
                self.sending = Sending::Commit;
                return self.send_step(broken);
            }
            Sending::SendAhead if self.hung_up => Sending::Done,
            Sending::SendAhead => {
                self.tags += 1;
                self.send(Packet::Descriptors(self.tags));
                Sending::Commit
            }
            Sending::Commit if self.ended => Sending::Done,
            Sending::Commit => {
                self.ring.push_back(with_descriptors.then_some(self.tags));
                Sending::LookAtFlag
            }
            Sending::LookAtFlag => {
                let is_heard = match with_descriptors {
                    true => self.flag != ASLEEP,
                    false => self.flag == RUNG,
                };
                match is_heard {
                    true => self.next_message(),
                    false if broken == Broken::SetsTheFlagAfterTheRing => Sending::Ring,
                    false => Sending::SetFlag,
                }
            }
            Sending::SetFlag => {
                self.flag = RUNG;
                Sending::Ring
            }
            Sending::Ring => {
                self.send(Packet::Ring);
                match broken {
                    Broken::SetsTheFlagAfterTheRing => Sending::SetFlagLate,
                    _ => self.next_message(),
                }
            }
            Sending::SetFlagLate => {
                self.flag = RUNG;
                self.next_message()
            }
            Sending::Done | Sending::Dead => return None,
        })
    }

    fn next_message(&mut self) -> Sending {
        self.to_send.pop_front();
        match self.to_send.is_empty() {
            true => Sending::Done,
            false => Sending::Begin,
        }
    }

    /// `End::pop_solo`
    fn receive_step(&mut self, who: usize, broken: Broken) -> Option<Step> {
        let waiter = &mut self.waiters[who];
        Some(match waiter.step {
            Step::Look if self.turn.is_some() => return None,
            Step::Look => match self.ring.pop_front() {
                None => Step::Sit,
                Some(tag) => {
                    tag.inspect(|tag| self.take_descriptors(*tag));
                    let waiter = &mut self.waiters[who];
                    waiter.wanted -= u8::from(waiter.wanted != FOR_EVER);
                    match waiter.wanted {
                        0 => Step::Done,
                        _ => Step::Look,
                    }
                }
            },
            Step::Sit => {
                waiter.seated = true;
                match waiter.is_blocked {
                    true => Step::Listen,
                    false => self.poll_news(who, broken),
                }
            }
            // `Hub::listen`
            Step::Listen => {
                waiter.listens = !std::mem::replace(&mut self.listened_to, true);
                Step::Empty
            }
            Step::Asleep | Step::Parked if !waiter.woken => return None,
            Step::Asleep | Step::Parked => {
                waiter.woken = false;
                waiter.seated &= !waiter.is_blocked;
                Step::Look
            }
            Step::Polling => {
                if !self.is_readable() && !self.bell {
                    return None;
                }
                self.bell = false;
                Step::Leave
            }
            Step::Nap => self.leave(who, Step::Look),
            Step::Leave | Step::LeaveAtTheEnd => {
                let step = waiter.step;
                waiter.listens = false;
                self.listened_to = false;
                if broken != Broken::StopsToListenInSilence {
                    self.wake_all(broken);
                }
                match step {
                    Step::Leave => Step::Look,
                    _ => Step::Over,
                }
            }
            step => return self.must_wait_step(who, step, broken),
        })
    }

    /// `End::descriptors`
    fn take_descriptors(&mut self, tag: u8) {
        while let Some(packet) = self.socket.pop_front() {
            if packet == Packet::Descriptors(tag) {
                return;
            }
        }
        self.is_torn = true;
    }

    /// `Hub::poll_news`
    fn poll_news(&mut self, who: usize, broken: Broken) -> Step {
        let heard = std::mem::take(&mut self.ready);
        self.waiters[who].heard = heard;
        match heard {
            true => self.wake_all(broken),
            false => self.armed = true,
        }
        Step::Empty
    }

    /// `End::must_wait_solo`
    fn must_wait_step(&mut self, who: usize, step: Step, broken: Broken) -> Option<Step> {
        Some(match step {
            Step::Empty if self.turn.is_some() => return None,
            Step::Empty => {
                self.turn = Some(who);
                if broken != Broken::EmptiesTheSocketAfterTheLook {
                    self.empty_socket(who, broken);
                }
                Step::Clear
            }
            Step::Clear => {
                self.late_flag = true;
                Step::LookAgain
            }
            // The fence
            Step::LookAgain if self.late_flag && broken != Broken::ClearsTheFlagWithoutFence => {
                return None;
            }
            Step::LookAgain
                if !self.ring.is_empty() && broken != Broken::SleepsWithoutSecondLook =>
            {
                self.give_turn(who, broken, true, Step::Look)
            }
            Step::LookAgain if broken == Broken::EmptiesTheSocketAfterTheLook => Step::EmptyLate,
            Step::LookAgain => Step::IsOver,
            Step::EmptyLate => {
                self.empty_socket(who, broken);
                Step::IsOver
            }
            Step::IsOver if !self.hung_up => {
                let falls_to = self.falls_to(who);
                self.give_turn(who, broken, false, falls_to)
            }
            // `Consumer::end`
            Step::IsOver => {
                let ends = self.ring.is_empty() || broken == Broken::EndsWithoutComparing;
                self.ended |= ends && broken != Broken::EndsWithoutComparing;
                match ends {
                    true => self.give_turn(who, broken, false, Step::Over),
                    false => self.give_turn(who, broken, true, Step::Look),
                }
            }
            _ => return None,
        })
    }

    fn empty_socket(&mut self, who: usize, broken: Broken) {
        while let Some(packet) = self.socket.front() {
            if *packet != Packet::Ring && broken != Broken::EmptiesTheSocketOfDescriptors {
                self.waiters[who].ahead = true;
                return;
            }
            self.socket.pop_front();
            self.waiters[who].took = true;
        }
    }

    /// The end of `End::must_wait_solo`, and where that leads.
    fn give_turn(&mut self, who: usize, broken: Broken, something: bool, then: Step) -> Step {
        self.turn = None;
        let waiter = &mut self.waiters[who];
        waiter.ahead = false;
        waiter.heard = false;
        let took = std::mem::take(&mut waiter.took);
        if took && something && broken != Broken::KeepsRingsToItself {
            self.wake_all(broken);
        }
        match then {
            Step::Look | Step::Over => self.leave(who, then),
            then => then,
        }
    }

    /// How who found nothing waits.
    fn falls_to(&self, who: usize) -> Step {
        let waiter = &self.waiters[who];
        match waiter.is_blocked {
            _ if waiter.ahead => Step::Nap,
            true if waiter.listens => Step::Polling,
            true => Step::Parked,
            // Told once; it must ask again to be told once more.
            false if waiter.heard => Step::Look,
            false => Step::Asleep,
        }
    }

    /// Whoever stops to listen tells the others. A thread has its seat while it is blocked, a task until it is done.
    fn leave(&mut self, who: usize, then: Step) -> Step {
        let waiter = &mut self.waiters[who];
        waiter.seated &= !waiter.is_blocked;
        match then {
            Step::Over if waiter.listens => Step::LeaveAtTheEnd,
            _ if waiter.listens => Step::Leave,
            then => then,
        }
    }

    /// `epoll_wait(2)`, which tells of edges only while there is something to read, and what the runtime makes of it.
    fn react(&mut self, broken: Broken) {
        self.edge = false;
        if self.is_readable() {
            self.ready = true;
            if std::mem::take(&mut self.armed) {
                self.wake_all(broken);
            }
        }
    }

    fn next(&self, broken: Broken, found: &mut Vec<Self>) {
        let mut then = self.clone();
        if let Some(sending) = then.send_step(broken) {
            then.sending = sending;
            found.push(then);
        }
        for who in 0..self.waiters.len() {
            let mut then = self.clone();
            if let Some(step) = then.receive_step(who, broken) {
                then.waiters[who].step = step;
                if matches!(step, Step::Done | Step::Over) {
                    then.waiters[who].seated = false;
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
            (then.flag, then.late_flag) = (ASLEEP, false);
            found.push(then);
        }
    }

    fn blows(&self, broken: Broken, found: &mut Vec<Self>) {
        let over = matches!(self.sending, Sending::Done | Sending::Dead);
        if self.kills > 0 && !over {
            let mut then = self.clone();
            then.kills -= 1;
            then.sending = Sending::Dead;
            then.to_send.clear();
            then.hang_up();
            found.push(then);
        }
        // `End::close`, by anybody
        if self.closes > 0 {
            let mut then = self.clone();
            then.closes -= 1;
            then.hang_up();
            then.wake_all(broken);
            found.push(then);
        }
    }

    fn is_wrong(&self, broken: Broken) -> bool {
        let over = |waiter: &Waiter| waiter.step == Step::Over;
        if self.is_torn || (!self.ring.is_empty() && self.waiters.iter().any(over)) {
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

fn crowds() -> Vec<State> {
    let (plain, with) = (false, true);
    let (task, thread) = (false, true);
    vec![
        start(&[plain, with], &[(task, FOR_EVER)], 1, 1),
        start(&[with, plain, plain], &[(thread, FOR_EVER)], 1, 1),
        start(&[plain, plain], &[(task, 1), (task, FOR_EVER)], 0, 0),
        start(&[plain, plain], &[(task, 1), (thread, FOR_EVER)], 0, 0),
        start(&[plain, plain], &[(thread, 1), (thread, FOR_EVER)], 0, 0),
        start(&[with], &[(thread, 1), (task, FOR_EVER)], 1, 0),
        start(&[plain, with, plain], &[(task, 2), (task, FOR_EVER)], 0, 0),
    ]
}

fn search(broken: Broken) -> Option<State> {
    let next = |state: &State, found: &mut Vec<State>| {
        state.next(broken, found);
        state.blows(broken, found);
    };
    let is_wrong = |state: &State, _| state.is_wrong(broken);
    crowds()
        .into_iter()
        .find_map(|crowd| explore(crowd, next, is_wrong).err())
}

#[test]
fn nobody_sleeps_beside_a_message_or_the_end() {
    assert_eq!(search(Broken::Nothing), None);
}

#[test]
fn each_rule_is_needed() {
    for broken in [
        Broken::SetsTheFlagAfterTheRing,
        Broken::ClearsTheFlagWithoutFence,
        Broken::SleepsWithoutSecondLook,
        Broken::EmptiesTheSocketAfterTheLook,
        Broken::EmptiesTheSocketOfDescriptors,
        Broken::KeepsRingsToItself,
        Broken::DoesNotRingForTheListener,
        Broken::StopsToListenInSilence,
        Broken::KeepsTheFlagAtDescriptors,
        Broken::EndsWithoutComparing,
    ] {
        assert!(search(broken).is_some(), "{broken:?}");
    }
}
