//! Spares: processes that are forked before they are asked for.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use procession::{Descriptor, Pool, Sender, StartMethod, queue};
use serde_bytes::ByteBuf;

use crate::deadline::{until, within, within_limit};
use crate::leftovers::{alone, everybody};
use crate::processes::is_gone;
use crate::{SOON, forked, kill, servers, some_spares, spares};

#[procession::test]
async fn spares_are_used_while_they_are_wanted_and_then_gone() {
    alone(
        "spares::spares_are_used_while_they_are_wanted_and_then_gone",
        async {
            until(|| spares().is_empty()).await; // the census has asked before,
            tokio::time::sleep(2 * SOON).await; // and that is long ago
            within(forked().spawn(|| (), ())).await.unwrap();
            assert!(spares().is_empty(), "nobody has asked often");
            // One that is not there yet is left alone, so not every one is used.
            let use_ten = async {
                let mut used = 0;
                while used < 10 {
                    let spares = some_spares().await;
                    let pid = forked().spawn(std::process::id, ()).await.unwrap();
                    used += u32::from(spares.contains(&pid));
                }
            };
            within(use_ten).await;
            until(|| spares().is_empty()).await;
        },
    )
    .await;
}

#[procession::test]
async fn a_spare_is_what_any_other_child_is() {
    alone("spares::a_spare_is_what_any_other_child_is", async {
        let look = || {
            (
                std::process::id(),
                std::env::var("NEWS").ok(),
                rustix::process::getpriority_process(None).unwrap(),
                rustix::thread::sched_getaffinity(None).unwrap().count(),
                procession::current().name().map(str::to_owned),
            )
        };
        let own = rustix::process::getpriority_process(None).unwrap();
        let mut used = 0;
        let mut number = 0;
        while used < 10 {
            number += 1;
            let spares = within(some_spares()).await;
            let (name, news) = (format!("spare {number}"), format!("news {number}"));
            let process = forked().name(&*name).env("NEWS", &*news).nice(3);
            let process = process.cpu_affinity([0]).spawn(look, ());
            let (pid, seen, nice, processors, called) = within(process).await.unwrap();
            used += u32::from(spares.contains(&pid));
            assert_eq!(seen, Some(news));
            assert_eq!((nice, processors), ((own + 3).min(19), 1));
            assert_eq!(called, Some(name));
        }
        let place = || (std::process::id(), std::env::current_dir().unwrap());
        let in_spares = ["/proc", "/"].iter().cycle();
        for directory in in_spares {
            let spares = within(some_spares()).await;
            std::env::set_current_dir(directory).unwrap();
            let (pid, found) = within(forked().spawn(place, ())).await.unwrap();
            assert_eq!(found, Path::new(directory));
            used += u32::from(spares.contains(&pid));
            if used >= 12 {
                break;
            }
        }
    })
    .await;
}

/// Descriptors and long arguments are on their way before the spare knows what it is to be.
#[procession::test]
async fn a_spare_has_what_goes_with_its_request() {
    alone("spares::a_spare_has_what_goes_with_its_request", async {
        let (tx, rx) = queue::<(u32, usize)>(1).unwrap();
        let work = |tx: Sender<(u32, usize)>, bytes: ByteBuf| {
            let own = std::process::id();
            tx.blocking_send((own, bytes.len())).unwrap();
            own
        };
        let mut used = BTreeMap::new();
        for len in [10, 1 << 20].into_iter().cycle() {
            let spares = within(some_spares()).await;
            let bytes = ByteBuf::from(vec![1; len]);
            let child = forked().spawn(work, (tx.clone(), bytes));
            let (pid, received) = within(rx.recv()).await.unwrap();
            assert_eq!((pid, received), (within(child).await.unwrap(), len));
            *used.entry(len).or_insert(0) += u32::from(spares.contains(&pid));
            if used.len() == 2 && used.values().all(|count| *count >= 5) {
                break;
            }
        }
    })
    .await;
}

/// More than its server may have, which was started when the program could have few.
#[procession::test]
async fn a_spare_has_as_many_descriptors_as_the_program_may() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    alone(
        "spares::a_spare_has_as_many_descriptors_as_the_program_may",
        async {
            let before = getrlimit(Resource::Nofile);
            let few = Rlimit {
                current: Some(64),
                ..before
            };
            until(|| spares().is_empty()).await;
            setrlimit(Resource::Nofile, few).unwrap();
            servers().iter().for_each(|server| kill(server.pid));
            within(procession::warm_up()).await.unwrap();
            within(forked().spawn(|| (), ())).await.unwrap();
            setrlimit(Resource::Nofile, before).unwrap();
            let many = || {
                let null = || Descriptor(File::open("/dev/null").unwrap());
                (0..100).map(|_| null()).collect()
            };
            let count = |files: Vec<Descriptor<File>>| (std::process::id(), files.len());
            let mut used = 0;
            while used < 5 {
                let spares = within(some_spares()).await;
                let (pid, received) = within(forked().spawn(count, many())).await.unwrap();
                assert_eq!(received, 100);
                used += u32::from(spares.contains(&pid));
            }
        },
    )
    .await;
}

/// What ties a process of one task to its parent ends with its server, at the earliest. A worker does not.
#[procession::test]
async fn a_worker_that_was_a_spare_outlives_its_server() {
    alone(
        "spares::a_worker_that_was_a_spare_outlives_its_server",
        async {
            let become_worker = async {
                loop {
                    let spares = some_spares().await;
                    let pool = Pool::builder()
                        .workers(1)
                        .start_method(StartMethod::ForkServer);
                    let pool = pool.build().unwrap();
                    let pid = pool.run(std::process::id, ()).await.unwrap();
                    if spares.contains(&pid) {
                        return (pool, pid);
                    }
                }
            };
            let (pool, pid) = within(become_worker).await;
            until(|| spares().is_empty()).await;
            servers().iter().for_each(|server| kill(server.pid));
            assert_eq!(within(forked().spawn(|| 1, ())).await.unwrap(), 1);
            let run = within(pool.run(std::process::id, ()));
            assert_eq!(run.await.unwrap(), pid);
            within(pool.shutdown()).await;
        },
    )
    .await;
}

/// A spare that was taken and is wanted no more is gone, whether it was told of its task or not.
#[procession::test]
async fn a_spare_that_is_taken_and_aborted() {
    alone("spares::a_spare_that_is_taken_and_aborted", async {
        let stay = || std::thread::sleep(Duration::from_secs(3600));
        for turns in (0..8).cycle().take(80) {
            within(some_spares()).await;
            let child = forked().spawn(stay, ());
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            child.abort();
            assert!(within(child).await.unwrap_err().is_cancelled());
        }
    })
    .await;
}

#[procession::test]
async fn a_killed_spare_is_not_missed() {
    alone("spares::a_killed_spare_is_not_missed", async {
        for _ in 0..20 {
            let spares = within(some_spares()).await;
            spares.iter().copied().for_each(kill);
            until(|| {
                let mut all = everybody();
                all.retain(|found| spares.contains(&found.pid));
                all.iter().all(|found| found.state == 'Z')
            })
            .await;
            assert_eq!(within(forked().spawn(|| 1, ())).await.unwrap(), 1);
            until(|| spares.iter().copied().all(is_gone)).await;
        }
    })
    .await;
}

#[procession::test]
async fn whatever_waits_may_be_killed_just_before_a_start() {
    alone(
        "spares::whatever_waits_may_be_killed_just_before_a_start",
        async {
            for _ in 0..50 {
                within(some_spares()).await;
                let mut waiting = everybody();
                waiting.retain(|found| found.parent == std::process::id());
                waiting.iter().for_each(|found| kill(found.pid));
                assert_eq!(within(forked().spawn(|| 1, ())).await.unwrap(), 1);
            }
        },
    )
    .await;
}

#[procession::test]
async fn spares_of_a_killed_server_and_of_a_runtime_that_ends() {
    alone(
        "spares::spares_of_a_killed_server_and_of_a_runtime_that_ends",
        async {
            let spares = within(some_spares()).await;
            for server in servers() {
                kill(server.pid);
            }
            // A spare does not hear what its server is told: whoever asks that for another child learns that it is
            // gone, long before it would be given up.
            let another = forked().current_dir("/").spawn(|| 1, ());
            let soon = Duration::from_secs(4);
            assert_eq!(within_limit(soon, another).await.unwrap(), 1);
            assert_eq!(within(forked().spawn(|| 1, ())).await.unwrap(), 1);
            until(|| spares.iter().copied().all(is_gone)).await;
            let other = std::thread::spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                runtime
                    .unwrap()
                    .block_on(async { within(some_spares()).await })
            });
            let spares = other.join().unwrap();
            until(|| spares.iter().copied().all(is_gone)).await;
            assert_eq!(within(forked().spawn(|| 1, ())).await.unwrap(), 1);
        },
    )
    .await;
}
