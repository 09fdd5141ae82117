//! State behind calls: in a process of its own, and in the workers of a pool.

use std::os::fd::OwnedFd;

use procession::{Descriptor, Managed, Pool};
use rustix::event::{EventfdFlags, eventfd};

use crate::work;
use crate::{runtime, stopwatch};

fn add(state: &mut u64, n: u64) -> u64 {
    *state = state.wrapping_add(n);
    *state
}

/// One call of a state in a process of its own.
pub(crate) fn managed_call() -> Vec<f64> {
    runtime::on_this_thread(async {
        let state: Managed<u64> = Managed::spawn(|| 0, ()).await.expect("it can be started");
        stopwatch::durations_awaited(|| async {
            state.call(add, 1).await.expect("it does not fail");
        })
        .await
    })
}

/// One call in a worker that holds a state.
pub(crate) fn state_run() -> Vec<f64> {
    runtime::on_this_thread(async {
        let pool = Pool::builder().workers(work::WORKERS).state(|| 0_u64, ());
        let pool = pool.build().expect("processes can be started");
        stopwatch::durations_awaited(|| async {
            pool.run(add, 1).await.expect("it does not fail");
        })
        .await
    })
}

/// One way there and back with nothing but the kernel: two processes that block on eventfds.
pub(crate) fn eventfd_round_trip() -> Vec<f64> {
    runtime::on_many(async {
        let bell = || eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd can be made");
        let (there, back) = (bell(), bell());
        let copy = |fd: &OwnedFd| Descriptor(fd.try_clone().expect("it can be duplicated"));
        let child = procession::spawn(answer, (copy(&there), copy(&back)));
        let round_trips = move || {
            stopwatch::durations(|| {
                ring(&there);
                wait(&back);
            })
        };
        let samples = tokio::task::spawn_blocking(round_trips).await;
        child.abort();
        samples.expect("it does not panic")
    })
}

fn answer(there: Descriptor<OwnedFd>, back: Descriptor<OwnedFd>) {
    loop {
        wait(&there);
        ring(&back);
    }
}

fn ring(bell: &OwnedFd) {
    rustix::io::write(bell, &1_u64.to_ne_bytes()).expect("an eventfd can be written");
}

fn wait(bell: &OwnedFd) {
    rustix::io::read(bell, &mut [0_u8; 8]).expect("an eventfd can be read");
}
