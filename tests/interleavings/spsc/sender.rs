//! The steps of the sender.

use super::{Broken, Flag, Packet, Sender, State};

impl State {
    pub(super) fn send_step(&mut self, broken: Broken) -> Option<Sender> {
        let with_descriptors = *self.to_send.front()?;
        Some(match self.sender {
            Sender::Begin if with_descriptors => {
                if broken != Broken::KeepsFlagAtDescriptors {
                    // This store is SeqCst: it orders the store of a receiver before it.
                    self.late_flag = false;
                    self.flag = Flag::HasSentFds;
                }
                Sender::SendDescriptors
            }
            Sender::Begin => {
                self.sender = Sender::Commit;
                return self.send_step(broken);
            }
            Sender::SendDescriptors if self.hung_up => Sender::Done,
            Sender::SendDescriptors => {
                self.tags += 1;
                self.send(Packet::Descriptors(self.tags));
                Sender::Commit
            }
            Sender::Commit if self.ended => Sender::Done,
            Sender::Commit => {
                self.frames.push_back(with_descriptors.then_some(self.tags));
                Sender::LookAtFlag
            }
            Sender::LookAtFlag if self.needs_no_ring(with_descriptors) => self.next_message(),
            Sender::LookAtFlag if broken == Broken::SetsFlagAfterRing => Sender::Ring,
            Sender::LookAtFlag => Sender::SetFlag,
            Sender::SetFlag => {
                self.flag = Flag::Rung;
                Sender::Ring
            }
            Sender::Ring => {
                self.send(Packet::Ring);
                match broken {
                    Broken::SetsFlagAfterRing => Sender::SetFlagLate,
                    _ => self.next_message(),
                }
            }
            Sender::SetFlagLate => {
                self.flag = Flag::Rung;
                self.next_message()
            }
            Sender::Done | Sender::Dead => return None,
        })
    }

    fn needs_no_ring(&self, with_descriptors: bool) -> bool {
        match with_descriptors {
            true => self.flag != Flag::Sleeps,
            false => self.flag == Flag::Rung,
        }
    }

    fn next_message(&mut self) -> Sender {
        self.to_send.pop_front();
        match self.to_send.is_empty() {
            true => Sender::Done,
            false => Sender::Begin,
        }
    }
}
