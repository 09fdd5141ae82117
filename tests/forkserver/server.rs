//! Fork servers that are killed or stopped.

use std::time::Duration;

use futures::future::join_all;
use rustix::process::Signal;

use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::leftovers::processes::{is_gone, kill_if_running, signal};
use crate::tasks::parked;
use crate::{forked, servers, spares};

#[procession::test]
async fn forked_child_is_a_child_of_the_application() {
    let parent = || std::os::unix::process::parent_id();
    assert_eq!(
        within(forked().spawn(parent, ())).await.unwrap(),
        std::process::id()
    );
}

#[procession::test]
async fn fork_server_that_is_killed_is_replaced() {
    alone("server::fork_server_that_is_killed_is_replaced", async {
        for _ in 0..5 {
            assert_eq!(within(forked().spawn(|| 1, ())).await.unwrap(), 1);
            // A spare that was just forked has the name of its server.
            until(|| servers().len() == 1).await;
            let [server] = &servers()[..] else {
                panic!("one server, not {:?}", servers());
            };
            kill_if_running(server.pid);
            assert_eq!(within(forked().spawn(|| 2, ())).await.unwrap(), 2);
            until(|| is_gone(server.pid)).await;
        }
    })
    .await;
}

#[procession::test]
async fn children_outlive_their_fork_server() {
    alone("server::children_outlive_their_fork_server", async {
        // Before there are children: a child that was just forked has the name of its server.
        until(|| servers().len() == 1).await;
        let servers = servers();
        let handle = forked().spawn(parked, ());
        until(|| handle.pid().is_some()).await;
        for server in servers {
            kill_if_running(server.pid);
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

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn fork_server_killed_while_it_forks_costs_no_child() {
    alone(
        "server::fork_server_killed_while_it_forks_costs_no_child",
        async {
            for round in 0..30 {
                // While there are no children: a child that was just forked has the name of its server.
                until(|| spares().is_empty() && servers().len() < 2).await;
                let servers = servers();
                let all = (0..10_u32).map(|n| forked().spawn(|n: u32| n, n));
                let all = tokio::spawn(join_all(all));
                tokio::time::sleep(Duration::from_micros(100 * round)).await;
                servers
                    .iter()
                    .for_each(|server| kill_if_running(server.pid));
                for (n, outcome) in within(all).await.unwrap().into_iter().enumerate() {
                    assert_eq!(outcome.unwrap() as usize, n);
                }
            }
        },
    )
    .await;
}

/// A stopped server does not answer. The starts that wait for it are given to its successor.
#[procession::test]
async fn fork_server_that_is_stopped_is_replaced() {
    alone("server::fork_server_that_is_stopped_is_replaced", async {
        assert_eq!(within(forked().spawn(|| 1, ())).await.unwrap(), 1);
        until(|| servers().len() == 1).await;
        let before = servers();
        for server in &before {
            signal(server.pid, Signal::STOP);
        }
        let all = (0..20_u32).map(|n| forked().spawn(|n: u32| n, n));
        for (n, outcome) in within(join_all(all)).await.into_iter().enumerate() {
            assert_eq!(outcome.unwrap() as usize, n);
        }
        until(|| before.iter().all(|server| is_gone(server.pid))).await;
    })
    .await;
}
