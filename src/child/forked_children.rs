//! The children that a fork server has forked, for the moment in which their parent has ended.
//!
//! Runs in the fork server. The kernel continues a child that is stopped when its parent ends (`sys/parent_death.rs`),
//! and the child then ends by itself. A child that is stopped a moment later would stay for ever, so the fork server
//! continues it. The fork server is not its parent, so a pid may have become another process's: the fork server
//! remembers when it has forked, and compares that with the start of the process.
//!
//! Must stay true: nothing is signalled while the parent lives, and no detached child ever.

use std::thread;
use std::time::{Duration, Instant};

use crate::sys::clock::boot_ticks;
use crate::sys::{identity, procfs, signal, socket};

/// How many children are remembered before ended ones are forgotten.
const FEWEST_TO_FORGET: usize = 64;

/// How long children may take to end after their parent.
const LONGEST_STAY: Duration = Duration::from_secs(2);
/// How long the application may take to end after it has closed its socket.
const LONGEST_END_OF_APPLICATION: Duration = Duration::from_secs(1);
/// The pause between two rounds in which stopped children are continued.
const BETWEEN_CONTINUATIONS: Duration = Duration::from_millis(10);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct ForkedChildren {
    known: Vec<RememberedChild>,
    /// How many there must be before ended children are forgotten.
    forget_at: usize,
}

/// A child, and the ticks since the start of the machine between which it was forked.
#[derive(Debug, Clone, Copy)]
struct RememberedChild {
    pid: u32,
    from: u64,
    to: u64,
}

impl RememberedChild {
    /// The letter of its state (`proc_pid_stat(5)`); `None` if it has ended.
    fn state(self) -> Option<u8> {
        let (state, started) = procfs::state_and_start(self.pid)?;
        let is_it = (self.from..=self.to).contains(&started);
        (is_it && !matches!(state, b'Z' | b'X')).then_some(state)
    }

    /// If it is stopped, continues it, or `kills` it.
    fn end_if_stopped(self, kills: bool) {
        // Opened before the state is read, so the signal goes to the process whose state that is.
        let Ok(pidfd) = signal::pidfd(self.pid) else {
            return; // it has ended
        };
        if self.state() == Some(b'T') {
            let _ = match kills {
                false => signal::continue_pidfd(&pidfd),
                true => signal::kill_pidfd(&pidfd),
            };
        }
    }
}

impl ForkedChildren {
    /// Remembers the child `pid`, which was forked after the tick `from`.
    pub(super) fn add(&mut self, pid: u32, from: u64) {
        if self.known.len() >= self.forget_at.max(FEWEST_TO_FORGET) {
            // Much cheaper than a look at its state. A number that has become another's is found out at the end.
            self.known.retain(|it| signal::exists(it.pid));
            self.forget_at = 2 * self.known.len();
        }
        let to = boot_ticks();
        self.known.push(RememberedChild { pid, from, to });
    }

    /// If the parent `application` has ended: continues the stopped children, and waits until all children have ended.
    /// Kills a child that is stopped again.
    pub(super) fn end_without(&self, application: u32) {
        let left = || self.known.iter().filter(|it| it.state().is_some());
        if left().next().is_none() || !has_ended(application) {
            return;
        }
        let began = Instant::now();
        while began.elapsed() < LONGEST_STAY {
            left().for_each(|it| it.end_if_stopped(false));
            if left().next().is_none() {
                return;
            }
            thread::sleep(BETWEEN_CONTINUATIONS);
        }
        left().for_each(|it| it.end_if_stopped(true));
    }
}

/// Whether the application, which has closed its end of the socket, has ended. Waits for that, but not long: it may
/// have given this fork server up.
fn has_ended(application: u32) -> bool {
    // As long as it is the parent, it is not reaped.
    let pidfd = signal::pidfd(application);
    identity::parent() != application
        || pidfd.is_ok_and(|it| socket::wait_readable(it, Some(LONGEST_END_OF_APPLICATION)).is_ok())
            && identity::parent() != application
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_is_known_by_its_number_and_its_start() {
        let from = boot_ticks();
        let mut sleep = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let to = boot_ticks();
        let child = RememberedChild {
            pid: sleep.id(),
            from,
            to,
        };
        assert!(child.state().is_some());
        assert_eq!(
            RememberedChild {
                from: to + 1,
                to: to + 2,
                ..child
            }
            .state(),
            None
        );
        sleep.kill().unwrap();
        sleep.wait().unwrap();
        assert_eq!(child.state(), None);
    }

    #[test]
    fn ended_children_are_forgotten() {
        let mut children = ForkedChildren::default();
        for _ in 0..3 * FEWEST_TO_FORGET {
            let mut ended = std::process::Command::new("true").spawn().unwrap();
            let from = boot_ticks();
            ended.wait().unwrap();
            children.add(ended.id(), from);
        }
        assert!(children.known.len() <= FEWEST_TO_FORGET);
    }
}
