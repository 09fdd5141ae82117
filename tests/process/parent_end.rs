//! A child never outlives its parent, however the parent ends and in every state of the child. It does outlive
//! the thread that started it.
//!
//! A test starts a parent in a process of its own, and the parent starts a child. When the child has come to the
//! point of the test, the test kills the parent and no other process.

use std::io;
use std::process::Stdio;
use std::time::{Duration, Instant};

use procession::Process;
use rustix::process::Signal;

use crate::asleep::process_stopped;
use crate::deadline::{until, within};
use crate::family::{Activity, Family, check, child, parent};
use crate::leftovers::alone;
use crate::leftovers::processes::signal_if_running;
use crate::say;
use crate::tasks::parked;

#[procession::test]
async fn child_that_is_idle_ends_with_its_parent() {
    alone(
        "parent_end::child_that_is_idle_ends_with_its_parent",
        check(Activity::Nothing),
    )
    .await;
}

#[procession::test]
async fn child_that_awaits_ends_with_its_parent() {
    alone(
        "parent_end::child_that_awaits_ends_with_its_parent",
        check(Activity::Waiting),
    )
    .await;
}

#[procession::test]
async fn child_that_computes_ends_with_its_parent() {
    alone(
        "parent_end::child_that_computes_ends_with_its_parent",
        check(Activity::Computing),
    )
    .await;
}

#[procession::test]
async fn child_with_programs_ends_with_its_parent() {
    alone(
        "parent_end::child_with_programs_ends_with_its_parent",
        check(Activity::Programs),
    )
    .await;
}

#[procession::test]
async fn child_with_a_child_ends_with_its_parent() {
    alone(
        "parent_end::child_with_a_child_ends_with_its_parent",
        check(Activity::Nested),
    )
    .await;
}

#[procession::test]
async fn child_that_handles_signals_ends_with_its_parent() {
    alone(
        "parent_end::child_that_handles_signals_ends_with_its_parent",
        check(Activity::HandlingSignals),
    )
    .await;
}

#[procession::test]
async fn child_with_many_threads_ends_with_its_parent() {
    alone(
        "parent_end::child_with_many_threads_ends_with_its_parent",
        check(Activity::Threads),
    )
    .await;
}

/// A stopped process cannot react to the end of its parent.
#[procession::test]
async fn child_that_is_stopped_ends_with_its_parent() {
    alone(
        "parent_end::child_that_is_stopped_ends_with_its_parent",
        async {
            let mut family = Family::start(parent, Activity::Nothing);
            family.wait_for_words(1).await;
            let children = family.children();
            let [child] = &children[..] else {
                panic!("the parent has {children:?}");
            };
            signal_if_running(child.pid, Signal::STOP);
            // The process counts as stopped when all its threads are stopped.
            process_stopped(child.pid).await;
            family.assert_ends_after_kill().await;
        },
    )
    .await;
}

async fn parent_of_many() {
    let children = (0..10).map(|_| procession::spawn(child, Activity::Nothing));
    futures::future::join_all(children).await;
}

#[procession::test]
async fn children_end_with_their_parent() {
    alone("parent_end::children_end_with_their_parent", async {
        let mut family = Family::start(parent_of_many, ());
        family.wait_for_words(10).await;
        family.assert_ends_after_kill().await;
    })
    .await;
}

/// Writes a line and then starts a child, with or without a helper process.
async fn starting_parent(with_helper: bool) {
    say("here");
    let child = match with_helper {
        false => procession::spawn(parked, ()),
        // With all three streams set, a helper process is started to resolve stdin.
        true => Process::builder()
            .stdin(Stdio::inherit())
            .stdout(Stdio::inherit())
            .stderr(Stdio::null())
            .spawn(parked, ()),
    };
    child.await.unwrap();
}

/// The pause before the kill grows until it is longer than a start, so the kill hits every step.
#[procession::test]
async fn child_that_is_starting_ends_with_its_parent() {
    alone(
        "parent_end::child_that_is_starting_ends_with_its_parent",
        async {
            let mut pause = Duration::ZERO;
            while pause < Duration::from_millis(8) {
                for with_helper in [false, true] {
                    let mut family = Family::start(starting_parent, with_helper);
                    family.wait_for_words(1).await;
                    let end = Instant::now() + pause;
                    while Instant::now() < end {
                        tokio::task::yield_now().await; // the resolution of a timer is too low
                    }
                    family.assert_ends_after_kill().await;
                }
                pause += Duration::from_micros(200);
            }
        },
    )
    .await;
}

/// The child is stopped during its start and continues after its parent has ended.
#[procession::test]
async fn child_that_starts_after_the_end_of_its_parent_ends() {
    alone(
        "parent_end::child_that_starts_after_the_end_of_its_parent_ends",
        async {
            for n in 0..20 {
                let mut family = Family::start(starting_parent, n % 4 == 3);
                family.wait_for_words(1).await;
                until(|| !family.children().is_empty()).await;
                let end = Instant::now() + Duration::from_micros(n * 150);
                while Instant::now() < end {
                    tokio::task::yield_now().await;
                }
                let children = family.children();
                for child in &children {
                    signal_if_running(child.pid, Signal::STOP);
                }
                family.parent.signal(libc::SIGKILL);
                within(family.parent.exited()).await.unwrap();
                for child in &children {
                    signal_if_running(child.pid, Signal::CONT);
                }
                family.assert_ends_after_kill().await;
            }
        },
    )
    .await;
}

/// The handle of the child is dropped before the parent returns.
#[procession::test]
async fn child_ends_when_its_parent_returns() {
    async fn returns() {
        drop(procession::spawn(child, Activity::Computing));
        // The child must have started before the parent returns.
        while procession::active_children().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    alone("parent_end::child_ends_when_its_parent_returns", async {
        let family = Family::start(returns, ());
        family.assert_ends(None).await;
    })
    .await;
}

#[procession::test]
async fn child_ends_when_its_parent_panics() {
    async fn panics() {
        drop(procession::spawn(child, Activity::Computing));
        while procession::active_children().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("as it should");
    }
    alone("parent_end::child_ends_when_its_parent_panics", async {
        let family = Family::start(panics, ());
        family.assert_ends(None).await;
    })
    .await;
}

#[procession::test]
async fn child_ends_when_its_parent_exits() {
    async fn exits() {
        let _child = procession::spawn(child, Activity::Programs);
        while procession::active_children().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        std::process::exit(0);
    }
    alone("parent_end::child_ends_when_its_parent_exits", async {
        let family = Family::start(exits, ());
        family.assert_ends(None).await;
    })
    .await;
}

#[procession::test]
async fn child_ends_when_its_parent_crashes() {
    alone("parent_end::child_ends_when_its_parent_crashes", async {
        let mut family = Family::start(parent, Activity::Programs);
        family.wait_for_words(1).await;
        family.parent.signal(libc::SIGSEGV);
        family.assert_ends(Some(libc::SIGSEGV)).await;
    })
    .await;
}

/// The thread that spawns the child and the thread that starts it both end. The child runs on.
#[procession::test]
async fn child_outlives_the_threads_that_started_it() {
    alone(
        "parent_end::child_outlives_the_threads_that_started_it",
        async {
            const NAME: &str = "short-lived";
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name(NAME)
                .thread_keep_alive(Duration::from_millis(1))
                .enable_all()
                .build()
                .unwrap();
            let entered = runtime.handle().clone();
            let spawn = move || {
                let _inside = entered.enter();
                Process::builder()
                    .stdin(Stdio::piped())
                    .spawn(|| io::read_to_string(io::stdin()).unwrap(), ())
            };
            let asking = std::thread::Builder::new()
                .name(NAME.to_owned())
                .spawn(spawn);
            let mut handle = asking.unwrap().join().unwrap();
            until(|| handle.pid().is_some()).await;
            // One thread is left: the worker thread of the runtime, which supervises the child.
            until(|| threads_named(NAME) == 1).await;
            let stdin = handle.take_stdin().unwrap();
            let said = runtime.spawn(async move {
                use tokio::io::AsyncWriteExt as _;
                let mut stdin = stdin;
                stdin.write_all(b"alive").await.unwrap();
                drop(stdin);
                handle.await.unwrap()
            });
            assert_eq!(within(said).await.unwrap(), "alive");
            runtime.shutdown_background();
        },
    )
    .await;
}

fn threads_named(name: &str) -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    threads
        .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok())
        .filter(|found| found.trim_end() == name)
        .count()
}
