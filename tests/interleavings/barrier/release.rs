//! How a release that was decided is completed.

use super::{Barrier, END_RELEASE, GRANT, GRANT_THE_DEAD, LOAD_LAST, LOAD_RESET, LOAD_STATE};
use crate::party::{Next, Party, PartyState, Rule, State};

/// Completes the release that runs.
pub(super) fn release(state: &mut State<Barrier>, who: usize, rule: Rule) -> Next {
    let barrier = &mut state.object;
    let round = &mut state.processes[who].round;
    match round.phase {
        LOAD_STATE => {
            round.enter(match barrier.is_releasing {
                true => LOAD_LAST,
                false => LOAD_RESET,
            });
            Next::Decide
        }
        LOAD_LAST => {
            round.number = barrier.last;
            // Of a release that another process has begun, the table is read again at the end.
            round.flag = true;
            round.enter(GRANT);
            Next::Decide
        }
        GRANT => grant(state, who, rule),
        END_RELEASE => {
            barrier.is_releasing = false;
            barrier.has_leader = false;
            round.enter(GRANT_THE_DEAD);
            Next::Decide
        }
        _ => {
            let last = round.number;
            let is_left = |place: &usize| {
                round.dead[*place]
                    && round.seen[*place].is_waiting()
                    && round.seen[*place].ticket <= last
            };
            if let Some(place) = (0..3).find(is_left) {
                round.seen[place].state = PartyState::Granted;
                if state.table[place].is_waiting() {
                    state.table[place].state = PartyState::Granted;
                }
                return Next::Decide;
            }
            match std::mem::take(&mut round.flag) {
                true => {
                    round.enter(LOAD_RESET);
                    Next::ReadAgain
                }
                false => Next::Over,
            }
        }
    }
}

/// Grants the next party of the release, the leader last.
fn grant(state: &mut State<Barrier>, who: usize, rule: Rule) -> Next {
    let round = &mut state.processes[who].round;
    let last = round.number;
    let is_released = |party: &Party| party.is_waiting() && party.ticket <= last;
    let left = round.live(is_released);
    let not_passed = |place: &&usize| !round.passed[**place];
    let leader = left.last().copied();
    let first = match rule {
        Rule::LeaderFirst => left.iter().rev().find(not_passed),
        _ => left.iter().find(not_passed),
    };
    let Some(&place) = first else {
        round.enter(END_RELEASE);
        return Next::Decide;
    };
    round.passed[place] = true;
    let is_leader = Some(place) == leader;
    let to = match is_leader {
        true => PartyState::GrantedFirst,
        false => PartyState::Granted,
    };
    if state.exchange(who, place, to, rule) && is_leader {
        state.object.is_wrong |= state.object.has_leader;
        state.object.has_leader = true;
    }
    Next::Decide
}
