//! What was received and is not done, counted by process.
//!
//! A word for each process that receives: its number, a bit, and a count. The bit is set together with the
//! count while a message is being taken, and cleared when it is taken: who dies in between has not
//! received it, and whoever inherits the lock takes the count back.

use std::sync::atomic::Ordering;

use super::duct::MOST_HOLDERS;
use super::end::End;

/// The place of a process that has received nothing.
pub(super) const NO_HOLDER: usize = usize::MAX;

/// The part of a holder's word that counts.
const COUNT: u64 = 0x7fff_ffff;

/// The bit of a holder's word that says that its last message is not taken yet.
const TAKING: u64 = 0x8000_0000;

impl End {
    /// Counts one message as received by this process and not done. It holds the receivers' lock.
    pub(super) fn hold_one(&self) {
        let mut place = self.holder.load(Ordering::Relaxed);
        if place == NO_HOLDER {
            place = self.find_place();
            self.holder.store(place, Ordering::Relaxed);
        }
        // It stops counting at the most there can be: who never says `done` does not care.
        let one_more = |known: u64| (known & COUNT < COUNT).then(|| (known + 1) | TAKING);
        let word = self.duct.holder(place);
        let _ = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
    }

    /// What was counted last is taken.
    pub(super) fn holds_it(&self) {
        let word = self.duct.holder(self.holder.load(Ordering::Relaxed));
        word.fetch_and(!TAKING, Ordering::AcqRel);
    }

    /// Settles what a receiver that died with the lock had begun; `taken` says whether it took its message.
    pub(super) fn settle(&self, taken: bool) {
        for place in 0..MOST_HOLDERS {
            let settled = |known: u64| match known & TAKING {
                0 => None,
                _ if taken || known & COUNT == 0 => Some(known & !TAKING),
                _ => Some((known & !TAKING) - 1),
            };
            let word = self.duct.holder(place);
            let _ = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, settled);
        }
    }

    /// A place for this process among the holders: its own, a free one, or the shared last.
    fn find_place(&self) -> usize {
        let pid = std::process::id();
        let born = Life::of(pid).map_or(0, |life| life.born);
        self.own_place(pid, born).unwrap_or_else(|| {
            let free = (0..MOST_HOLDERS - 1).find(|place| self.claim_place(*place, pid, born));
            free.unwrap_or(MOST_HOLDERS - 1)
        })
    }

    fn own_place(&self, pid: u32, born: u64) -> Option<usize> {
        (0..MOST_HOLDERS - 1).find(|place| {
            let known = self.duct.holder(*place).load(Ordering::Acquire);
            (known >> 32) as u32 == pid && self.duct.born(*place).load(Ordering::Acquire) == born
        })
    }

    /// Takes the place if it is nobody's, or that of a dead process that left nothing undone.
    fn claim_place(&self, place: usize, pid: u32, born: u64) -> bool {
        let word = self.duct.holder(place);
        let known = word.load(Ordering::Acquire);
        let free = known & (COUNT | TAKING) == 0 && (known == 0 || self.is_gone(place, known));
        let own = u64::from(pid) << 32;
        let claimed = free
            && word
                .compare_exchange(known, own, Ordering::AcqRel, Ordering::Acquire)
                .is_ok();
        if claimed {
            self.duct.born(place).store(born, Ordering::Release);
        }
        claimed
    }

    /// Counts one message as done. False if this process holds none.
    pub(crate) fn done_one(&self) -> bool {
        let mut place = self.holder.load(Ordering::Relaxed);
        if place == NO_HOLDER {
            // Another end of this process may have received.
            let pid = std::process::id();
            let born = Life::of(pid).map_or(0, |life| life.born);
            let Some(own) = self.own_place(pid, born) else {
                return false;
            };
            place = own;
            self.holder.store(place, Ordering::Relaxed);
        }
        let word = self.duct.holder(place);
        let done = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |known| {
            (known & COUNT > 0).then(|| known - 1)
        });
        if done.is_ok() && self.unfinished() == 0 {
            let _ = self.ring();
        }
        done.is_ok()
    }

    /// How many messages were sent and are not done.
    pub(crate) fn unfinished(&self) -> usize {
        // What the dead had begun is settled by whoever inherits their lock.
        drop(self.lock_receivers());
        // In this order: what leaves the ring in between is counted twice rather than never.
        let waiting = self.len();
        waiting + self.held(|_, _| true)
    }

    /// How many messages are held by processes that are gone.
    pub(crate) fn lost(&self) -> usize {
        self.held(|place, word| self.is_gone(place, word))
    }

    fn is_gone(&self, place: usize, word: u64) -> bool {
        let pid = (word >> 32) as u32;
        let born = self.duct.born(place).load(Ordering::Acquire);
        // The shared place is nobody's.
        pid != 0
            && Life::of(pid).is_none_or(|life| life.is_over || (born != 0 && life.born != born))
    }

    fn held(&self, of: impl Fn(usize, u64) -> bool) -> usize {
        let words =
            (0..MOST_HOLDERS).map(|place| (place, self.duct.holder(place).load(Ordering::Acquire)));
        let counted = words.filter(|(place, word)| word & COUNT > 0 && of(*place, *word));
        counted.map(|(_, word)| (word & COUNT) as usize).sum()
    }
}

/// What the kernel says of a process.
struct Life {
    /// When it began, in ticks since the machine did.
    born: u64,
    /// It has ended, and nobody has reaped it.
    is_over: bool,
}

impl Life {
    /// Reads `/proc/PID/stat` (`proc_pid_stat(5)`); `None` if there is no such process.
    fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold anything, parentheses too; what follows the last one may not.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let is_over = matches!(fields.next()?, "Z" | "X");
        let born = fields.nth(18)?.parse().ok()?;
        Some(Self { born, is_over })
    }
}
