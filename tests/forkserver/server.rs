//! A fork server that is killed or stopped.

use std::time::Duration;

use futures::future::join_all;

use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::processes::is_gone;
use crate::tasks::parked;
use crate::{forked, kill, servers, spares};

#[procession::test]
async fn a_forked_child_is_the_applications_own() {
    let parent = || std::os::unix::process::parent_id();
    assert_eq!(
        within(forked().spawn(parent, ())).await.unwrap(),
        std::process::id()
    );
}

#[procession::test]
async fn a_killed_server_is_replaced() {
    alone("server::a_killed_server_is_replaced", async {
        for _ in 0..5 {
            assert_eq!(within(forked().spawn(|| 1, ())).await.unwrap(), 1);
            let [server] = &servers()[..] else {
                panic!("one server, not {:?}", servers());
            };
            kill(server.pid);
            assert_eq!(within(forked().spawn(|| 2, ())).await.unwrap(), 2);
            until(|| is_gone(server.pid)).await;
        }
    })
    .await;
}

#[procession::test]
async fn children_outlive_their_server() {
    alone("server::children_outlive_their_server", async {
        // A newborn looks like its server for a moment: so before there are any.
        let servers = servers();
        assert_eq!(servers.len(), 1);
        let handle = forked().spawn(parked, ());
        until(|| handle.pid().is_some()).await;
        for server in servers {
            kill(server.pid);
            until(|| is_gone(server.pid)).await;
        }
        let pid = handle.pid().unwrap();
        assert!(!is_gone(pid) && !handle.is_finished());
        handle.abort();
        assert!(within(handle).await.unwrap_err().is_cancelled());
        until(|| is_gone(pid)).await;
    })
    .await;
}

/// Killed at any moment, it costs nobody anything.
#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_while_it_forks() {
    alone("server::a_server_killed_while_it_forks", async {
        for round in 0..30 {
            // A newborn looks like its server for a moment: so while there are none.
            until(|| spares().is_empty() && servers().len() < 2).await;
            let servers = servers();
            let all = (0..10_u32).map(|n| forked().spawn(|n: u32| n, n));
            let all = tokio::spawn(join_all(all));
            tokio::time::sleep(Duration::from_micros(100 * round)).await;
            servers.iter().for_each(|server| kill(server.pid));
            for (n, outcome) in within(all).await.unwrap().into_iter().enumerate() {
                assert_eq!(outcome.unwrap() as usize, n);
            }
        }
    })
    .await;
}

/// A stopped server answers nobody; it is replaced, and whoever waited for it is served.
#[procession::test]
async fn a_stopped_server_is_replaced() {
    alone("server::a_stopped_server_is_replaced", async {
        assert_eq!(within(forked().spawn(|| 1, ())).await.unwrap(), 1);
        let before = servers();
        for server in &before {
            let pid = rustix::process::Pid::from_raw(server.pid.cast_signed()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        }
        let all = (0..20_u32).map(|n| forked().spawn(|n: u32| n, n));
        for (n, outcome) in within(join_all(all)).await.into_iter().enumerate() {
            assert_eq!(outcome.unwrap() as usize, n);
        }
        until(|| before.iter().all(|server| is_gone(server.pid))).await;
    })
    .await;
}
