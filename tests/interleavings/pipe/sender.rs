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
                    self.flag = Flag::DescriptorsSent;
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
                self.ring.push_back(with_descriptors.then_some(self.tags));
                Sender::LookAtFlag
            }
            Sender::LookAtFlag => {
                let needs_no_wake = match with_descriptors {
                    true => self.flag != Flag::Asleep,
                    false => self.flag == Flag::Woken,
                };
                match needs_no_wake {
                    true => self.next_message(),
                    false if broken == Broken::SetsFlagAfterWake => Sender::Wake,
                    false => Sender::SetFlag,
                }
            }
            Sender::SetFlag => {
                self.flag = Flag::Woken;
                Sender::Wake
            }
            Sender::Wake => {
                self.send(Packet::Wake);
                match broken {
                    Broken::SetsFlagAfterWake => Sender::SetFlagLate,
                    _ => self.next_message(),
                }
            }
            Sender::SetFlagLate => {
                self.flag = Flag::Woken;
                self.next_message()
            }
            Sender::Done | Sender::Dead => return None,
        })
    }

    fn next_message(&mut self) -> Sender {
        self.to_send.pop_front();
        match self.to_send.is_empty() {
            true => Sender::Done,
            false => Sender::Begin,
        }
    }
}
