//! Children that are forked before they are asked for.
//!
//! Whoever starts one process after the other would wait each time until the server has copied itself and the
//! copy has come to itself. So while children are asked for in quick succession, as many are kept ready as were
//! wanted at once, and one more; they wait to be told what they are to be. When nobody has asked for a while, they go. A
//! program that starts its processes once has none.
//!
//! A spare has what a process of one task needs: rings, what ties it to its parent, copies of the pages it will write
//! to. So the start of such a process is one message, and then a task. Nobody makes other spares before that message was
//! sent: they would have the processor that the new process wants.
//!
//! Must stay true: who is given a spare is the only one who knows it; nobody waits for one; they go with the
//! runtime that keeps them.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::fork_request::ForkRequest;
use super::fork_server::Connection;
use super::inherited_state::Word;
use super::link::Ends;
use super::pending::Born;
use super::reaper;
use crate::sys::clock::Moment;
use crate::sys::procfs::ProcStat;
use crate::sys::socket;
use crate::sys::{signal, stdio};
use crate::transfer::control::ControlSocket;
use crate::transfer::env_block::EnvBlock;

/// Starts with no more than this between them are in quick succession, and spares for which nobody has asked for so
/// long go. Long beside a start, so that it pays; short beside the patience of whoever looks for what is left
/// of a program's processes.
const SOON: Duration = Duration::from_millis(20);

/// After so many times in quick succession it is believed that there will be another.
const OFTEN: u32 = 3;

/// So many are kept ready at most. Each takes a third of a mebibyte.
const MOST: usize = 8;

/// A child that waits to be told what it is to be. Dropping it kills and reaps it.
#[derive(Debug)]
pub(super) struct Spare {
    control: Arc<ControlSocket>,
    born: Option<Born>,
    /// Of the rings it has in case it is to run one task.
    ends: Option<Ends>,
    watched: ProcStat,
}

impl Spare {
    pub(super) fn new(control: Arc<ControlSocket>, born: Born, ends: Ends) -> Self {
        Self {
            control,
            watched: ProcStat::process(born.pid),
            born: Some(born),
            ends: Some(ends),
        }
    }

    /// Makes it the child that is wanted of a server whose environment is `known`. `None` if it is no more.
    pub(super) fn become_child(
        mut self,
        wish: &ForkRequest<'_>,
        known: Option<&EnvBlock>,
    ) -> io::Result<Option<(Born, Ends)>> {
        let Some(ends) = self.ends.take() else {
            return Ok(None); // never
        };
        match wish.greet_spare(&self.control, ends, known) {
            Ok(ends) => Ok(self.born.take().map(|born| (born, ends))),
            Err(error) if socket::is_end(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What a spare that is to run one task waits for.
#[derive(Debug)]
pub(crate) struct Release {
    word: Word,
    /// Whoever is asking has got what was asked for when it is told.
    asking: Option<(DemandGuard, Arc<Connection>)>,
}

impl Release {
    pub(super) fn new(word: Word) -> Self {
        Self { word, asking: None }
    }

    /// Before that the making of other spares would only be in its way.
    pub(super) fn ends(&mut self, asking: DemandGuard, connection: Arc<Connection>) {
        self.asking = Some((asking, connection));
    }

    /// As if it had been told by now.
    pub(super) fn let_others_ask(&mut self) {
        if let Some((asking, connection)) = self.asking.take() {
            asking.end(&connection);
        }
    }

    pub(super) fn tell(mut self) -> io::Result<()> {
        self.word.send(&[])?;
        self.let_others_ask();
        Ok(())
    }
}

/// What a spare is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing, so nobody has killed it: it would be awake to die.
    Waits,
    /// It is not there yet, or it is dying.
    Runs,
    /// It has ended, or was stopped.
    IsOfNoUse,
}

impl Spare {
    fn state(&self) -> State {
        match self.watched.now() {
            Some(b'S') => State::Waits,
            Some(b'R' | b'D') => State::Runs,
            _ => State::IsOfNoUse,
        }
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if let Some(born) = self.born.take() {
            // Not by its number, if that can be helped: a program that waits for any child may have reaped it.
            let _ = match &born.pidfd {
                Some(pidfd) => signal::kill_pidfd(pidfd),
                None => signal::send(born.pid, libc::SIGKILL),
            };
            reaper::reap(born.pid);
        }
    }
}

/// Where the spares are, and how many there should be.
#[derive(Debug, Default)]
pub(super) struct SparePool {
    shelf: Mutex<Shelf>,
    asked: Notify,
}

#[derive(Debug, Default)]
struct Shelf {
    spares: Vec<Spare>,
    /// How many children are asked for and not there yet.
    asking: usize,
    /// How many were asked for since nobody was asking.
    burst: usize,
    /// How many times that began soon after the last time, in a row.
    times: u32,
    /// How many were asked for at once since nobody has asked for long.
    wanted: usize,
    /// When the last one was there for whom somebody was asking.
    ended: Option<Moment>,
    /// Whether somebody sees to it that there are spares.
    kept: bool,
}

impl SparePool {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody asks for a child.
    pub(super) fn ask(self: &Arc<Self>) -> DemandGuard {
        let mut shelf = self.shelf();
        if shelf.asking == 0 {
            let now = Moment::now();
            let soon = shelf.ended.is_some_and(|ended| now.since(ended) < SOON);
            shelf.burst = 0;
            if soon {
                shelf.times = shelf.times.saturating_add(1);
            } else {
                (shelf.times, shelf.wanted) = (0, 0);
            }
        }
        shelf.asking += 1;
        shelf.burst += 1;
        shelf.wanted = shelf.wanted.max(shelf.burst);
        DemandGuard(Arc::clone(self))
    }

    fn is_short(&self) -> bool {
        let shelf = self.shelf();
        // And one that comes to itself while the others are taken.
        shelf.spares.len() < (shelf.wanted + 1).min(MOST)
    }
}

/// Somebody is asking for a child.
#[derive(Debug)]
pub(super) struct DemandGuard(Arc<SparePool>);

impl DemandGuard {
    /// A spare, if there is one that waits.
    pub(super) fn take(&self) -> Option<Spare> {
        let mut gone = Vec::new();
        let mut shelf = self.0.shelf();
        let mut found = None;
        for index in (0..shelf.spares.len()).rev() {
            match shelf.spares[index].state() {
                State::Waits => {
                    found = Some(shelf.spares.swap_remove(index));
                    break;
                }
                State::Runs => {}
                State::IsOfNoUse => gone.push(shelf.spares.swap_remove(index)),
            }
        }
        drop(shelf);
        drop(gone);
        found
    }

    /// The child is there. Sees to it that `connection` has spares from now on, if they are of use.
    pub(super) fn end(self, connection: &Arc<Connection>) {
        let stock = Arc::clone(&self.0);
        drop(self);
        let mut shelf = stock.shelf();
        if shelf.asking > 0 || shelf.times < OFTEN {
            return;
        }
        if std::mem::replace(&mut shelf.kept, true) {
            return stock.asked.notify_one();
        }
        drop(shelf);
        tokio::spawn(Keeper(stock).work(Arc::downgrade(connection)));
    }
}

impl Drop for DemandGuard {
    fn drop(&mut self) {
        let mut shelf = self.0.shelf();
        shelf.asking -= 1;
        if shelf.asking == 0 {
            shelf.ended = Some(Moment::now());
        }
    }
}

/// The duty to have spares in stock. Dropped (the runtime shuts down, nobody asks any more), it takes them along.
#[derive(Debug)]
struct Keeper(Arc<SparePool>);

impl Keeper {
    async fn work(self, connection: Weak<Connection>) {
        loop {
            while self.0.is_short() {
                // Whoever has just asked goes first.
                tokio::task::yield_now().await;
                let Some(connection) = connection.upgrade() else {
                    return;
                };
                // Nothing must come to lie there that the program does not know of, and might put its own over.
                if !stdio::has_standard_streams() {
                    return;
                }
                let Ok(Some(spare)) = connection.spare().await else {
                    return; // whoever asks next finds out why
                };
                self.0.shelf().spares.push(spare);
            }
            let asked = self.0.asked.notified();
            if tokio::time::timeout(SOON, asked).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let mut shelf = self.0.shelf();
        shelf.kept = false;
        let spares = std::mem::take(&mut shelf.spares);
        drop(shelf);
        drop(spares);
    }
}
