//! Letting other threads run for a moment, while a thread waits for a step of another process.
//!
//! A yield costs little where the other process, or none, wants the processor. Where other programs want it, each yield
//! costs the thread a whole turn of every one of them, and its own turn too: EEVDF forfeits what is left of the time
//! slice (`yield_task_fair` in the kernel's `fair.c`). A hundred yields then take seconds. A thread that sleeps loses
//! nothing, and runs soon after it was woken. So a thread that yields measures how long that takes.

use std::time::Duration;

use super::clock::Moment;

/// The time after which yields have taken long. A hundred yields take a fifth of it where no other program runs; the
/// slice of one other program takes six times as long.
const LONG: Duration = Duration::from_micros(500);

/// The yields of one wait.
#[derive(Debug, Default)]
pub(crate) struct Yields {
    /// When the first yield began.
    began: Option<Moment>,
    /// How long they have taken together, with what was between them.
    taken: Duration,
}

impl Yields {
    /// Lets other threads run (`sched_yield(2)`).
    pub(crate) fn yield_now(&mut self) {
        let began = *self.began.get_or_insert_with(Moment::now);
        std::thread::yield_now();
        self.taken = Moment::now().since(began);
    }

    /// Whether the yields have taken so long that sleeping is better.
    pub(crate) fn have_taken_long(&self) -> bool {
        self.taken >= LONG
    }
}
