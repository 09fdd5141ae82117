//! What was received and is not done, counted by process.
//!
//! Two counters for each process that receives: what it took, and what it has done. What it takes is counted
//! before it is taken, and a bit of the counter says that it is being taken: who dies in between has not
//! received it, and whoever inherits the lock takes the count back.

use std::sync::atomic::Ordering;

use super::end::End;
use super::shm::MOST_HOLDERS;

/// The place of a process that has received nothing.
pub(super) const NO_HOLDER: usize = usize::MAX;

/// The bit of what a holder took that says that the last of it is not taken yet.
const TAKING: u64 = 1 << 63;

impl End {
    /// Counts one message as received by this process and not done. It holds the receivers' lock.
    #[inline]
    pub(super) fn hold_one(&self) {
        let mut place = self.holder.load(Ordering::Relaxed);
        if place == NO_HOLDER {
            place = self.find_place();
            self.holder.store(place, Ordering::Relaxed);
        }
        let taken = self.duct.taken(place);
        // Nobody else writes it: this one has the lock.
        let before = taken.load(Ordering::Relaxed) & !TAKING;
        taken.store((before + 1) | TAKING, Ordering::Release);
    }

    /// What was counted last is taken. It holds the receivers' lock.
    #[inline]
    pub(super) fn holds_it(&self) {
        let taken = self.duct.taken(self.holder.load(Ordering::Relaxed));
        let count = taken.load(Ordering::Relaxed) & !TAKING;
        taken.store(count, Ordering::Release);
    }

    /// Settles what a receiver that died with the lock had begun; `is_taken` says whether it took its message. It
    /// holds the receivers' lock.
    pub(super) fn settle(&self, is_taken: bool) {
        for place in 0..MOST_HOLDERS {
            let taken = self.duct.taken(place);
            let counted = taken.load(Ordering::Relaxed);
            if counted & TAKING != 0 {
                let back = u64::from(!is_taken);
                taken.store((counted & !TAKING).saturating_sub(back), Ordering::Release);
            }
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
            self.duct.holder(*place).load(Ordering::Acquire) == u64::from(pid)
                && self.duct.born(*place).load(Ordering::Acquire) == born
        })
    }

    /// Takes the place if it is nobody's, or that of a dead process that left nothing undone. It holds the
    /// receivers' lock.
    fn claim_place(&self, place: usize, pid: u32, born: u64) -> bool {
        let is_free = self.duct.holder(place).load(Ordering::Acquire) == 0
            || (self.undone(place) == 0 && self.is_gone(place));
        if is_free {
            // Who dies in between leaves a place of nobody's.
            self.duct.holder(place).store(0, Ordering::Release);
            self.duct.born(place).store(born, Ordering::Release);
            let holder = self.duct.holder(place);
            holder.store(u64::from(pid), Ordering::Release);
        }
        is_free
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
        let taken = self.duct.taken(place);
        let done = self.duct.done(place);
        let counted = done.fetch_update(Ordering::AcqRel, Ordering::Acquire, |known| {
            (known < taken.load(Ordering::Acquire) & !TAKING).then(|| known + 1)
        });
        if counted.is_ok() && self.unfinished() == 0 {
            let _ = self.ring();
        }
        counted.is_ok()
    }

    /// How many messages were sent and are not done.
    pub(crate) fn unfinished(&self) -> usize {
        // What the dead had begun is settled by whoever inherits their lock.
        drop(self.lock_receivers());
        // In this order: what leaves the ring in between is counted twice rather than never.
        let waiting = self.len();
        waiting + self.held(|_| true)
    }

    /// How many messages are held by processes that are gone.
    pub(crate) fn lost(&self) -> usize {
        self.held(|place| self.is_gone(place))
    }

    /// Whether the process at `place` has ended. The shared place is nobody's.
    fn is_gone(&self, place: usize) -> bool {
        let pid = self.duct.holder(place).load(Ordering::Acquire) as u32;
        let born = self.duct.born(place).load(Ordering::Acquire);
        pid != 0
            && Life::of(pid).is_none_or(|life| life.is_over || (born != 0 && life.born != born))
    }

    fn held(&self, of: impl Fn(usize) -> bool) -> usize {
        let places = (0..MOST_HOLDERS).map(|place| (place, self.undone(place)));
        let counted = places.filter(|(place, undone)| *undone > 0 && of(*place));
        counted.map(|(_, undone)| undone).sum()
    }

    /// How many messages were received at `place` and are not done.
    fn undone(&self, place: usize) -> usize {
        // In this order: what is taken and done in between is counted rather than what is not done never.
        let done = self.duct.done(place).load(Ordering::Acquire);
        let taken = self.duct.taken(place).load(Ordering::Acquire) & !TAKING;
        taken.saturating_sub(done) as usize
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
