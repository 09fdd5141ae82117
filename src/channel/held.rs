//! What was received and is not done, counted by process.

use std::sync::atomic::Ordering;

use super::duct::MOST_HOLDERS;
use super::end::End;

/// The place of a process that has received nothing.
pub(super) const NO_HOLDER: usize = usize::MAX;

/// The half of a holder's word that counts.
const COUNT: u64 = 0xffff_ffff;

impl End {
    /// Counts one message as received by this process and not done.
    pub(super) fn hold_one(&self) {
        let mut place = self.holder.load(Ordering::Relaxed);
        if place == NO_HOLDER {
            place = self.find_place();
            self.holder.store(place, Ordering::Relaxed);
        }
        // It stops counting at the most there can be: who never says `done` does not care.
        let one_more = |known: u64| (known & COUNT < COUNT).then(|| known + 1);
        let word = self.duct.holder(place);
        let _ = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
    }

    /// A place for this process among the holders: its own, a free one, or the shared last.
    fn find_place(&self) -> usize {
        let own = u64::from(std::process::id()) << 32;
        for place in 0..MOST_HOLDERS - 1 {
            let word = self.duct.holder(place);
            let known = word.load(Ordering::Acquire);
            let free = known == 0
                && word
                    .compare_exchange(0, own, Ordering::AcqRel, Ordering::Acquire)
                    .is_ok();
            if free || known >> 32 == own >> 32 {
                return place;
            }
        }
        MOST_HOLDERS - 1
    }

    /// Counts one message as done. False if this process holds none.
    pub(crate) fn done_one(&self) -> bool {
        let place = self.holder.load(Ordering::Relaxed);
        if place == NO_HOLDER {
            return false;
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
        self.len() + self.held(|_| true)
    }

    /// How many messages are held by processes that are gone.
    pub(crate) fn lost(&self) -> usize {
        self.held(|pid| pid != 0 && !std::path::Path::new(&format!("/proc/{pid}")).exists())
    }

    fn held(&self, of: impl Fn(u32) -> bool) -> usize {
        let words = (0..MOST_HOLDERS).map(|place| self.duct.holder(place).load(Ordering::Acquire));
        let counted = words.filter(|word| word & COUNT > 0 && of((word >> 32) as u32));
        counted.map(|word| (word & COUNT) as usize).sum()
    }
}
