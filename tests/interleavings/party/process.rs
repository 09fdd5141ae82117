//! What a model keeps of a process, of its record in the table, and of what it has read.

use std::hash::{Hash, Hasher};

/// How many processes a model has at most.
pub(crate) const MOST: usize = 3;

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum PartyState {
    #[default]
    Free,
    Claimed,
    Waiting,
    Granted,
    GrantedFirst,
    Refused,
}

/// A record of the table. A process has one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Party {
    pub(crate) state: PartyState,
    pub(crate) kind: u8,
    pub(crate) ticket: u8,
    pub(crate) amount: u8,
}

impl Party {
    pub(crate) fn is_waiting(&self) -> bool {
        self.state == PartyState::Waiting
    }
}

/// What a process that serves has read and decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Round {
    pub(crate) seen: [Party; MOST],
    /// The processes that were found to have ended.
    pub(crate) dead: [bool; MOST],
    pub(crate) has_checked_liveness: bool,
    /// How far the decision has come; its values are the object's.
    pub(crate) phase: u8,
    /// The parties that the phase is done with.
    pub(crate) passed: [bool; MOST],
    /// What the decision has read of the words.
    pub(crate) number: u8,
    pub(crate) flag: bool,
    /// The parties whose tasks must be woken.
    pub(crate) changed: [bool; MOST],
    pub(super) used: u8,
    pub(super) keeps_dead: bool,
}

impl Hash for Party {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let bytes = [self.state as u8, self.kind, self.ticket, self.amount];
        hasher.write_u32(u32::from_le_bytes(bytes));
    }
}

/// Most processes have no round, and hashing takes most of the time.
impl Hash for Round {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        if *self == Self::default() {
            return hasher.write_u8(0);
        }
        self.seen.hash(hasher);
        self.dead.hash(hasher);
        self.passed.hash(hasher);
        self.changed.hash(hasher);
        let flags = [self.has_checked_liveness, self.flag, self.keeps_dead].map(u8::from);
        hasher.write(&flags);
        hasher.write(&[self.phase, self.number, self.used]);
    }
}

/// The next step of a process. `C` are the steps of an object's users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step<C> {
    Client(C),
    RaiseAndTakeTicket,
    SetWaiting(u8),
    Attempt,
    Register,
    Check,
    Sleep,
    Leave,
    Count {
        checks_liveness: bool,
    },
    Lock {
        checks_liveness: bool,
    },
    SeeAll,
    Read(u8),
    Decide,
    FreeTheDead,
    LookAgain,
    Unlock,
    Wake {
        checks_liveness: bool,
    },
    CountAgain {
        checks_liveness: bool,
    },
    /// As `Wake`, of a process that did not have the lock.
    WakeOutside,
    Done,
    Dead,
}

/// A process with one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Process<C> {
    pub(crate) step: Step<C>,
    /// Where it continues after it has served.
    pub(crate) after: Step<C>,
    pub(crate) may_cancel: bool,
    /// What it asks for.
    pub(crate) request: Party,
    pub(super) is_attached: bool,
    pub(super) is_woken: bool,
    pub(super) has_notice: bool,
    /// It has looked at the counts.
    pub(super) is_serving: bool,
    /// Others have had requests to serve since it looked.
    pub(super) calls_changed: bool,
    pub(super) liveness_checks_changed: bool,
    pub(super) checks_liveness: bool,
    pub(crate) round: Round,
}

impl<C: Copy + PartialEq> Process<C> {
    /// Whether it sleeps, or will without another look at who wakes it.
    pub(super) fn can_be_woken(&self) -> bool {
        let is_before = |step| step == Step::Check || step == Step::Sleep;
        is_before(self.step) || is_before(self.after)
    }

    /// A process that has nothing but its next step.
    pub(super) fn at(step: Step<C>) -> Self {
        Self {
            step,
            after: Step::Done,
            may_cancel: false,
            request: Party::default(),
            is_attached: false,
            is_woken: false,
            has_notice: false,
            is_serving: false,
            calls_changed: false,
            liveness_checks_changed: false,
            checks_liveness: false,
            round: Round::default(),
        }
    }
}
