//! A worker with a control group takes along all that it has started, however it ends, and the group is removed.
//!
//! Where no group can be made, these tests do nothing, and say why.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use procession::{Cgroup, Pool, PoolBuilder, Process, StartMethod};

use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::notes::{Board, Notes};
use crate::{
    METHODS, kill_all, sleep, sleeping, start_daemons, start_daemons_and_crash,
    start_daemons_and_spin, start_programs, unique_time,
};

/// Whether groups can be made here.
async fn can_have_groups() -> bool {
    match with_groups(StartMethod::default()).build() {
        Ok(pool) => {
            within(pool.terminate()).await;
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            eprintln!("skipped: {error}");
            false
        }
    }
}

fn with_groups(method: StartMethod) -> PoolBuilder {
    let pool = Pool::builder().workers(1).start_method(method);
    pool.cgroup(Cgroup::Required)
}

/// The directory of the group of this process.
fn own_group() -> PathBuf {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let mount = mount.unwrap().split(' ').nth(4).unwrap();
    Path::new(mount).join(own.unwrap())
}

/// The groups of workers of the application `pid`.
fn groups_of(pid: u32) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(own_group()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let prefix = format!("/procession-{pid}-");
    paths
        .filter(|path| path.to_string_lossy().contains(&prefix))
        .collect()
}

#[procession::test]
async fn each_worker_has_a_cgroup_that_is_removed_with_it() {
    if !can_have_groups().await {
        return;
    }
    for method in METHODS {
        let pool = with_groups(method).workers(3).build().unwrap();
        let groups = within(pool.broadcast(own_group, ())).await.unwrap();
        for group in &groups {
            assert!(group.is_dir() && group.parent() == Some(&*own_group()));
            assert_eq!(groups.iter().filter(|it| *it == group).count(), 1);
        }
        let killed = within(pool.run(|| -> () { std::process::abort() }, ())).await;
        assert!(killed.unwrap_err().is_crashed());
        let again = within(pool.broadcast(own_group, ())).await.unwrap();
        within(pool.shutdown()).await;
        assert!(groups.iter().chain(&again).all(|it| !it.exists()));
    }
}

#[procession::test]
async fn daemons_of_a_crashed_task_are_killed_with_its_cgroup() {
    if !can_have_groups().await {
        return;
    }
    for method in METHODS {
        let time = unique_time();
        let pool = with_groups(method).build().unwrap();
        let crashed = within(pool.run(start_daemons_and_crash, time.clone())).await;
        assert!(crashed.unwrap_err().is_crashed());
        until(|| sleeping(&time) == 0).await;
        assert_eq!(within(pool.run(|| 1, ())).await.unwrap(), 1);
        within(pool.shutdown()).await;
    }
}

/// What has no group, and no parent that is known, cannot be found: the documentation says so.
#[procession::test]
async fn daemons_of_a_crashed_task_outlive_it_without_a_cgroup() {
    for method in METHODS {
        let time = unique_time();
        let pool = Pool::builder().workers(1).start_method(method);
        let pool = pool.build().unwrap();
        let crashed = within(pool.run(start_daemons_and_crash, time.clone())).await;
        assert!(crashed.unwrap_err().is_crashed());
        // One has stayed in the group of processes. Another leads a session.
        until(|| sleeping(&time) < 3).await;
        within(pool.shutdown()).await;
        assert_ne!(sleeping(&time), 0);
        kill_all(&time);
        until(|| sleeping(&time) == 0).await;
    }
}

#[procession::test]
async fn killed_and_leaving_workers_take_their_cgroups_along() {
    if !can_have_groups().await {
        return;
    }
    for method in METHODS {
        let time = unique_time();
        let pool = with_groups(method).build().unwrap();
        let task = pool.run(start_daemons_and_spin, time.clone()).spawn();
        until(|| sleeping(&time) == 3).await;
        task.abort();
        assert!(within(task).await.unwrap_err().is_cancelled());
        until(|| sleeping(&time) == 0).await;
        within(pool.run(start_programs, time.clone()))
            .await
            .unwrap();
        within(pool.run(start_daemons, time.clone())).await.unwrap();
        let group = within(pool.run(own_group, ())).await.unwrap();
        until(|| sleeping(&time) == 8).await;
        drop(pool);
        until(|| sleeping(&time) == 0 && !group.exists()).await;
    }
}

/// A worker has a pool whose workers have groups, too.
#[procession::test]
async fn cgroup_of_a_worker_holds_those_of_its_workers() {
    if !can_have_groups().await {
        return;
    }
    static KEPT: OnceLock<Pool> = OnceLock::new();
    async fn nested(time: String) -> PathBuf {
        let pool = with_groups(StartMethod::default()).build().unwrap();
        pool.run(start_daemons, time).await.unwrap();
        let group = pool.run(own_group, ()).await.unwrap();
        assert_eq!(group.parent(), Some(&*own_group()));
        // It is not dropped by the worker's crash.
        let _ = KEPT.set(pool);
        group
    }
    for method in METHODS {
        let time = unique_time();
        let pool = with_groups(method).build().unwrap();
        let group = within(pool.run(nested, time.clone())).await.unwrap();
        assert_eq!(sleeping(&time), 3);
        let abort = || -> () { std::process::abort() };
        within(pool.run(abort, ())).await.unwrap_err();
        until(|| sleeping(&time) == 0 && !group.exists()).await;
        within(pool.shutdown()).await;
    }
}

#[procession::test]
async fn detached_process_leaves_the_cgroup_of_its_worker() {
    if !can_have_groups().await {
        return;
    }
    async fn start_detached(time: String) {
        let detached = Process::builder().detach(true).spawn(sleep, time.clone());
        while sleeping(&time) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(detached);
        std::process::abort()
    }
    for method in METHODS {
        let time = unique_time();
        let pool = with_groups(method).build().unwrap();
        within(pool.run(start_detached, time.clone()))
            .await
            .unwrap_err();
        // The end of the worker, and of its group.
        within(pool.shutdown()).await;
        assert_eq!(sleeping(&time), 1);
        kill_all(&time);
        until(|| sleeping(&time) == 0).await;
    }
}

/// An application whose worker has daemons.
async fn application(executes: bool, time: String, notes: Notes) {
    let method = match executes {
        true => StartMethod::Exec,
        false => StartMethod::ForkServer,
    };
    let pool = with_groups(method).workers(2).build().unwrap();
    pool.run(start_daemons, time).await.unwrap();
    for group in pool.broadcast(own_group, ()).await.unwrap() {
        notes.write("group", group.display());
    }
    std::future::pending::<()>().await;
}

#[procession::test]
async fn cgroups_of_a_killed_application_are_killed_and_removed() {
    if !can_have_groups().await {
        return;
    }
    for executes in [false, true] {
        let (time, board) = (unique_time(), Board::new());
        // A program of its own, whose fork server ends with it.
        let process = Process::builder().start_method(StartMethod::Exec);
        let process = process.spawn(application, (executes, time.clone(), board.notes()));
        let groups = board.lines("group", 2).await;
        let pid = process.pid().unwrap();
        assert_eq!(groups_of(pid).len(), 2);
        process.signal(libc::SIGKILL);
        assert!(within(process).await.unwrap_err().is_crashed());
        until(|| sleeping(&time) == 0).await;
        let are_gone = || groups.iter().all(|it| !Path::new(it).exists());
        if executes {
            // Empty ones are left without a fork server. The next application removes them when their processes have
            // ended.
            until(|| {
                drop(with_groups(StartMethod::Exec).build().unwrap());
                are_gone()
            })
            .await;
        }
        until(are_gone).await;
    }
}

/// An application that starts workers and kills them before they have begun, again and again.
async fn kills_starting_workers(notes: Notes) {
    for pause in (0..).map(|n| Duration::from_micros(n % 40 * 50)) {
        let pool = with_groups(StartMethod::Exec).workers(2).build().unwrap();
        notes.write("started", 2);
        tokio::time::sleep(pause).await;
        drop(pool);
    }
}

#[procession::test]
async fn worker_that_was_starting_when_its_killer_was_killed_ends() {
    if !can_have_groups().await {
        return;
    }
    // It asserts that no process is left.
    alone(
        "cgroup::worker_that_was_starting_when_its_killer_was_killed_ends",
        async {
            for pause in (0..40).map(Duration::from_millis) {
                let board = Board::new();
                let process = Process::builder().start_method(StartMethod::Exec);
                let process = process.spawn(kills_starting_workers, board.notes());
                board.lines("started", 1).await;
                tokio::time::sleep(pause).await;
                process.signal(libc::SIGKILL);
                assert!(within(process).await.unwrap_err().is_crashed());
            }
        },
    )
    .await;
}

#[procession::test]
async fn cgroup_that_cannot_be_made_is_an_error_where_it_is_required() {
    #[allow(unsafe_code, reason = "the C library changes the user in all threads")]
    fn become_nobody() {
        const NOBODY: u32 = 65_534;
        // SAFETY: takes integers.
        let group = unsafe { libc::setresgid(NOBODY, NOBODY, NOBODY) };
        // SAFETY: likewise.
        let user = unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) };
        assert_eq!((group, user), (0, 0));
    }
    async fn application() {
        if rustix::process::geteuid().is_root() {
            become_nobody();
        } else if with_groups(StartMethod::default()).build().is_ok() {
            eprintln!("skipped: groups are delegated to this user");
            return;
        }
        let error = with_groups(StartMethod::default()).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let text = error.to_string();
        assert!(
            text.contains("control group") && text.contains("may not"),
            "{text}"
        );
        let pool = Pool::builder().workers(1).cgroup(Cgroup::IfDelegated);
        let pool = pool.build().unwrap();
        assert_eq!(within(pool.run(|| 1, ())).await.unwrap(), 1);
        within(pool.shutdown()).await;
    }
    within(procession::spawn(application, ())).await.unwrap();
}
