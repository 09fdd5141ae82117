//! `detach`: a process that outlives its application.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::time::Duration;

use procession::StartMethod;

use crate::deadline::{self, until, within};
use crate::leftovers::alone;
use crate::notes::scratch;
use crate::tasks::parked;
use crate::{METHODS, by, found};

/// Makes the file `.begun`, waits for the file `.go`, and writes its pid to `path`.
fn write_pid_when_told(path: PathBuf) {
    std::fs::write(path.with_extension("begun"), "").unwrap();
    let go = path.with_extension("go");
    let end = std::time::Instant::now() + deadline::LIMIT;
    while !go.exists() && std::time::Instant::now() < end {
        std::thread::sleep(Duration::from_millis(2));
    }
    std::fs::remove_file(path.with_extension("begun")).unwrap();
    std::fs::write(path, std::process::id().to_string()).unwrap();
}

/// The process runs on without the runtime, and is reaped when it ends.
#[procession::test]
async fn detached_process_outlives_the_runtime() {
    alone("detach::detached_process_outlives_the_runtime", async {
        for method in METHODS {
            let path = scratch(&format!("runtime-{method:?}"));
            let (given, begun) = (path.clone(), path.with_extension("begun"));
            let start = move || {
                let runtime = tokio::runtime::Runtime::new().unwrap();
                runtime.block_on(async {
                    let handle = by(method).detach(true).spawn(write_pid_when_told, given);
                    until(|| handle.pid().is_some()).await;
                    until(|| begun.exists()).await;
                    handle.pid().unwrap()
                })
            };
            let pid = std::thread::spawn(start);
            let pid = within(tokio::task::spawn_blocking(|| pid.join().unwrap()));
            let pid = pid.await.unwrap();
            assert!(found(pid).is_some_and(|found| found.state != 'Z'));
            std::fs::write(path.with_extension("go"), "").unwrap();
            until(|| found(pid).is_none()).await;
            assert_eq!(std::fs::read_to_string(&path).unwrap(), pid.to_string());
            std::fs::remove_file(path.with_extension("go")).unwrap();
            std::fs::remove_file(path).unwrap();
        }
    })
    .await;
}

/// A detached process has a session of its own and survives a kill of the application.
#[procession::test]
async fn detached_process_outlives_the_application() {
    for method in METHODS {
        let path = scratch(&format!("application-{method:?}"));
        let application = move |path: PathBuf, forks: bool| async move {
            let method = METHODS[usize::from(!forks)];
            let detached = by(method)
                .detach(true)
                .spawn(write_pid_when_told, path.clone());
            let other = by(method).spawn(parked, ());
            until(|| detached.pid().is_some() && other.pid().is_some()).await;
            let (detached, other) = (detached.pid().unwrap(), other.pid().unwrap());
            until(|| path.with_extension("begun").exists()).await;
            let pids = format!("{detached} {other}");
            std::fs::write(path.with_extension("pids"), pids).unwrap();
            std::future::pending::<()>().await;
        };
        let forks = method == StartMethod::ForkServer;
        let handle = procession::spawn(application, (path.clone(), forks));
        let pids = path.with_extension("pids");
        let read = || std::fs::read_to_string(&pids).unwrap_or_default();
        until(|| read().split_whitespace().count() == 2).await;
        let text = read();
        let mut numbers = text.split_whitespace().map(|it| it.parse::<u32>().unwrap());
        let (detached, other) = (numbers.next().unwrap(), numbers.next().unwrap());
        let session = rustix::process::getsid(rustix::process::Pid::from_raw(detached as i32));
        assert_eq!(session.unwrap().as_raw_nonzero().get(), detached as i32);
        handle.signal(libc::SIGKILL);
        assert!(within(handle).await.unwrap_err().is_crashed());
        until(|| found(other).is_none_or(|found| found.state == 'Z')).await;
        assert!(found(detached).is_some_and(|found| found.state != 'Z'));
        std::fs::write(path.with_extension("go"), "").unwrap();
        until(|| std::fs::read_to_string(&path).is_ok_and(|text| !text.is_empty())).await;
        until(|| found(detached).is_none_or(|found| found.state == 'Z')).await;
        for leftover in [path.with_extension("go"), pids, path] {
            std::fs::remove_file(leftover).unwrap();
        }
    }
}

#[procession::test]
async fn detached_process_returns_and_aborts_like_any_other() {
    alone(
        "detach::detached_process_returns_and_aborts_like_any_other",
        async {
            for method in METHODS {
                let handle = by(method)
                    .detach(true)
                    .spawn(|a: u32, b: u32| a + b, (1, 2));
                assert_eq!(within(handle).await.unwrap(), 3);
                let handle = by(method).detach(true).spawn(parked, ());
                until(|| handle.pid().is_some()).await;
                let exited = handle.exited();
                handle.abort();
                assert!(within(handle).await.unwrap_err().is_cancelled());
                let status = within(exited).await.unwrap();
                assert_eq!(status.signal(), Some(libc::SIGKILL));
                let dropped = by(method).detach(true).kill_on_drop(true).spawn(parked, ());
                until(|| dropped.pid().is_some()).await;
                let pid = dropped.pid().unwrap();
                drop(dropped);
                until(|| found(pid).is_none()).await;
            }
        },
    )
    .await;
}
