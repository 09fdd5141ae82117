//! The steps of the receivers.

use super::{ALL, Broken, Packet, State, Step};

impl State {
    pub(super) fn receive_step(&mut self, who: usize, broken: Broken) -> Option<Step> {
        let waiter = &mut self.waiters[who];
        Some(match waiter.step {
            Step::Look if self.used_by.is_some() => return None,
            Step::Look => match self.frames.pop_front() {
                None => Step::Register,
                Some(tag) => {
                    tag.inspect(|tag| self.take_descriptors(*tag));
                    let waiter = &mut self.waiters[who];
                    waiter.wanted -= u8::from(waiter.wanted != ALL);
                    match waiter.wanted {
                        0 => Step::Done,
                        _ => Step::Look,
                    }
                }
            },
            Step::Register => {
                waiter.registered = true;
                match waiter.is_thread {
                    true => Step::TakePollTurn,
                    false => self.poll_news(who, broken),
                }
            }
            Step::TakePollTurn => {
                waiter.has_poll_turn = !std::mem::replace(&mut self.is_polled, true);
                Step::TakeRings
            }
            Step::TakeRings
            | Step::ClearFlag
            | Step::LookAgain
            | Step::TakeRingsLate
            | Step::LookForEnd => return self.arm_step(who, broken),
            _ => return self.wake_step(who, broken),
        })
    }

    fn take_descriptors(&mut self, tag: u8) {
        while let Some(packet) = self.socket.pop_front() {
            if packet == Packet::Descriptors(tag) {
                return;
            }
        }
        self.descriptors_lost = true;
    }

    /// A task asks the reactor for an event.
    fn poll_news(&mut self, who: usize, broken: Broken) -> Step {
        let had_event = std::mem::take(&mut self.reactor_ready);
        self.waiters[who].had_event = had_event;
        match had_event {
            true => self.wake_all(broken),
            false => self.reactor_armed = true,
        }
        Step::TakeRings
    }

    /// The waiter sleeps until it is woken.
    fn wake_step(&mut self, who: usize, broken: Broken) -> Option<Step> {
        let waiter = &mut self.waiters[who];
        Some(match waiter.step {
            Step::Asleep | Step::Parked if !waiter.woken => return None,
            Step::Asleep | Step::Parked => {
                waiter.woken = false;
                waiter.registered &= !waiter.is_thread;
                Step::Look
            }
            Step::Polling => {
                if !self.is_readable() && !self.doorbell {
                    return None;
                }
                self.doorbell = false;
                Step::DropPollTurn
            }
            Step::RetryLater => self.stop_waiting(who, Step::Look),
            Step::DropPollTurn | Step::DropPollTurnAtEnd => {
                let step = waiter.step;
                waiter.has_poll_turn = false;
                self.is_polled = false;
                if broken != Broken::DropsPollTurnWithoutWake {
                    self.wake_all(broken);
                }
                match step {
                    Step::DropPollTurn => Step::Look,
                    _ => Step::Closed,
                }
            }
            _ => return None,
        })
    }

    /// The waiter looks whether it must sleep.
    fn arm_step(&mut self, who: usize, broken: Broken) -> Option<Step> {
        Some(match self.waiters[who].step {
            Step::TakeRings if self.used_by.is_some() => return None,
            Step::TakeRings => {
                self.used_by = Some(who);
                if broken != Broken::TakesRingsAfterSecondLook {
                    self.take_rings(who, broken);
                }
                Step::ClearFlag
            }
            Step::ClearFlag => {
                self.late_flag = true;
                Step::LookAgain
            }
            // A fence: it is passed when the store before it is visible.
            Step::LookAgain if self.late_flag && broken != Broken::ClearsFlagWithoutFence => {
                return None;
            }
            Step::LookAgain
                if !self.frames.is_empty() && broken != Broken::SleepsWithoutSecondLook =>
            {
                self.release(who, broken, true, Step::Look)
            }
            Step::LookAgain if broken == Broken::TakesRingsAfterSecondLook => Step::TakeRingsLate,
            Step::LookAgain => Step::LookForEnd,
            Step::TakeRingsLate => {
                self.take_rings(who, broken);
                Step::LookForEnd
            }
            Step::LookForEnd if !self.hung_up => {
                let sleep_step = self.sleep_step(who);
                self.release(who, broken, false, sleep_step)
            }
            Step::LookForEnd => {
                let ends = self.frames.is_empty() || broken == Broken::ClosesWithoutCompare;
                self.ended |= ends && broken != Broken::ClosesWithoutCompare;
                match ends {
                    true => self.release(who, broken, false, Step::Closed),
                    false => self.release(who, broken, true, Step::Look),
                }
            }
            _ => return None,
        })
    }

    fn take_rings(&mut self, who: usize, broken: Broken) {
        while let Some(packet) = self.socket.front() {
            if *packet != Packet::Ring && broken != Broken::TakesDescriptors {
                self.waiters[who].saw_descriptors = true;
                return;
            }
            self.socket.pop_front();
            self.waiters[who].took_rings = true;
        }
    }

    /// Lets other waiters use the end, and wakes them if they may have something to do.
    fn release(&mut self, who: usize, broken: Broken, wakes_others: bool, then: Step) -> Step {
        self.used_by = None;
        let waiter = &mut self.waiters[who];
        waiter.saw_descriptors = false;
        waiter.had_event = false;
        let took_rings = std::mem::take(&mut waiter.took_rings);
        if took_rings && wakes_others && broken != Broken::WakesNoOtherWaiter {
            self.wake_all(broken);
        }
        match then {
            Step::Look | Step::Closed => self.stop_waiting(who, then),
            then => then,
        }
    }

    /// How a waiter sleeps that found no message.
    fn sleep_step(&self, who: usize) -> Step {
        let waiter = &self.waiters[who];
        match waiter.is_thread {
            _ if waiter.saw_descriptors => Step::RetryLater,
            true if waiter.has_poll_turn => Step::Polling,
            true => Step::Parked,
            // The event was taken: the task must poll again for the next one.
            false if waiter.had_event => Step::Look,
            false => Step::Asleep,
        }
    }

    /// The waiter does not sleep. A thread is registered while it is blocked, a task until it is done. The thread that
    /// polls drops its turn.
    fn stop_waiting(&mut self, who: usize, then: Step) -> Step {
        let waiter = &mut self.waiters[who];
        waiter.registered &= !waiter.is_thread;
        match then {
            Step::Closed if waiter.has_poll_turn => Step::DropPollTurnAtEnd,
            _ if waiter.has_poll_turn => Step::DropPollTurn,
            then => then,
        }
    }
}
