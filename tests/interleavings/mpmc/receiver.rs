//! The steps of a receiver.

use super::{Broken, Frame, Lock, Packet, State, Step};

impl State {
    pub(super) fn receive_step(&mut self, who: usize, broken: Broken) -> Option<Step> {
        Some(match self.processes[who].step {
            Step::LockToReceive => {
                self.lock_receivers(who)?;
                Step::Look
            }
            Step::Look => match self.frames.front() {
                None => {
                    self.receive_lock = Lock::Free;
                    Step::PollSocket
                }
                Some(Frame::Plain) => Step::Release,
                Some(Frame::Spilled(place)) => {
                    self.processes[who].place = Some(*place);
                    Step::Copy
                }
                Some(Frame::WithDescriptors(tag)) => {
                    self.taken = *tag;
                    Step::TakeDescriptors
                }
            },
            Step::TakeDescriptors => {
                let tag = self.taken;
                // The descriptors are in the socket: a model without them panics here.
                match self.socket.pop_front().unwrap() == Packet::Descriptors(tag) {
                    true => Step::Release,
                    false => Step::TakeDescriptors,
                }
            }
            Step::Release => {
                self.frames.pop_front();
                let gives_back =
                    self.processes[who].place.is_some() && broken != Broken::GivesBackBeforeRelease;
                if !gives_back || broken == Broken::GivesBackAfterUnlock {
                    self.receive_lock = Lock::Free;
                }
                match gives_back {
                    true => Step::GiveBack,
                    false => self.after_receive(who),
                }
            }
            step @ (Step::Copy | Step::GiveBack | Step::NoteFreed) => {
                return self.read_step(who, step, broken);
            }
            step => return self.arm_step(who, step, broken),
        })
    }

    /// The step of a receiver that has a message.
    pub(super) fn after_receive(&mut self, who: usize) -> Step {
        self.processes[who].place = None;
        self.processes[who].wanted -= 1;
        match self.processes[who].wanted {
            0 => Step::Done,
            _ => Step::LockToReceive,
        }
    }

    fn arm_step(&mut self, who: usize, step: Step, broken: Broken) -> Option<Step> {
        Some(match step {
            // The reactor reports an event only while there is something to read.
            Step::PollSocket => {
                let event = std::mem::take(&mut self.processes[who].event);
                self.processes[who].had_event = event && !self.socket.is_empty();
                match broken {
                    Broken::ClearsFlagWithoutSendersLock => Step::LockBoth,
                    _ => Step::LockSenders,
                }
            }
            // A receiver that finds a lock taken sleeps for a while and looks again.
            Step::LockSenders => match self.lock_senders(who, broken) {
                Some(()) => Step::LockBoth,
                None => Step::LockToReceive,
            },
            Step::LockBoth => match self.lock_receivers(who) {
                Some(()) if self.frames.is_empty() => Step::Reset,
                Some(()) if broken == Broken::ResetsBesideMessages => Step::Reset,
                Some(()) => self.unlock_both(who),
                None => {
                    self.unlock_senders(who);
                    Step::LockToReceive
                }
            },
            Step::Reset | Step::ResetPages | Step::ResetFreed | Step::ResetEnd => {
                return self.reset_step(step, broken);
            }
            Step::TakeRings if !self.frames.is_empty() => self.unlock_both(who),
            Step::TakeRings => {
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
                match std::mem::take(&mut self.processes[who].had_event) {
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

    /// A receiver that was about to sleep looks again.
    fn unlock_both(&mut self, who: usize) -> Step {
        self.unlock_senders(who);
        self.receive_lock = Lock::Free;
        Step::LockToReceive
    }

    fn lock_receivers(&mut self, who: usize) -> Option<()> {
        match self.receive_lock {
            Lock::Free => {}
            Lock::Held(_) if !self.has_dead_owner(self.receive_lock) => return None,
            Lock::Held(_) => self.needs_recovery = true,
        }
        self.receive_lock = Lock::Held(who);
        if self.needs_recovery && self.first_is_without_fds() {
            self.frames.pop_front();
        }
        self.needs_recovery = false;
        Some(())
    }

    /// Whether a receiver died after it took the descriptors of the first message.
    pub(super) fn first_is_without_fds(&self) -> bool {
        match self.frames.front() {
            Some(Frame::WithDescriptors(tag)) => self.taken == *tag && self.fds_were_taken(*tag),
            _ => false,
        }
    }

    /// Whether the descriptors `tag` are no longer in the socket: the next packet was sent after them.
    fn fds_were_taken(&self, tag: u8) -> bool {
        match self.socket.front() {
            None => true,
            Some(Packet::Descriptors(next)) => *next > tag,
            Some(Packet::Ring(after)) => *after >= tag,
        }
    }
}
