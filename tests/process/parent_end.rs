//! A child never outlives its parent, however the parent ends and whatever the child is doing; and it
//! does outlive the thread that started it.
//!
//! A test starts a parent in a process of its own, the parent starts a child, and when the child is
//! where the test wants it the parent is killed, it alone.

use std::io;
use std::process::Stdio;
use std::time::{Duration, Instant};

use procession::Process;

use crate::deadline::{until, within};
use crate::family::{Doing, Family, check, child, parent};
use crate::leftovers::{Found, alone};
use crate::say;
use crate::tasks::parked;

#[procession::test]
async fn the_child_is_idle() {
    alone("parent_end::the_child_is_idle", check(Doing::Nothing)).await;
}

#[procession::test]
async fn the_child_awaits() {
    alone("parent_end::the_child_awaits", check(Doing::Waiting)).await;
}

#[procession::test]
async fn the_child_computes() {
    alone("parent_end::the_child_computes", check(Doing::Computing)).await;
}

#[procession::test]
async fn the_child_has_started_programs() {
    alone(
        "parent_end::the_child_has_started_programs",
        check(Doing::Programs),
    )
    .await;
}

#[procession::test]
async fn the_child_is_a_parent_too() {
    alone(
        "parent_end::the_child_is_a_parent_too",
        check(Doing::Nested),
    )
    .await;
}

#[procession::test]
async fn the_child_ignores_signals() {
    alone("parent_end::the_child_ignores_signals", check(Doing::Deaf)).await;
}

#[procession::test]
async fn the_child_computes_on_many_threads() {
    alone(
        "parent_end::the_child_computes_on_many_threads",
        check(Doing::Threads),
    )
    .await;
}

/// A process that is stopped can do nothing about its parent's end.
#[procession::test]
async fn the_child_is_stopped() {
    alone("parent_end::the_child_is_stopped", async {
        let mut family = Family::found(parent, Doing::Nothing);
        family.hear(1).await;
        let children = family.children();
        let [child] = &children[..] else {
            panic!("the parent has {children:?}");
        };
        signal(child, rustix::process::Signal::STOP);
        // Every thread of it: before the last one the kernel does not count it as stopped.
        until(|| thread_states(child).iter().all(|state| *state == 'T')).await;
        family.assert_it_ends_with_its_parent().await;
    })
    .await;
}

fn thread_states(found: &Found) -> Vec<char> {
    let threads = std::fs::read_dir(format!("/proc/{}/task", found.pid)).unwrap();
    let stats = threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("stat")));
    stats
        .map(|stat| {
            stat.unwrap()
                .rsplit_once(") ")
                .unwrap()
                .1
                .chars()
                .next()
                .unwrap()
        })
        .collect()
}

pub(crate) fn signal(found: &Found, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(found.pid.cast_signed()).unwrap();
    // It may be gone, if it was on its way out.
    let _ = rustix::process::kill_process(pid, signal);
}

async fn parent_of_many() {
    let children = (0..10).map(|_| procession::spawn(child, Doing::Nothing));
    futures::future::join_all(children).await;
}

#[procession::test]
async fn the_parent_has_many() {
    alone("parent_end::the_parent_has_many", async {
        let mut family = Family::found(parent_of_many, ());
        family.hear(10).await;
        family.assert_it_ends_with_its_parent().await;
    })
    .await;
}

/// Says a word right before it starts children, of all sorts of starting.
async fn starting_parent(with_courier: bool) {
    say("here");
    let child = match with_courier {
        false => procession::spawn(parked, ()),
        // All three streams: another process is started to find out what the first is.
        true => Process::builder()
            .stdin(Stdio::inherit())
            .stdout(Stdio::inherit())
            .stderr(Stdio::null())
            .spawn(parked, ()),
    };
    child.await.unwrap();
}

/// The pause before the kill grows until it is longer than a whole start, so every step is hit.
#[procession::test]
async fn the_child_is_starting() {
    alone("parent_end::the_child_is_starting", async {
        let mut pause = Duration::ZERO;
        while pause < Duration::from_millis(8) {
            for with_courier in [false, true] {
                let mut family = Family::found(starting_parent, with_courier);
                family.hear(1).await;
                let end = Instant::now() + pause;
                while Instant::now() < end {
                    tokio::task::yield_now().await; // a timer's steps are too long
                }
                family.assert_it_ends_with_its_parent().await;
            }
            pause += Duration::from_micros(200);
        }
    })
    .await;
}

/// The child is held still somewhere in its start, and goes on when it has no parent any more.
#[procession::test]
async fn the_child_starts_slowly() {
    alone("parent_end::the_child_starts_slowly", async {
        for n in 0..20 {
            let mut family = Family::found(starting_parent, n % 4 == 3);
            family.hear(1).await;
            until(|| !family.children().is_empty()).await;
            let end = Instant::now() + Duration::from_micros(n * 150);
            while Instant::now() < end {
                tokio::task::yield_now().await;
            }
            let children = family.children();
            for child in &children {
                signal(child, rustix::process::Signal::STOP);
            }
            family.parent.signal(libc::SIGKILL);
            within(family.parent.exited()).await.unwrap();
            for child in &children {
                signal(child, rustix::process::Signal::CONT);
            }
            family.assert_it_ends_with_its_parent().await;
        }
    })
    .await;
}

/// A detached child goes when its parent has returned.
#[procession::test]
async fn the_parent_returns() {
    async fn returns() {
        drop(procession::spawn(child, Doing::Computing));
        // Until the child is there, or there would be nothing to see.
        while procession::active_children().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    alone("parent_end::the_parent_returns", async {
        let family = Family::found(returns, ());
        family.assert_it_ends(None).await;
    })
    .await;
}

#[procession::test]
async fn the_parent_panics() {
    async fn panics() {
        drop(procession::spawn(child, Doing::Computing));
        while procession::active_children().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("as it should");
    }
    alone("parent_end::the_parent_panics", async {
        let family = Family::found(panics, ());
        family.assert_it_ends(None).await;
    })
    .await;
}

#[procession::test]
async fn the_parent_exits() {
    async fn exits() {
        let _child = procession::spawn(child, Doing::Programs);
        while procession::active_children().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        std::process::exit(0);
    }
    alone("parent_end::the_parent_exits", async {
        let family = Family::found(exits, ());
        family.assert_it_ends(None).await;
    })
    .await;
}

#[procession::test]
async fn the_parent_crashes() {
    alone("parent_end::the_parent_crashes", async {
        let mut family = Family::found(parent, Doing::Programs);
        family.hear(1).await;
        family.parent.signal(libc::SIGSEGV);
        family.assert_it_ends(Some(libc::SIGSEGV)).await;
    })
    .await;
}

/// The thread that asks for a child and the one that starts it both end; the child goes on.
#[procession::test]
async fn a_child_outlives_the_threads_that_started_it() {
    alone(
        "parent_end::a_child_outlives_the_threads_that_started_it",
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
            // One is left: the worker of the runtime, which attends to the child.
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
