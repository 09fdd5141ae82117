//! Spares: children that are forked before a start needs them.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use procession::{Descriptor, Pool, Sender, StartMethod, queue};
use serde_bytes::ByteBuf;

use crate::deadline::{until, within, within_limit};
use crate::leftovers::alone;
use crate::leftovers::processes::{ProcessInfo, all_processes, children, is_gone, kill_if_running};
use crate::tasks::parked;
use crate::{SPARE_TIME, forked, kill_servers, servers, some_spares, spares};

#[procession::test]
async fn spares_exist_while_starts_are_frequent() {
    alone("spares::spares_exist_while_starts_are_frequent", async {
        // The starts of the warm-up must no longer count as recent.
        until(|| spares().is_empty()).await;
        tokio::time::sleep(2 * SPARE_TIME).await;
        within(forked().spawn(|| (), ())).await.unwrap();
        assert!(spares().is_empty(), "one start makes no spares");
        // A spare that is not ready yet is not used, so not every start uses a spare.
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
    })
    .await;
}

#[procession::test]
async fn spare_becomes_what_the_builder_was_given() {
    alone("spares::spare_becomes_what_the_builder_was_given", async {
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

/// The descriptors and arguments are sent before the message that gives the spare its task.
#[procession::test]
async fn spare_receives_descriptors_and_large_arguments() {
    alone(
        "spares::spare_receives_descriptors_and_large_arguments",
        async {
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
        },
    )
    .await;
}

/// The server was started with a lower limit than the application has at the time of the spawn.
#[procession::test]
async fn spare_has_the_descriptor_limit_of_the_application() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    alone(
        "spares::spare_has_the_descriptor_limit_of_the_application",
        async {
            let before = getrlimit(Resource::Nofile);
            let few = Rlimit {
                current: Some(64),
                ..before
            };
            until(|| spares().is_empty()).await;
            setrlimit(Resource::Nofile, few).unwrap();
            kill_servers();
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

/// The parent-death pipe of a single-task process is open in its server too; a worker does not need it.
#[procession::test]
async fn spare_that_became_a_worker_outlives_its_fork_server() {
    alone(
        "spares::spare_that_became_a_worker_outlives_its_fork_server",
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
            kill_servers();
            assert_eq!(within(forked().spawn(|| 1, ())).await.unwrap(), 1);
            let run = within(pool.run(std::process::id, ()));
            assert_eq!(run.await.unwrap(), pid);
            within(pool.shutdown()).await;
        },
    )
    .await;
}

/// The abort comes before or after the spare has received its task.
#[procession::test]
async fn spare_that_is_taken_and_aborted_ends() {
    alone("spares::spare_that_is_taken_and_aborted_ends", async {
        for turns in (0..8).cycle().take(80) {
            within(some_spares()).await;
            let child = forked().spawn(parked, ());
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
async fn spare_that_is_killed_is_replaced() {
    alone("spares::spare_that_is_killed_is_replaced", async {
        for _ in 0..20 {
            let spares = within(some_spares()).await;
            spares.iter().copied().for_each(kill_if_running);
            until(|| {
                let mut all = all_processes();
                all.retain(|found| spares.contains(&found.pid));
                all.iter().all(ProcessInfo::has_ended)
            })
            .await;
            assert_eq!(within(forked().spawn(|| 1, ())).await.unwrap(), 1);
            until(|| spares.iter().copied().all(is_gone)).await;
        }
    })
    .await;
}

#[procession::test]
async fn spares_and_server_killed_before_a_start_are_replaced() {
    alone(
        "spares::spares_and_server_killed_before_a_start_are_replaced",
        async {
            for _ in 0..50 {
                within(some_spares()).await;
                children()
                    .iter()
                    .for_each(|found| kill_if_running(found.pid));
                assert_eq!(within(forked().spawn(|| 1, ())).await.unwrap(), 1);
            }
        },
    )
    .await;
}

#[procession::test]
async fn spares_end_with_their_server_and_their_runtime() {
    alone(
        "spares::spares_end_with_their_server_and_their_runtime",
        async {
            let spares = within(some_spares()).await;
            for server in servers() {
                kill_if_running(server.pid);
            }
            // The spares do not keep the connection to their server open: the next request to the server fails
            // at once, long before the time limit of a request.
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
