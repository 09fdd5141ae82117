//! The state of a model: processes, the table of parties, and the words of the object.

use std::fmt::Debug;
use std::hash::{Hash, Hasher};

use super::Rule;
use super::process::{MOST, Party, PartyState, Process, Step};
use crate::Model;

/// The words of an object, and what its users do.
pub(crate) trait Object: Copy + Eq + Hash + Debug {
    type Client: Copy + Eq + Hash + Debug;

    /// Requests are served as soon as they are made.
    const IS_SERVED_AT_ONCE: bool = true;
    /// The unused end of the table is forgotten.
    const IS_TRIMMED: bool = true;
    /// A ticket is compared with others than those of parties that wait.
    const NOTES_TICKETS: bool = false;

    /// A step of a user; `None` if it waits.
    fn client(
        state: &mut State<Self>,
        who: usize,
        at: Self::Client,
        rule: Rule,
    ) -> Option<Step<Self::Client>>;

    /// An enrolled party looks whether its wait is over. `None` if not.
    fn attempt(state: &mut State<Self>, who: usize, rule: Rule) -> Option<Step<Self::Client>>;

    /// What a party does that has freed its record, which was in the state `was`.
    fn left(
        state: &mut State<Self>,
        who: usize,
        _was: PartyState,
        rule: Rule,
    ) -> Step<Self::Client> {
        match rule {
            Rule::LeavesSilently => Step::Done,
            _ => state.serve(who, false, Step::Done),
        }
    }

    /// A party stops waiting.
    fn cancelled(_state: &mut State<Self>, _who: usize) -> Step<Self::Client> {
        Step::Leave
    }

    /// The process at each place is now at the place in `to`.
    fn permute(&mut self, _to: [usize; MOST]) {}

    /// A process is killed.
    fn killed(_state: &mut State<Self>, _who: usize) {}

    /// Whether a user can be cancelled at this step, beside the wait.
    fn can_cancel(_at: Self::Client) -> bool {
        false
    }

    /// One access of a process that serves.
    fn decide(state: &mut State<Self>, who: usize, rule: Rule) -> Next;

    /// Whether what has happened must not.
    fn is_wrong(state: &State<Self>) -> bool;

    /// Whether a party may wait for ever.
    fn may_rest(_state: &State<Self>, _who: usize) -> bool {
        false
    }
}

/// How serving continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// With another access of the decision.
    Decide,
    Over,
    /// Of a process that does not have the lock.
    OverOutside,
    /// With the decision, after the table was read again.
    ReadAgain,
    /// As `ReadAgain`, asking who is alive.
    CheckLiveness,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct State<O: Object> {
    pub(crate) processes: [Process<O::Client>; MOST],
    pub(crate) count: usize,
    /// Processes of one class began with the same step.
    pub(super) classes: [u8; MOST],
    pub(crate) table: [Party; MOST],
    pub(super) used: u8,
    pub(crate) last_ticket: u8,
    pub(super) server: Option<u8>,
    pub(super) liveness_check_pending: bool,
    /// A process enrols in one step, and reads and decides in one step up to what it changes.
    pub(super) is_coarse: bool,
    pub(crate) kills: u8,
    pub(crate) object: O,
}

impl<O: Object> Hash for State<O> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.processes[..self.count].hash(hasher);
        self.table[..self.count].hash(hasher);
        self.object.hash(hasher);
        let server = self.server.map_or(u8::MAX, |server| server);
        let checks_liveness = u8::from(self.liveness_check_pending);
        hasher.write(&[
            self.used,
            self.last_ticket,
            server,
            checks_liveness,
            self.kills,
        ]);
    }
}

/// Processes that begin with these steps. The marked ones may be cancelled.
pub(crate) fn start<O: Object>(
    object: O,
    begins: impl IntoIterator<Item = (O::Client, bool)>,
    kills: u8,
    is_coarse: bool,
) -> State<O> {
    let begins: Vec<_> = begins.into_iter().collect();
    let mut processes = [Process::at(Step::Done); MOST];
    for (process, (begin, may_cancel)) in processes.iter_mut().zip(&begins) {
        process.step = Step::Client(*begin);
        process.may_cancel = *may_cancel;
    }
    let mut classes = [0; MOST];
    for (place, begin) in begins.iter().enumerate() {
        let first = begins.iter().position(|other| other == begin);
        classes[place] = first.unwrap_or(place) as u8;
    }
    State {
        processes,
        count: begins.len(),
        classes,
        table: [Party::default(); MOST],
        used: if is_coarse { begins.len() as u8 } else { 0 },
        last_ticket: 0,
        server: None,
        liveness_check_pending: false,
        is_coarse,
        kills,
        object,
    }
}

impl<O: Object> State<O> {
    pub(crate) fn is_dead(&self, who: usize) -> bool {
        self.processes[who].step == Step::Dead
    }

    pub(crate) fn is_alive_in(&self, who: usize, state: PartyState) -> bool {
        !self.is_dead(who) && self.table[who].state == state
    }

    /// Begins a request.
    pub(crate) fn enrol(&mut self, who: usize, kind: u8, amount: u8) -> Step<O::Client> {
        self.processes[who].request = Party {
            kind,
            amount,
            ..Party::default()
        };
        match self.is_coarse {
            true => {
                self.raise_and_take_ticket(who);
                self.set_waiting(who, self.last_ticket)
            }
            false => {
                self.table[who].state = PartyState::Claimed;
                Step::RaiseAndTakeTicket
            }
        }
    }

    fn raise_and_take_ticket(&mut self, who: usize) {
        self.used = self.used.max(who as u8 + 1);
        self.last_ticket += 1;
    }

    fn set_waiting(&mut self, who: usize, ticket: u8) -> Step<O::Client> {
        self.table[who] = Party {
            state: PartyState::Waiting,
            ticket,
            ..self.processes[who].request
        };
        match O::IS_SERVED_AT_ONCE {
            true => self.serve(who, false, Step::Attempt),
            false => Step::Attempt,
        }
    }

    /// Of the tickets only the order matters, and only of parties that wait.
    fn renumber(&mut self) {
        let tickets = self.table.map(|party| party.ticket);
        for party in &mut self.table {
            let earlier = tickets.iter().filter(|it| (1..party.ticket).contains(it));
            party.ticket = match party.state {
                PartyState::Waiting => earlier.count() as u8 + 1,
                _ => 0,
            };
        }
        self.last_ticket = self.table.len() as u8;
    }

    /// Has requests served, and continues with `after`.
    pub(crate) fn serve(
        &mut self,
        who: usize,
        checks_liveness: bool,
        after: Step<O::Client>,
    ) -> Step<O::Client> {
        self.processes[who].after = after;
        Step::Count { checks_liveness }
    }

    /// The next step of `who`; `None` if it waits.
    fn step(&mut self, who: usize, rule: Rule) -> Option<Step<O::Client>> {
        Some(match self.processes[who].step {
            Step::Client(at) => return O::client(self, who, at, rule),
            Step::RaiseAndTakeTicket => {
                self.raise_and_take_ticket(who);
                Step::SetWaiting(self.last_ticket)
            }
            Step::SetWaiting(ticket) => self.set_waiting(who, ticket),
            Step::Attempt => self.attempt(who, rule),
            Step::Register => {
                let process = &mut self.processes[who];
                process.is_woken = false;
                let checks_liveness = !std::mem::replace(&mut process.is_attached, true)
                    && rule != Rule::AttachesWithoutLivenessCheck;
                match checks_liveness {
                    true if self.is_coarse => {
                        self.processes[who].after = Step::Check;
                        self.count(true)
                    }
                    true => self.serve(who, true, Step::Check),
                    false => Step::Check,
                }
            }
            Step::Check => match self.table[who].state == PartyState::Waiting {
                false if rule != Rule::SleepsWithoutCheck => self.attempt(who, rule),
                _ => Step::Sleep,
            },
            Step::Sleep => return self.sleep(who, rule),
            Step::Leave => {
                let was = std::mem::take(&mut self.table[who]).state;
                O::left(self, who, was, rule)
            }
            Step::Done | Step::Dead => return None,
            _ => self.serving_step(who, rule),
        })
    }

    fn attempt(&mut self, who: usize, rule: Rule) -> Step<O::Client> {
        let Some(step) = O::attempt(self, who, rule) else {
            return Step::Register;
        };
        self.stop_sleeping(who);
        step
    }

    fn stop_sleeping(&mut self, who: usize) {
        let process = &mut self.processes[who];
        process.is_attached = false;
        process.is_woken = false;
        process.has_notice = false;
    }

    fn sleep(&mut self, who: usize, rule: Rule) -> Option<Step<O::Client>> {
        let process = &mut self.processes[who];
        if std::mem::take(&mut process.is_woken) {
            return Some(self.attempt(who, rule));
        }
        let has_notice = std::mem::take(&mut process.has_notice);
        (has_notice && rule != Rule::IgnoresDeaths).then(|| self.serve(who, true, Step::Sleep))
    }

    fn kill(&mut self, who: usize) {
        self.kills -= 1;
        O::killed(self, who);
        self.processes[who] = Process::at(Step::Dead);
        for other in &mut self.processes {
            other.has_notice |= other.is_attached;
        }
    }

    fn can_cancel(&self, who: usize) -> bool {
        let process = &self.processes[who];
        let is_there = match process.step {
            Step::Sleep => true,
            Step::Client(at) => O::can_cancel(at),
            _ => false,
        };
        process.may_cancel && is_there
    }
}

impl<O: Object> Model for State<O> {
    type Rule = Rule;

    fn representative(self) -> Self {
        match self.is_coarse {
            true => self.sorted(),
            false => self,
        }
    }

    fn steps(&self, rule: Rule, found: &mut Vec<Self>) {
        for who in 0..self.count {
            let mut then = *self;
            if let Some(step) = then.step(who, rule) {
                then.processes[who].step = step;
                if step == Step::Done {
                    then.processes[who] = Process::at(step);
                }
                if !O::NOTES_TICKETS && self.is_coarse {
                    then.renumber();
                }
                found.push(then);
            }
        }
    }

    fn accidents(&self, _rule: Rule, found: &mut Vec<Self>) {
        for who in 0..self.count {
            if self.kills > 0 && !matches!(self.processes[who].step, Step::Dead | Step::Done) {
                let mut then = *self;
                then.kill(who);
                found.push(then);
            }
            if self.can_cancel(who) {
                let mut then = *self;
                then.processes[who].may_cancel = false;
                then.stop_sleeping(who);
                then.processes[who].step = O::cancelled(&mut then, who);
                found.push(then);
            }
        }
    }

    fn is_wrong(&self, is_stuck: bool, _rule: Rule) -> bool {
        let waits = |who: usize| {
            !matches!(self.processes[who].step, Step::Done | Step::Dead) && !O::may_rest(self, who)
        };
        O::is_wrong(self) || (is_stuck && (0..self.count).any(waits))
    }
}
