//! The steps by which a process serves.

use super::Rule;
use super::process::{MOST, Party, PartyState, Round, Step};
use super::state::{Next, Object, State};

impl<O: Object> State<O> {
    pub(super) fn serving_step(&mut self, who: usize, rule: Rule) -> Step<O::Client> {
        match self.processes[who].step {
            Step::Count { checks_liveness } => self.count(checks_liveness),
            Step::Lock { checks_liveness } => self.lock(who, checks_liveness, rule),
            Step::SeeAll if rule == Rule::TrustsTableOfTheDead => Step::Read(0),
            Step::SeeAll => {
                self.used = self.count as u8;
                Step::Read(0)
            }
            Step::Read(place) => self.read(who, place, rule),
            Step::Decide => self.decide(who, rule),
            Step::FreeTheDead => self.free_the_dead(who, rule),
            Step::LookAgain => {
                let is_used = |other: &usize| self.table[*other].state != PartyState::Free;
                let last = (0..self.count).rev().find(is_used);
                self.used = self.used.max(last.map_or(0, |last| last as u8 + 1));
                Step::Unlock
            }
            Step::Unlock => self.unlock(who),
            Step::Wake { checks_liveness } => self.wake(who, checks_liveness, rule),
            Step::WakeOutside => match self.wake_next(who, rule) {
                true => Step::WakeOutside,
                false => self.after_serving(who),
            },
            Step::CountAgain { checks_liveness } => self.count_again(who, checks_liveness, rule),
            other => unreachable!("{other:?} is no step of a process that serves"),
        }
    }

    pub(super) fn count(&mut self, checks_liveness: bool) -> Step<O::Client> {
        self.liveness_check_pending |= checks_liveness;
        for process in &mut self.processes {
            process.calls_changed |= process.is_serving;
            process.liveness_checks_changed |= checks_liveness && process.is_serving;
        }
        Step::Lock { checks_liveness }
    }

    /// Without a question who is alive, a lock that a dead process has is held.
    fn lock(&mut self, who: usize, checks_liveness: bool, rule: Rule) -> Step<O::Client> {
        let owner = self.server.map(usize::from);
        if owner.is_some_and(|owner| !(checks_liveness && self.is_dead(owner))) {
            return self.after_serving(who);
        }
        self.server = Some(who as u8);
        let has_checked_liveness = self.liveness_check_pending;
        let process = &mut self.processes[who];
        process.checks_liveness = checks_liveness;
        process.is_serving = true;
        process.calls_changed = false;
        process.liveness_checks_changed = false;
        process.round = Round {
            has_checked_liveness,
            ..Round::default()
        };
        match owner {
            Some(_) if !self.is_coarse => Step::SeeAll,
            _ if self.is_coarse => self.read(who, 0, rule),
            _ => Step::Read(0),
        }
    }

    /// Reads a record, and asks who is alive after the last.
    fn read(&mut self, who: usize, place: u8, rule: Rule) -> Step<O::Client> {
        let (used, table) = (self.used, self.table);
        let at_once = self.is_coarse;
        let round = &mut self.processes[who].round;
        if place == 0 {
            round.used = used;
            round.seen = [Party::default(); MOST];
        }
        let end = if at_once { round.used } else { place + 1 };
        for place in place..end.min(round.used) {
            round.seen[usize::from(place)] = table[usize::from(place)];
        }
        if end < round.used {
            return Step::Read(end);
        }
        self.ask(who);
        match self.is_coarse {
            true => self.decide(who, rule),
            false => Step::Decide,
        }
    }

    fn begin_to_read(&mut self, who: usize, rule: Rule) -> Step<O::Client> {
        match self.is_coarse {
            true => self.read(who, 0, rule),
            false => Step::Read(0),
        }
    }

    fn ask(&mut self, who: usize) {
        let is_dead: [bool; MOST] = std::array::from_fn(|other| self.is_dead(other));
        let round = &mut self.processes[who].round;
        if std::mem::take(&mut round.keeps_dead) || !round.has_checked_liveness {
            return;
        }
        for (other, is_dead) in is_dead.into_iter().enumerate() {
            round.dead[other] = is_dead && round.seen[other].state != PartyState::Free;
        }
    }

    fn decide(&mut self, who: usize, rule: Rule) -> Step<O::Client> {
        let mut next = O::decide(self, who, rule);
        if self.is_coarse {
            let (table, object) = (self.table, self.object);
            while next == Next::Decide && table == self.table && object == self.object {
                next = O::decide(self, who, rule);
            }
        }
        let round = &mut self.processes[who].round;
        match next {
            Next::Decide => Step::Decide,
            Next::Over => self.free_the_dead(who, rule),
            Next::OverOutside => self.end_outside(who),
            Next::ReadAgain => {
                round.keeps_dead = true;
                self.begin_to_read(who, rule)
            }
            Next::CheckLiveness => {
                round.has_checked_liveness = true;
                self.begin_to_read(who, rule)
            }
        }
    }

    /// Frees the next dead party, as it was read.
    fn free_the_dead(&mut self, who: usize, rule: Rule) -> Step<O::Client> {
        let round = self.processes[who].round;
        if let Some(dead) = round.dead.iter().position(|is_dead| *is_dead) {
            self.processes[who].round.dead[dead] = false;
            if self.table[dead].state == round.seen[dead].state {
                self.table[dead] = Party::default();
            }
            return Step::FreeTheDead;
        }
        match O::IS_TRIMMED && !self.is_coarse {
            true => self.trim(who, rule),
            false => self.unlock(who),
        }
    }

    fn trim(&mut self, who: usize, rule: Rule) -> Step<O::Client> {
        let seen = self.processes[who].round.seen;
        let is_used = |place: &usize| seen[*place].state != PartyState::Free;
        let needed = (0..MOST)
            .rev()
            .find(is_used)
            .map_or(0, |last| last as u8 + 1);
        if self.used <= needed {
            return self.unlock(who);
        }
        self.used = needed;
        match rule {
            Rule::TrimsWithoutSecondLook => Step::Unlock,
            _ => Step::LookAgain,
        }
    }

    fn unlock(&mut self, who: usize) -> Step<O::Client> {
        let process = &mut self.processes[who];
        if process.round.has_checked_liveness
            && !std::mem::take(&mut process.liveness_checks_changed)
        {
            self.liveness_check_pending = false;
        }
        let checks_liveness = process.checks_liveness;
        process.round = Round {
            changed: process.round.changed,
            ..Round::default()
        };
        self.server = None;
        match process.round.changed.contains(&true) {
            true => Step::Wake { checks_liveness },
            false => Step::CountAgain { checks_liveness },
        }
    }

    fn end_outside(&mut self, who: usize) -> Step<O::Client> {
        let round = &mut self.processes[who].round;
        *round = Round {
            changed: round.changed,
            ..Round::default()
        };
        match round.changed.contains(&true) {
            true => Step::WakeOutside,
            false => self.after_serving(who),
        }
    }

    fn wake(&mut self, who: usize, checks_liveness: bool, rule: Rule) -> Step<O::Client> {
        match self.wake_next(who, rule) {
            true => Step::Wake { checks_liveness },
            false => self.count_again(who, checks_liveness, rule),
        }
    }

    /// Wakes one of the parties that `who` has changed. True if there are more.
    pub(crate) fn wake_next(&mut self, who: usize, rule: Rule) -> bool {
        let changed = &mut self.processes[who].round.changed;
        if let Some(woken) = changed.iter().position(|is_changed| *is_changed) {
            changed[woken] = false;
            let is_woken = rule != Rule::WakesOnlyItself || woken == who;
            let woken = &mut self.processes[woken];
            woken.is_woken |= is_woken && woken.can_be_woken();
        }
        self.processes[who].round.changed.contains(&true)
    }

    fn count_again(&mut self, who: usize, checks_liveness: bool, rule: Rule) -> Step<O::Client> {
        match self.processes[who].calls_changed && rule != Rule::ServesOnce {
            true => Step::Lock { checks_liveness },
            false => self.after_serving(who),
        }
    }

    /// A notice has the tasks of the process woken that wait no longer.
    fn after_serving(&mut self, who: usize) -> Step<O::Client> {
        let is_waiting = self.table[who].state == PartyState::Waiting;
        let process = &mut self.processes[who];
        process.is_serving = false;
        process.calls_changed = false;
        process.liveness_checks_changed = false;
        process.checks_liveness = false;
        let after = std::mem::replace(&mut process.after, Step::Done);
        process.is_woken |= after == Step::Sleep && !is_waiting;
        after
    }

    /// Changes the state of a party from what was read. False if it is another one now.
    pub(crate) fn exchange(
        &mut self,
        who: usize,
        place: usize,
        to: PartyState,
        rule: Rule,
    ) -> bool {
        let round = &mut self.processes[who].round;
        let seen = &mut round.seen[place];
        let is_set = self.table[place].state == seen.state || rule == Rule::GrantsByStore;
        if is_set {
            self.table[place].state = to;
            seen.state = to;
            round.changed[place] = true;
        }
        is_set
    }
}

impl Round {
    /// The parties that were read and may be alive, in the order of their tickets, that `is_meant` accepts.
    pub(crate) fn live(&self, is_meant: impl Fn(&Party) -> bool) -> Vec<usize> {
        let is_it = |place: &usize| {
            let party = &self.seen[*place];
            party.state != PartyState::Free && !self.dead[*place] && is_meant(party)
        };
        let mut found: Vec<_> = (0..MOST).filter(is_it).collect();
        found.sort_unstable_by_key(|place| self.seen[*place].ticket);
        found
    }

    /// The first of the live parties that `is_meant` accepts and the phase is not done with. The phase is done with it
    /// then.
    pub(crate) fn next(&mut self, is_meant: impl Fn(&Party) -> bool) -> Option<usize> {
        let found = self.live(is_meant).into_iter();
        let next = found.into_iter().find(|place| !self.passed[*place])?;
        self.passed[next] = true;
        Some(next)
    }

    /// Whether `is_meant` accepts a party that has ended.
    pub(crate) fn has_dead(&self, is_meant: impl Fn(&Party) -> bool) -> bool {
        (0..MOST).any(|place| self.dead[place] && is_meant(&self.seen[place]))
    }

    /// Continues with another phase.
    pub(crate) fn enter(&mut self, phase: u8) {
        self.phase = phase;
        self.passed = [false; MOST];
    }
}
