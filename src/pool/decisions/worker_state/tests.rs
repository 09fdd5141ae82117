//! Every transition of a worker's life, without a process.

use std::time::Duration;

use tokio::sync::oneshot::error::TryRecvError;

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

fn starting() -> (WorkerLife<Io>, oneshot::Receiver<()>) {
    let (_wanted, unwanted) = oneshot::channel();
    let life = WorkerLife::Starting {
        _wanted,
        kill_at: None,
    };
    (life, unwanted)
}

fn preparing() -> WorkerLife<Io> {
    WorkerLife::Preparing { io: Io }
}

fn suspect() -> WorkerLife<Io> {
    let suspect_at = Some(position());
    WorkerLife::Ready { io: Io, suspect_at }
}

fn cancelling() -> WorkerLife<Io> {
    WorkerLife::Cancelling {
        io: Io,
        kill: kill(),
    }
}

fn killed() -> WorkerLife<Io> {
    WorkerLife::stopping(Some(Io), None)
}

/// A worker in every state, except `Starting`.
fn all() -> Vec<WorkerLife<Io>> {
    let unstarted = WorkerLife::stopping(None, None);
    let ready = WorkerLife::ready(Io);
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
fn shown(life: &WorkerLife<Io>) -> (&'static str, bool) {
    let name = match life {
        WorkerLife::Starting { .. } => "starting",
        WorkerLife::Preparing { .. } => "preparing",
        WorkerLife::Ready {
            suspect_at: None, ..
        } => "ready",
        WorkerLife::Ready { .. } => "suspect",
        WorkerLife::Cancelling { .. } => "cancelling",
        WorkerLife::Stopping { because: None, .. } => "stopping",
        WorkerLife::Stopping { .. } => "killed",
    };
    (name, life.io().is_some())
}

/// What `transition` returns for each of [`all`], and the state after it.
fn after_each(
    transition: impl Fn(&mut WorkerLife<Io>) -> NextStep,
) -> Vec<(NextStep, (&'static str, bool))> {
    let run = |mut life| {
        let next = transition(&mut life);
        (next, shown(&life))
    };
    all().into_iter().map(run).collect()
}

#[test]
fn started_worker_runs_its_initializer_first() {
    let (mut life, _unwanted) = starting();
    let next = life.on_started(Io, true);
    assert_eq!(
        (next, shown(&life)),
        (NextStep::Nothing, ("preparing", true))
    );
    assert!(!life.takes_tasks());
    assert_eq!(life.on_initialized(), NextStep::Dispatch);
    assert!(life.takes_tasks());
}

#[test]
fn started_worker_without_initializer_takes_tasks() {
    let (mut life, _unwanted) = starting();
    assert_eq!(life.on_started(Io, false), NextStep::Dispatch);
    assert!(life.takes_tasks());
}

#[test]
fn worker_that_is_killed_while_it_starts_ends_the_start() {
    let (mut life, mut unwanted) = starting();
    assert_eq!(life.kill(), NextStep::Nothing);
    assert!(unwanted.try_recv().is_err(), "the start is not wanted");
    assert_eq!(life.on_started(Io, false), NextStep::Kill);
    assert_eq!(shown(&life), ("stopping", true));
}

#[test]
fn on_initialized_changes_only_a_preparing_worker() {
    let expected = [
        (NextStep::Dispatch, ("ready", true)),
        (NextStep::Nothing, ("ready", true)),
        (NextStep::Nothing, ("suspect", true)),
        (NextStep::Nothing, ("cancelling", true)),
        (NextStep::Nothing, ("stopping", true)),
        (NextStep::Nothing, ("stopping", false)),
    ];
    assert_eq!(after_each(WorkerLife::on_initialized), expected);
}

#[test]
fn suspect_changes_only_a_ready_worker() {
    let expected = [
        (NextStep::Nothing, ("preparing", true)),
        (NextStep::Watch, ("suspect", true)),
        (NextStep::Watch, ("suspect", true)),
        (NextStep::Nothing, ("cancelling", true)),
        (NextStep::Nothing, ("stopping", true)),
        (NextStep::Nothing, ("stopping", false)),
    ];
    assert_eq!(after_each(|life| life.suspect(position())), expected);
}

#[test]
fn clear_suspicion_makes_a_suspect_worker_ready() {
    let expected = [
        (NextStep::Nothing, ("preparing", true)),
        (NextStep::Nothing, ("ready", true)),
        (NextStep::Dispatch, ("ready", true)),
        (NextStep::Nothing, ("cancelling", true)),
        (NextStep::Nothing, ("stopping", true)),
        (NextStep::Nothing, ("stopping", false)),
    ];
    assert_eq!(after_each(WorkerLife::clear_suspicion), expected);
}

#[test]
fn schedule_kill_gives_a_ready_worker_its_grace() {
    let expected = [
        (NextStep::Nothing, ("preparing", true)),
        (NextStep::SendCancel(7), ("cancelling", true)),
        (NextStep::SendCancel(7), ("cancelling", true)),
        (NextStep::Nothing, ("cancelling", true)),
        (NextStep::Kill, ("killed", true)),
        (NextStep::Kill, ("killed", false)),
    ];
    assert_eq!(
        after_each(|life| life.schedule_kill(kill(), early())),
        expected
    );
}

#[test]
fn schedule_kill_without_grace_kills() {
    let mut life = suspect();
    assert_eq!(life.schedule_kill(kill(), late()), NextStep::Kill);
    assert_eq!(shown(&life), ("killed", true));
    assert_eq!(life.kill_reason(), Some(kill()));
    assert_eq!(life.kill_at(), None);
}

#[test]
fn first_scheduled_kill_stays() {
    let mut life = cancelling();
    let later = PendingKill { task: 8, ..kill() };
    assert_eq!(life.schedule_kill(later, late()), NextStep::Nothing);
    assert_eq!(life.kill(), NextStep::Kill);
    assert_eq!(life.schedule_kill(later, late()), NextStep::Kill);
    assert_eq!(life.kill_reason(), Some(kill()));
}

#[test]
fn task_that_ends_within_grace_saves_its_worker() {
    let mut life = cancelling();
    assert_eq!(life.on_ended(8), None);
    assert_eq!(life.kill_at(), Some(kill().at));
    assert_eq!(life.on_ended(7), Some(kill()));
    assert!(life.takes_tasks());
}

#[test]
fn task_that_ends_after_the_kill_ends_as_it_says_and_saves_nothing() {
    let mut life = cancelling();
    assert_eq!(life.kill(), NextStep::Kill);
    assert_eq!(life.on_ended(8), None);
    assert_eq!(life.on_ended(7), Some(kill()));
    assert!(life.is_stopping());
}

#[test]
fn stop_tells_a_ready_worker_and_kills_others() {
    let expected = [
        (NextStep::Kill, ("stopping", true)),
        (NextStep::SendStop, ("stopping", true)),
        (NextStep::SendStop, ("stopping", true)),
        (NextStep::Kill, ("killed", true)),
        (NextStep::Nothing, ("stopping", true)),
        (NextStep::Nothing, ("stopping", false)),
    ];
    assert_eq!(after_each(WorkerLife::stop), expected);
}

#[test]
fn leaving_worker_has_a_time_to_exit() {
    let expected = [
        (NextStep::Nothing, ("preparing", true)),
        (NextStep::Nothing, ("stopping", true)),
        (NextStep::Nothing, ("stopping", true)),
        (NextStep::Nothing, ("cancelling", true)),
        (NextStep::Nothing, ("stopping", true)),
        (NextStep::Nothing, ("stopping", false)),
    ];
    assert_eq!(after_each(|life| life.leave(late())), expected);
    let mut life = WorkerLife::ready(Io);
    assert_eq!(life.leave(late()), NextStep::Nothing);
    assert_eq!(life.kill_at(), Some(late()));
    assert_eq!(life.kill(), NextStep::Kill);
    assert_eq!(life.kill_at(), None);
}

#[test]
fn kill_stops_a_worker_in_every_state() {
    let expected = [
        (NextStep::Kill, ("stopping", true)),
        (NextStep::Kill, ("stopping", true)),
        (NextStep::Kill, ("stopping", true)),
        (NextStep::Kill, ("killed", true)),
        (NextStep::Kill, ("stopping", true)),
        (NextStep::Nothing, ("stopping", false)),
    ];
    assert_eq!(after_each(WorkerLife::kill), expected);
}

#[test]
fn only_a_ready_worker_without_suspicion_takes_tasks() {
    let taking: Vec<_> = all().iter().map(WorkerLife::takes_tasks).collect();
    assert_eq!(taking, [false, true, false, false, false, false]);
    assert!(!starting().0.takes_tasks());
}

#[test]
fn public_state_follows_from_the_life_and_the_run_queue() {
    use WorkerState::{Busy, Idle, Starting, Stopping};
    assert_eq!(starting().0.public(false, false), Starting);
    let of = |serves, busy| {
        let states = all().into_iter().map(|it| it.public(serves, busy));
        states.collect::<Vec<_>>()
    };
    let idle = [Starting, Idle, Idle, Idle, Stopping, Stopping];
    assert_eq!(of(true, false), idle);
    let busy = [Starting, Busy, Busy, Busy, Stopping, Stopping];
    assert_eq!(of(true, true), busy);
    let mut unready = [Starting; 6];
    unready[4..].fill(Stopping);
    assert_eq!(of(false, false), unready);
    assert_eq!(of(false, true), unready);
}

#[test]
fn start_that_is_to_end_in_order_is_finished_before_the_worker_is_told() {
    let (mut life, mut unwanted) = starting();
    assert_eq!(life.stop_prepared(late()), NextStep::Nothing);
    // The first limit holds.
    assert_eq!(
        life.stop_prepared(late().plus(Duration::from_secs(1))),
        NextStep::Nothing
    );
    assert_eq!(life.kill_at(), Some(late()));
    assert_eq!(unwanted.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(life.on_started(Io, true), NextStep::SendStop);
    assert_eq!(shown(&life), ("stopping", true));
    assert_eq!(life.kill_at(), Some(late()));
}

#[test]
fn start_that_is_to_end_in_order_is_ended_by_a_kill() {
    let (mut life, mut unwanted) = starting();
    assert_eq!(life.stop_prepared(late()), NextStep::Nothing);
    assert_eq!(life.kill(), NextStep::Nothing);
    assert_eq!(unwanted.try_recv(), Err(TryRecvError::Closed));
    assert_eq!(life.kill_at(), None);
}
