//! The memory of messages that do not fit the ring, and the steps that write, read and give it back.

use super::{Broken, Frame, Lock, State, Step};

/// How many messages fit a page. Every message has the same length.
const PAGE: usize = 2;

/// More messages than a scenario has.
const MESSAGES: usize = 6;

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Memory {
    /// The messages that were written and not given back.
    cells: [Option<u8>; MESSAGES],
    /// Behind the last message that was kept. `None` if nothing was written since the last reset.
    end: Option<usize>,
    /// Where the memory begins that was not given back.
    freed: usize,
}

/// Where a message is, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    at: usize,
    message: u8,
}

impl Memory {
    /// Whether memory is left that the next reset does not give back.
    pub(super) fn is_forgotten(&self) -> bool {
        self.end.is_none() && self.cells.iter().any(Option::is_some)
    }

    /// The whole pages before the end of the message at `place` that were not given back.
    fn pages_before(&self, place: Place, broken: Broken) -> std::ops::Range<usize> {
        let end = place.at + 1;
        let end = match broken {
            Broken::GivesBackSharedPages => end.next_multiple_of(PAGE),
            _ => end - end % PAGE,
        };
        self.freed.min(end)..end
    }
}

impl State {
    pub(super) fn write_step(&mut self, who: usize, step: Step, broken: Broken) -> Option<Step> {
        let at = self.memory.end.unwrap_or(0);
        let message = (who * MESSAGES + self.processes[who].to_send.len()) as u8;
        Some(match step {
            Step::Mark => {
                self.memory.end = Some(at);
                Step::Write
            }
            Step::Write => {
                self.memory.cells[at] = Some(message);
                match self.flag {
                    true => self.after_ring(who, broken),
                    false => Step::Ring,
                }
            }
            Step::Keep => {
                self.processes[who].place = Some(Place { at, message });
                self.memory.end = Some(at + 1);
                match broken {
                    Broken::KeepsAfterCommit => Step::Unlock,
                    _ => Step::Commit,
                }
            }
            Step::Commit => {
                let place = self.processes[who].place.take();
                let place = place.unwrap_or(Place { at, message });
                self.frames.push_back(Frame::Spilled(place));
                match broken {
                    Broken::KeepsAfterCommit => Step::Keep,
                    _ => Step::Unlock,
                }
            }
            _ => return None,
        })
    }

    pub(super) fn read_step(&mut self, who: usize, step: Step, broken: Broken) -> Option<Step> {
        let place = self.processes[who].place?;
        Some(match step {
            Step::Copy => {
                self.is_torn |= self.memory.cells[place.at] != Some(place.message);
                match broken {
                    Broken::GivesBackBeforeRelease => Step::GiveBack,
                    _ => Step::Release,
                }
            }
            Step::GiveBack => {
                for at in self.memory.pages_before(place, broken) {
                    self.memory.cells[at] = None;
                }
                Step::NoteFreed
            }
            Step::NoteFreed => {
                self.memory.freed = self.memory.pages_before(place, broken).end;
                if broken == Broken::GivesBackBeforeRelease {
                    return Some(Step::Release);
                }
                self.processes[who].place = None;
                if self.receive_lock == Lock::Held(who) {
                    self.receive_lock = Lock::Free;
                }
                self.after_receive(who)
            }
            _ => return None,
        })
    }

    pub(super) fn reset_step(&mut self, step: Step, broken: Broken) -> Option<Step> {
        Some(match step {
            Step::Reset if self.memory.end.is_none() => Step::TakeRings,
            Step::Reset if broken == Broken::ResetsEndFirst => {
                self.memory.end = None;
                Step::ResetPages
            }
            Step::Reset | Step::ResetPages => {
                self.memory.cells = [None; MESSAGES];
                Step::ResetFreed
            }
            Step::ResetFreed => {
                self.memory.freed = 0;
                Step::ResetEnd
            }
            Step::ResetEnd => {
                self.memory.end = None;
                Step::TakeRings
            }
            _ => return None,
        })
    }
}
