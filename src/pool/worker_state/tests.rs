//! Every transition of a worker's life, without a process.

use super::super::initializer;
use super::*;

/// A kill of the worker that runs task 7.
fn kill() -> PendingKill {
    PendingKill {
        task: 7,
        kind: ErrorKind::Cancelled,
        at: late(),
    }
}

/// A moment before the kill.
fn early() -> Moment {
    Moment::from_bits(1)
}

/// The moment of the kill.
fn late() -> Moment {
    Moment::from_bits(100)
}

fn position() -> Cursor {
    Cursor::default()
}

/// Stands for the way to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Io;

fn starting() -> (Life<Io>, oneshot::Receiver<()>) {
    let (_wanted, unwanted) = oneshot::channel();
    (Life::Starting { _wanted }, unwanted)
}

fn preparing() -> Life<Io> {
    let init = initializer::handshake();
    Life::Preparing { io: Io, init }
}

fn suspect() -> Life<Io> {
    let suspect_at = Some(position());
    Life::Ready { io: Io, suspect_at }
}

fn cancelling() -> Life<Io> {
    Life::Cancelling {
        io: Io,
        kill: kill(),
    }
}

fn killed() -> Life<Io> {
    Life::stopping(Some(Io), None)
}

/// A worker in every state, except `Starting`.
fn all() -> Vec<Life<Io>> {
    let unstarted = Life::stopping(None, None);
    let ready = Life::ready(Io);
    vec![
        preparing(),
        ready,
        suspect(),
        cancelling(),
        killed(),
        unstarted,
    ]
}

/// The name of a state, and whether there is a process.
fn shown(life: &Life<Io>) -> (&'static str, bool) {
    let name = match life {
        Life::Starting { .. } => "starting",
        Life::Preparing { .. } => "preparing",
        Life::Ready {
            suspect_at: None, ..
        } => "ready",
        Life::Ready { .. } => "suspect",
        Life::Cancelling { .. } => "cancelling",
        Life::Stopping { because: None, .. } => "stopping",
        Life::Stopping { .. } => "killed",
    };
    (name, life.io().is_some())
}

/// What `transition` returns for each of [`all`], and the state after it.
fn after_each(transition: impl Fn(&mut Life<Io>) -> Next) -> Vec<(Next, (&'static str, bool))> {
    let run = |mut life| {
        let next = transition(&mut life);
        (next, shown(&life))
    };
    all().into_iter().map(run).collect()
}

#[test]
fn started_worker_runs_its_initializer_first() {
    let (mut life, _unwanted) = starting();
    let next = life.on_started(Io, Some(initializer::handshake()));
    assert_eq!((next, shown(&life)), (Next::Nothing, ("preparing", true)));
    assert!(!life.takes_tasks());
    assert_eq!(life.on_initialized(), Next::Dispatch);
    assert!(life.takes_tasks());
}

#[test]
fn started_worker_without_initializer_takes_tasks() {
    let (mut life, _unwanted) = starting();
    assert_eq!(life.on_started(Io, None), Next::Dispatch);
    assert!(life.takes_tasks());
}

#[test]
fn worker_that_is_killed_while_it_starts_ends_the_start() {
    let (mut life, mut unwanted) = starting();
    assert_eq!(life.kill(), Next::Nothing);
    assert!(unwanted.try_recv().is_err(), "the start is not wanted");
    assert_eq!(life.on_started(Io, None), Next::Kill);
    assert_eq!(shown(&life), ("stopping", true));
}

#[test]
fn on_initialized_changes_only_a_preparing_worker() {
    let expected = [
        (Next::Dispatch, ("ready", true)),
        (Next::Nothing, ("ready", true)),
        (Next::Nothing, ("suspect", true)),
        (Next::Nothing, ("cancelling", true)),
        (Next::Nothing, ("stopping", true)),
        (Next::Nothing, ("stopping", false)),
    ];
    assert_eq!(after_each(Life::on_initialized), expected);
}

#[test]
fn suspect_changes_only_a_ready_worker() {
    let expected = [
        (Next::Nothing, ("preparing", true)),
        (Next::Watch, ("suspect", true)),
        (Next::Watch, ("suspect", true)),
        (Next::Nothing, ("cancelling", true)),
        (Next::Nothing, ("stopping", true)),
        (Next::Nothing, ("stopping", false)),
    ];
    assert_eq!(after_each(|life| life.suspect(position())), expected);
}

#[test]
fn clear_suspicion_makes_a_suspect_worker_ready() {
    let expected = [
        (Next::Nothing, ("preparing", true)),
        (Next::Nothing, ("ready", true)),
        (Next::Dispatch, ("ready", true)),
        (Next::Nothing, ("cancelling", true)),
        (Next::Nothing, ("stopping", true)),
        (Next::Nothing, ("stopping", false)),
    ];
    assert_eq!(after_each(Life::clear_suspicion), expected);
}

#[test]
fn schedule_kill_gives_a_ready_worker_its_grace() {
    let expected = [
        (Next::Nothing, ("preparing", true)),
        (Next::SendCancel(7), ("cancelling", true)),
        (Next::SendCancel(7), ("cancelling", true)),
        (Next::Nothing, ("cancelling", true)),
        (Next::Kill, ("killed", true)),
        (Next::Kill, ("killed", false)),
    ];
    assert_eq!(
        after_each(|life| life.schedule_kill(kill(), early())),
        expected
    );
}

#[test]
fn schedule_kill_without_grace_kills() {
    let mut life = suspect();
    assert_eq!(life.schedule_kill(kill(), late()), Next::Kill);
    assert_eq!(shown(&life), ("killed", true));
    assert_eq!(life.kill_reason(), Some(kill()));
    assert_eq!(life.kill_at(), None);
}

#[test]
fn first_scheduled_kill_stays() {
    let mut life = cancelling();
    let later = PendingKill { task: 8, ..kill() };
    assert_eq!(life.schedule_kill(later, late()), Next::Nothing);
    assert_eq!(life.kill(), Next::Kill);
    assert_eq!(life.schedule_kill(later, late()), Next::Kill);
    assert_eq!(life.kill_reason(), Some(kill()));
}

#[test]
fn task_that_ends_within_grace_saves_its_worker() {
    let mut life = cancelling();
    assert_eq!(life.ended_within_grace(8), None);
    assert_eq!(life.kill_at(), Some(kill().at));
    assert_eq!(life.ended_within_grace(7), Some(kill()));
    assert!(life.takes_tasks());
}

#[test]
fn task_that_ends_after_the_kill_saves_nothing() {
    let mut life = cancelling();
    assert_eq!(life.kill(), Next::Kill);
    assert_eq!(life.ended_within_grace(7), None);
    assert!(life.is_stopping());
}

#[test]
fn stop_tells_a_ready_worker_and_kills_others() {
    let expected = [
        (Next::Kill, ("stopping", true)),
        (Next::SendStop, ("stopping", true)),
        (Next::SendStop, ("stopping", true)),
        (Next::Kill, ("killed", true)),
        (Next::Nothing, ("stopping", true)),
        (Next::Nothing, ("stopping", false)),
    ];
    assert_eq!(after_each(Life::stop), expected);
}

#[test]
fn kill_stops_a_worker_in_every_state() {
    let expected = [
        (Next::Kill, ("stopping", true)),
        (Next::Kill, ("stopping", true)),
        (Next::Kill, ("stopping", true)),
        (Next::Kill, ("killed", true)),
        (Next::Kill, ("stopping", true)),
        (Next::Nothing, ("stopping", false)),
    ];
    assert_eq!(after_each(Life::kill), expected);
}

#[test]
fn only_a_ready_worker_without_suspicion_takes_tasks() {
    let taking: Vec<_> = all().iter().map(Life::takes_tasks).collect();
    assert_eq!(taking, [false, true, false, false, false, false]);
    assert!(!starting().0.takes_tasks());
}

#[test]
fn public_state_follows_from_the_life_and_the_run_queue() {
    use WorkerState::{Busy, Idle, Starting, Stopping};
    assert_eq!(starting().0.public(false), Starting);
    let of = |busy| all().iter().map(|it| it.public(busy)).collect::<Vec<_>>();
    assert_eq!(of(false), [Starting, Idle, Idle, Idle, Stopping, Stopping]);
    assert_eq!(of(true), [Starting, Busy, Busy, Busy, Stopping, Stopping]);
}
