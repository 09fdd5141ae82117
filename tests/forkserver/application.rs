//! What a forked child inherits from the application, and what in the application stays unchanged.

use std::path::Path;

use futures::future::join_all;
use procession::Process;

use crate::deadline::within;
use crate::forked;
use crate::leftovers::alone;

#[procession::test]
async fn forked_child_has_the_environment_directory_and_limits_of_its_spawn() {
    alone(
        "application::forked_child_has_the_environment_directory_and_limits_of_its_spawn",
        async {
            let look = || {
                (
                    std::env::var("NEWS").ok(),
                    std::env::current_dir().unwrap(),
                    rustix::process::getrlimit(rustix::process::Resource::Core).current,
                )
            };
            for (news, directory) in [("one", "/"), ("two", "/proc"), ("three", "/")] {
                #[allow(unsafe_code, reason = "a program may change its environment")]
                // SAFETY: this process runs only this test, and no other thread reads the environment.
                unsafe {
                    std::env::set_var("NEWS", news);
                }
                std::env::set_current_dir(directory).unwrap();
                let limit = rustix::process::Rlimit {
                    current: Some(directory.len() as u64),
                    ..rustix::process::getrlimit(rustix::process::Resource::Core)
                };
                let raised = rustix::process::setrlimit(rustix::process::Resource::Core, limit);
                let (seen, place, core) = within(forked().spawn(look, ())).await.unwrap();
                assert_eq!(seen.as_deref(), Some(news));
                assert_eq!(place, Path::new(directory));
                if raised.is_ok() {
                    assert_eq!(core, limit.current);
                }
            }
        },
    )
    .await;
}

/// The environment does not fit into one message to the server.
#[procession::test]
async fn env_larger_than_one_message_arrives() {
    let value = "x".repeat(100_000);
    let handle = forked()
        .env("LARGE", &value)
        .env("MORE", &value)
        .spawn(|| std::env::var("LARGE").unwrap().len(), ());
    assert_eq!(within(handle).await.unwrap(), value.len());
}

#[procession::test]
async fn forked_child_can_fork() {
    alone("application::forked_child_can_fork", async {
        async fn grandparent(depth: u32) -> u32 {
            match depth {
                0 => 0,
                _ => {
                    let next = Process::builder().spawn(grandparent, depth - 1);
                    1 + Box::pin(next).await.unwrap()
                }
            }
        }
        assert_eq!(within(forked().spawn(grandparent, 3)).await.unwrap(), 3);
    })
    .await;
}

/// The application waits for its own children, and is notified of their ends.
#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn application_children_are_left_to_the_application() {
    use tokio::signal::unix::{SignalKind, signal};
    alone(
        "application::application_children_are_left_to_the_application",
        async {
            let mut ended = signal(SignalKind::child()).unwrap();
            let mut plain = std::process::Command::new("sleep")
                .arg("1000")
                .spawn()
                .unwrap();
            let mut own = tokio::process::Command::new("sh")
                .args(["-c", "exit 3"])
                .spawn()
                .unwrap();
            let all = join_all((0..20).map(|n| forked().spawn(|n: i32| n, n)));
            assert!(within(all).await.into_iter().all(|it| it.is_ok()));
            assert_eq!(within(own.wait()).await.unwrap().code(), Some(3));
            within(ended.recv()).await.unwrap();
            assert!(plain.try_wait().unwrap().is_none());
            plain.kill().unwrap();
            assert!(!plain.wait().unwrap().success());
        },
    )
    .await;
}

#[procession::test]
async fn sigchld_may_be_handled_or_ignored_by_the_application() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static HEARD: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn count(_: libc::c_int) {
        HEARD.fetch_add(1, Ordering::Relaxed);
    }
    alone(
        "application::sigchld_may_be_handled_or_ignored_by_the_application",
        async {
            for action in [count as *const () as usize, libc::SIG_IGN] {
                #[allow(unsafe_code, reason = "a program may have a handler of its own")]
                // SAFETY: the handler only increments an atomic counter.
                let before = unsafe { libc::signal(libc::SIGCHLD, action) };
                let all = join_all((0..20).map(|n| forked().spawn(|n: i32| n, n)));
                for (n, outcome) in within(all).await.into_iter().enumerate() {
                    assert_eq!(outcome.unwrap() as usize, n);
                }
                let aborts = || -> () { std::process::abort() };
                assert!(
                    within(forked().spawn(aborts, ()))
                        .await
                        .unwrap_err()
                        .is_crashed()
                );
                #[allow(unsafe_code, reason = "a program may have a handler of its own")]
                // SAFETY: `before` is the previous action.
                unsafe {
                    libc::signal(libc::SIGCHLD, before);
                }
            }
            assert!(HEARD.load(Ordering::Relaxed) > 0);
        },
    )
    .await;
}
