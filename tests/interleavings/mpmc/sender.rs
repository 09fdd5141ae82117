//! The steps of a sender.

use super::{Broken, Lock, Packet, State, Step};

impl State {
    pub(super) fn send_step(&mut self, who: usize, broken: Broken) -> Option<Step> {
        let with_descriptors = self.processes[who].to_send[0];
        Some(match self.processes[who].step {
            Step::LockToSend => {
                self.lock_senders(who, broken)?;
                match broken {
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
                Step::Commit
            }
            Step::Commit => {
                self.frames.push_back(with_descriptors.then_some(self.tags));
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
                self.processes[who].to_send.pop_front();
                match self.processes[who].to_send.is_empty() {
                    true => Step::Done,
                    false => Step::LockToSend,
                }
            }
            _ => return None,
        })
    }
}
