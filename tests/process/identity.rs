//! Pid, parent, group, name and command line of a process, and lists of processes.

use std::fmt::Debug;
use std::process::Stdio;

use futures::future::join_all;
use procession::{Process, ProcessHandle};

use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::tasks::parked;
use crate::{METHODS, by, command_line, found, has_spoken, parked_process, say_and_park};

#[procession::test]
async fn active_children_lists_running_processes() {
    alone("identity::active_children_lists_running_processes", async {
        assert!(procession::active_children().is_empty());
        let named = Process::builder()
            .name("listed")
            .stdout(Stdio::piped())
            .spawn(say_and_park, ());
        let mut named = has_spoken(named).await;
        let mut other = parked_process().await;
        let children = procession::active_children();
        let mut pids: Vec<_> = children.iter().map(|child| Some(child.pid())).collect();
        pids.sort_unstable();
        let mut expected = [named.pid(), other.pid()];
        expected.sort_unstable();
        assert_eq!(pids, expected);
        let found = children
            .iter()
            .find(|child| Some(child.pid()) == named.pid());
        assert_eq!(found.unwrap().name(), Some("listed"));
        named.abort();
        within(&mut named).await.unwrap_err();
        let left: Vec<_> = procession::active_children();
        assert_eq!(
            left.iter()
                .map(|child| Some(child.pid()))
                .collect::<Vec<_>>(),
            [other.pid()]
        );
        other.abort();
        within(&mut other).await.unwrap_err();
        assert!(procession::active_children().is_empty());
    })
    .await;
}

#[procession::test]
async fn current_describes_the_process() {
    type Known = (
        bool,
        Option<String>,
        Option<u32>,
        Option<usize>,
        Option<String>,
    );
    fn known() -> Known {
        let current = procession::current();
        (
            current.is_child(),
            current.name().map(str::to_owned),
            current.parent_pid(),
            current.worker_number(),
            current.pool_name().map(str::to_owned),
        )
    }
    assert_eq!(known(), (false, None, None, None, None));
    assert!(procession::current().task_id().is_none());
    let there = within(Process::builder().name("me").spawn(known, ()))
        .await
        .unwrap();
    let expected = (
        true,
        Some("me".to_owned()),
        Some(std::process::id()),
        None,
        None,
    );
    assert_eq!(there, expected);
    let has_task = || procession::current().task_id().is_some();
    assert!(within(procession::spawn(has_task, ())).await.unwrap());
}

#[procession::test]
async fn parent_pid_is_the_pid_of_the_parent() {
    let parents = || {
        (
            procession::current().parent_pid(),
            std::os::unix::process::parent_id(),
        )
    };
    let (known, real) = within(procession::spawn(parents, ())).await.unwrap();
    assert_eq!(known, Some(real));
}

#[procession::test]
async fn pid_is_known_once_the_process_has_started() {
    alone(
        "identity::pid_is_known_once_the_process_has_started",
        async {
            let mut handle = procession::spawn(std::process::id, ());
            assert_eq!(handle.pid(), None);
            assert!(!handle.is_finished());
            until(|| handle.pid().is_some()).await;
            let pid = within(&mut handle).await.unwrap();
            assert_eq!(handle.pid(), Some(pid));
            assert!(handle.is_finished());
        },
    )
    .await;
}

#[procession::test]
async fn process_leads_its_own_group() {
    let group = || u32::try_from(rustix::process::getpgrp().as_raw_nonzero().get()).unwrap();
    let mut handle = procession::spawn(group, ());
    let found = within(&mut handle).await.unwrap();
    assert_eq!(handle.pid(), Some(found));
}

#[procession::test]
async fn processes_run_sixty_at_a_time() {
    alone("identity::processes_run_sixty_at_a_time", async {
        let handles = (0..60_u32).map(|n| procession::spawn(|n: u32| n * n, n));
        let outcomes = within(join_all(handles)).await;
        let squares: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
        assert_eq!(squares, (0..60).map(|n| n * n).collect::<Vec<_>>());
    })
    .await;
}

#[test]
fn handle_is_send_unpin_and_debug() {
    fn anywhere<T: Send + Unpin + Debug + 'static>() {}
    fn shared<T: Send + Sync + Unpin + Debug + Clone + 'static>() {}
    anywhere::<ProcessHandle<u32>>();
    anywhere::<ProcessHandle<std::cell::Cell<u32>>>();
    anywhere::<procession::ProcessBuilder>();
    anywhere::<procession::ChildStdin>();
    anywhere::<procession::ChildStdout>();
    anywhere::<procession::ChildStderr>();
    shared::<procession::AbortHandle>();
    shared::<procession::ChildInfo>();
    shared::<procession::CurrentProcess>();
    struct Unshown;
    anywhere::<ProcessHandle<Unshown>>();
    fn end<R: 'static>(handle: &ProcessHandle<R>) -> impl Send + Unpin + 'static + use<R> {
        handle.exited()
    }
    let _ = end::<u8>;
}

#[procession::test]
async fn name_is_shown_in_lists_of_processes() {
    alone("identity::name_is_shown_in_lists_of_processes", async {
        for method in METHODS {
            let handle = by(method).name("an indexer of things").spawn(parked, ());
            let line = || handle.pid().map(command_line);
            until(|| line().as_deref() == Some("procession: an indexer of things")).await;
            let found = found(handle.pid().unwrap()).unwrap();
            assert_eq!(found.command, "an indexer of t");
            handle.abort();
            within(handle).await.unwrap_err();
            let pool = procession::Pool::builder()
                .name("thumbs")
                .workers(1)
                .start_method(method)
                .build()
                .unwrap();
            let pid = within(pool.run(std::process::id, ())).await.unwrap();
            let line = command_line(pid);
            assert!(line.starts_with("procession: thumbs/"), "{line}");
            within(pool.shutdown()).await;
        }
    })
    .await;
}

/// The title in lists of processes does not change `args` and the environment inside the process.
#[procession::test]
async fn process_has_the_arguments_and_environment_of_the_application() {
    for method in METHODS {
        let look = || {
            (
                std::env::args().collect::<Vec<_>>(),
                std::env::var("PATH").ok(),
                std::env::var("OF_ITS_OWN").ok(),
            )
        };
        let handle = by(method).env("OF_ITS_OWN", "1").spawn(look, ());
        let (arguments, path, own) = within(handle).await.unwrap();
        assert_eq!(arguments, std::env::args().collect::<Vec<_>>());
        assert_eq!(path, std::env::var("PATH").ok());
        assert_eq!(own.as_deref(), Some("1"));
    }
}
