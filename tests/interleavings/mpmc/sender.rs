//! The steps of a sender.

use super::{Broken, Frame, Kind, Lock, Packet, State, Step};

impl State {
    pub(super) fn send_step(&mut self, who: usize, broken: Broken) -> Option<Step> {
        let kind = self.processes[who].to_send[0];
        let with_descriptors = kind == Kind::WithDescriptors;
        Some(match self.processes[who].step {
            Step::LockToSend => {
                self.lock_senders(who, broken)?;
                match broken {
                    Broken::ForgetsWhatIsWritten if kind == Kind::Spilled => Step::Write,
                    _ if kind == Kind::Spilled => Step::Mark,
                    Broken::RingsAfterCommit if !with_descriptors => Step::Commit,
                    _ if with_descriptors || !self.flag => Step::Ring,
                    _ => Step::Commit,
                }
            }
            Step::Ring if with_descriptors => {
                self.tags += 1;
                self.send(Packet::Descriptors(self.tags));
                Step::SetFlag
            }
            Step::Ring => {
                self.send(Packet::Ring(self.tags));
                Step::SetFlag
            }
            Step::SetFlag => {
                self.flag = !with_descriptors || broken == Broken::KeepsFlagAfterDescriptors;
                self.after_ring(who, broken)
            }
            step @ (Step::Mark | Step::Write | Step::Keep) => {
                return self.write_step(who, step, broken);
            }
            Step::Commit if kind == Kind::Spilled => {
                return self.write_step(who, Step::Commit, broken);
            }
            Step::Commit => {
                self.frames.push_back(match with_descriptors {
                    true => Frame::WithDescriptors(self.tags),
                    false => Frame::Plain,
                });
                match broken {
                    Broken::RingsAfterCommit if !with_descriptors && !self.flag => Step::RingLate,
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
                self.processes[who].place = None;
                self.processes[who].to_send.pop_front();
                match self.processes[who].to_send.is_empty() {
                    true => Step::Done,
                    false => Step::LockToSend,
                }
            }
            _ => return None,
        })
    }

    /// The step of a sender once the doorbell was rung.
    pub(super) fn after_ring(&self, who: usize, broken: Broken) -> Step {
        let is_spilled = self.processes[who].to_send[0] == Kind::Spilled;
        match is_spilled && broken != Broken::KeepsAfterCommit {
            true => Step::Keep,
            false => Step::Commit,
        }
    }
}
