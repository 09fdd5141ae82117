//! Noticing that a living child will give no outcome.
//!
//! Runs in the parent, while it waits for the child's end. A task may replace its program (`execve(2)`), or end its
//! thread below Rust. Then the process lives, and nothing in it knows of its parent.
//!
//! Must stay true: a child that may still give an outcome is left alone; a short child costs no look.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};

use super::link::Ties;
use crate::own_runtime;
use crate::own_runtime::Timer;
use crate::sys::clock::Moment;
use crate::sys::exit_cause::ExitCause;
use crate::sys::procfs::ProgramState;
use crate::sys::reactor::{HangUp, Watched};
use crate::threads;

/// Most children end within this time, and are not watched.
const SHORT_LIFE: Duration = Duration::from_millis(50);

/// How long a child that has closed its socket may take to end.
const ENDING: Duration = Duration::from_millis(500);

/// When a child with one task is checked first. Each later pause is twice as long, up to the longest pause.
const FIRST_CHECK: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Waits until the child `pid` has ended, or will give no outcome, and why. With `checks` it runs one task, and its
/// program is checked now and then.
pub(super) async fn end_or_cause(
    pid: u32,
    pidfd: &Watched,
    ties: Ties,
    checks: bool,
) -> io::Result<Option<ExitCause>> {
    if within(SHORT_LIFE, pidfd.readable()).await?.is_some() {
        return Ok(None);
    }
    let mut hang_up = HangUp::new(Arc::clone(&ties.socket)).ok();
    let mut pause = checks.then_some(FIRST_CHECK);
    loop {
        let first = match select(pin!(pidfd.readable()), pin!(suspicion(&hang_up, pause))).await {
            Either::Left((ended, _)) => return ended.map(|()| None),
            Either::Right((suspicion, _)) => suspicion,
        };
        match first {
            Suspicion::HangUp => hang_up = None,
            Suspicion::Time => pause = pause.map(|it| (it * 2).min(LONGEST_PAUSE)),
            Suspicion::TimeStandsStill => pause = None,
        }
        if within(ENDING, pidfd.readable()).await?.is_some() {
            return Ok(None);
        }
        // Asked before the child is checked: it maps the memory and then says so.
        let were_made = ties.were_made();
        let name = ties.memory_name.clone();
        let state = threads::run(move || ProgramState::of(pid, &name)).await;
        match state {
            Ok(ProgramState::Replaced) if were_made => return Ok(Some(ExitCause::Replaced)),
            Ok(ProgramState::WithoutMainThread) => return Ok(Some(ExitCause::ThreadEnded)),
            Ok(ProgramState::Replaced | ProgramState::Unchanged) | Err(_) => {}
        }
    }
}

/// Why a child is checked.
#[derive(Debug)]
enum Suspicion {
    /// Its socket was closed.
    HangUp,
    /// Some time has passed.
    Time,
    /// The runtime's clock was paused and runs ahead, so it says nothing.
    TimeStandsStill,
}

async fn suspicion(hang_up: &Option<HangUp>, pause: Option<Duration>) -> Suspicion {
    let closed = async {
        match hang_up {
            // An error says that the runtime is shutting down, which drops this task.
            Some(hang_up) if hang_up.wait().await.is_ok() => {}
            _ => std::future::pending().await,
        }
    };
    let passed = async {
        let Some(pause) = pause else {
            return std::future::pending().await;
        };
        let began = Moment::now();
        Timer::after(pause).await;
        Moment::now().since(began) >= pause / 2
    };
    match select(pin!(closed), pin!(passed)).await {
        Either::Left(_) => Suspicion::HangUp,
        Either::Right((true, _)) => Suspicion::Time,
        Either::Right((false, _)) => Suspicion::TimeStandsStill,
    }
}

/// What `event` resolves to, if it does within this time.
async fn within<T>(
    limit: Duration,
    event: impl Future<Output = io::Result<T>>,
) -> io::Result<Option<T>> {
    let happened = own_runtime::timeout(limit, event).await;
    happened.transpose()
}
