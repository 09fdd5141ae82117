//! Processors and nice value of a process. The same with every start method.

use std::process::Stdio;

use procession::{ErrorKind, Process};

use crate::deadline::within;
use crate::leftovers::alone;
use crate::{METHODS, by};

#[procession::test]
async fn nice_is_applied() {
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
async fn cpu_affinity_is_applied() {
    let all = processors();
    for method in METHODS {
        for processor in &all {
            let handle = by(method).cpu_affinity([*processor]).spawn(processors, ());
            assert_eq!(within(handle).await.unwrap(), [*processor]);
        }
        assert_eq!(within(by(method).spawn(processors, ())).await.unwrap(), all);
        for missing in [vec![1000], vec![5000], vec![]] {
            let handle = by(method)
                .stderr(Stdio::null())
                .cpu_affinity(missing)
                .spawn(processors, ());
            let error = within(handle).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Spawn, "{error}");
        }
    }
}

/// The values at the time of the spawn count, although the fork server was started before.
#[procession::test]
async fn cpu_affinity_and_nice_of_the_application_are_inherited() {
    alone(
        "scheduling::cpu_affinity_and_nice_of_the_application_are_inherited",
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
