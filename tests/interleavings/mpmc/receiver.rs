//! The steps of a receiver.

use super::{Broken, Lock, Packet, State, Step};

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
                Some(None) => Step::Release,
                Some(Some(tag)) => {
                    self.taken = *tag;
                    Step::TakeDescriptors
                }
            },
            Step::TakeDescriptors => {
                let tag = self.frames[0].unwrap();
                // The descriptors are in the socket: a model without them panics here.
                match self.socket.pop_front().unwrap() == Packet::Descriptors(tag) {
                    true => Step::Release,
                    false => Step::TakeDescriptors,
                }
            }
            Step::Release => {
                self.frames.pop_front();
                self.receive_lock = Lock::Free;
                self.processes[who].wanted -= 1;
                match self.processes[who].wanted {
                    0 => Step::Done,
                    _ => Step::LockToReceive,
                }
            }
            step => return self.arm_step(who, step, broken),
        })
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
                Some(()) => Step::TakeRings,
                None => {
                    self.unlock_senders(who);
                    Step::LockToReceive
                }
            },
            Step::TakeRings if !self.frames.is_empty() => {
                self.unlock_senders(who);
                self.receive_lock = Lock::Free;
                Step::LockToReceive
            }
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
        let tag = self.frames.front().copied().flatten();
        tag.is_some_and(|tag| self.taken == tag && self.fds_were_taken(tag))
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
