//! Processors and priority.

use std::process::Stdio;

use procession::{ErrorKind, Process};

use crate::deadline::within;
use crate::leftovers::alone;
use crate::{METHODS, by};

#[procession::test]
async fn it_can_step_back_for_others() {
    let nice = || rustix::process::getpriority_process(None).unwrap();
    let own = nice();
    let default = within(procession::spawn(nice, ())).await.unwrap();
    let nicer = within(Process::builder().nice(3).nice(10).spawn(nice, ()))
        .await
        .unwrap();
    assert_eq!((default, nicer), (own, (own + 10).min(19)));
}

fn processors() -> Vec<usize> {
    let set = rustix::thread::sched_getaffinity(None).unwrap();
    let numbers = 0..rustix::thread::CpuSet::MAX_CPU;
    numbers.filter(|number| set.is_set(*number)).collect()
}

#[procession::test]
async fn a_process_runs_on_the_processors_it_is_given() {
    let all = processors();
    for method in METHODS {
        for processor in &all {
            let handle = by(method).cpu_affinity([*processor]).spawn(processors, ());
            assert_eq!(within(handle).await.unwrap(), [*processor]);
        }
        assert_eq!(within(by(method).spawn(processors, ())).await.unwrap(), all);
        for nowhere in [vec![1000], vec![5000], vec![]] {
            let handle = by(method)
                .stderr(Stdio::null())
                .cpu_affinity(nowhere)
                .spawn(processors, ());
            let error = within(handle).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Spawn, "{error}");
        }
    }
}

/// What the application is at that moment, although the process that forks is older.
#[procession::test]
async fn a_process_has_the_applications_processors_and_priority() {
    alone(
        "scheduling::a_process_has_the_applications_processors_and_priority",
        async {
            let own = processors();
            let last = *own.last().unwrap();
            let mut set = rustix::thread::CpuSet::new();
            set.set(last);
            let main = rustix::process::getpid();
            rustix::thread::sched_setaffinity(Some(main), &set).unwrap();
            let nice = || rustix::process::getpriority_process(None).unwrap();
            let before = rustix::process::getpriority_process(Some(main)).unwrap();
            let lower = (before + 2).min(19);
            rustix::process::setpriority_process(Some(main), lower).unwrap();
            for method in METHODS {
                let place = within(by(method).spawn(processors, ())).await.unwrap();
                assert_eq!(place, [last]);
                assert_eq!(within(by(method).spawn(nice, ())).await.unwrap(), lower);
                let further = by(method).nice(3).spawn(nice, ());
                assert_eq!(within(further).await.unwrap(), (lower + 3).min(19));
            }
        },
    )
    .await;
}
