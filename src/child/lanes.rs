//! The lanes of a worker beside its first: one thread each, which runs the requests in its ring.
//!
//! Runs in the worker. The first lane is the thread that runs initializers and is told to stop (`pool_worker`). The
//! others wait at their rings until the process ends. The parent writes nothing there before the initializers have
//! returned.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::setup::exit_corrupt;
use super::task_thread;
use crate::call::executor::{Executor, NextRequest};
use crate::call::panic_capture;
use crate::call::rings::RingLayout;
use crate::ring::{Consumer, Producer, Ring};
use crate::sys::exit_cause;
use crate::task;
use crate::transfer::lane::Lane;

/// The rings of the other lanes.
#[derive(Debug)]
pub(super) struct OtherLanes(Vec<(Lane, [Ring; 2])>);

/// A lane that is ready to run requests.
#[derive(Debug)]
pub(super) struct ReadyLane {
    lane: Lane,
    /// Where it leaves why it has ended the process.
    ring: Ring,
    executor: Executor,
}

impl ReadyLane {
    pub(super) fn executor(&self) -> &Executor {
        &self.executor
    }
}

impl OtherLanes {
    /// Maps the rings of `count` lanes in `memory`, beside those of the `first` lane.
    pub(super) fn map(memory: &OwnedFd, first: &[Ring; 2], count: usize) -> io::Result<Self> {
        let rings = |lane| Ok((lane, RingLayout::Worker.map_lane(memory, lane)?));
        let others: Vec<_> = Lane::others(count).map(rings).collect::<io::Result<_>>()?;
        if count > 0 {
            let requests = others.iter().map(|(_, [requests, _])| requests.clone());
            task::set_lanes(std::iter::once(first[0].clone()).chain(requests));
        }
        Ok(Self(others))
    }

    /// The lanes with their executors, which share the connection of the `first`.
    pub(super) fn ready(self, first: &Executor) -> Vec<ReadyLane> {
        let ready = |(lane, [requests, replies]): (Lane, [Ring; 2])| {
            let ring = requests.clone();
            let (requests, replies) = (Consumer::new(requests), Producer::new(replies));
            ReadyLane {
                lane,
                ring,
                executor: first.of_other(lane, requests, replies),
            }
        };
        self.0.into_iter().map(ready).collect()
    }
}

/// Runs the requests of each lane on a thread of its own. `began` is called on each, with the lane.
pub(super) fn spawn(
    lanes: Vec<ReadyLane>,
    began: &Arc<impl Fn(Lane) + Send + Sync + 'static>,
) -> io::Result<()> {
    for ready in lanes {
        let began = Arc::clone(began);
        // It ends with the process.
        drop(task_thread::spawn(move || {
            began(ready.lane);
            run(ready);
        })?);
    }
    Ok(())
}

fn run(ready: ReadyLane) {
    let ReadyLane {
        lane,
        ring,
        mut executor,
    } = ready;
    task::enter_lane(lane.index());
    // It lives as long as this process, because a signal handler stores there.
    let ring: &'static Ring = Box::leak(Box::new(ring));
    exit_cause::watch_lane(ring.note());
    panic_capture::leave_lane_reports_in(ring.clone());
    task_thread::follow_parent(false);
    loop {
        match executor.next() {
            Ok(NextRequest::Run(enter)) => enter(&mut executor),
            // The first lane is told to stop, and no other.
            Ok(NextRequest::Stop) => task_thread::park(),
            Err(corrupt) => exit_corrupt(corrupt),
        }
    }
}
