//! The thread of a worker that runs tasks.
//!
//! It can be started before anybody knows what there will be to do: until then it waits, and looks at nothing that the
//! main thread may change, such as the environment.

use std::io;
use std::sync::mpsc::{self, Sender};
use std::thread;

/// Its stack, in bytes: what a main thread has by default. Only what is touched takes memory.
pub(super) const STACK: usize = 8 << 20;

type Work = Box<dyn FnOnce() + Send>;

/// A thread that waits for its one piece of work. Dropped without any, it ends.
#[derive(Debug)]
pub(super) struct Hand(Sender<Work>);

impl Hand {
    pub(super) fn start() -> io::Result<Self> {
        let (give, take) = mpsc::channel::<Work>();
        thread::Builder::new()
            .name("procession".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                if let Ok(work) = take.recv() {
                    work();
                }
            })?;
        Ok(Self(give))
    }

    pub(super) fn give(self, work: impl FnOnce() + Send + 'static) {
        // It waits for nothing else, so it is there.
        let _ = self.0.send(Box::new(work));
    }
}
