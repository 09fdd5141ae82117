//! `#[procession::test]`, and how a child of a test starts. `programs/` has the tests of children of programs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod deadline;
mod leftovers;

use std::path::{Path, PathBuf};

use deadline::within;
use futures::future::{BoxFuture, FutureExt as _, join_all};
use leftovers::alone;
use tokio::runtime::{Handle, RuntimeFlavor};

fn double(n: u64) -> u64 {
    n * 2
}

#[procession::test]
async fn test_attribute_runs_on_one_thread() {
    assert_eq!(
        Handle::current().runtime_flavor(),
        RuntimeFlavor::CurrentThread
    );
    assert_eq!(within(procession::spawn(double, 2)).await.unwrap(), 4);
}

#[procession::test(flavor = "multi_thread", worker_threads = 3)]
async fn test_attribute_runs_on_several_threads() {
    assert_eq!(
        Handle::current().runtime_flavor(),
        RuntimeFlavor::MultiThread
    );
    assert_eq!(Handle::current().metrics().num_workers(), 3);
    let spawn = |n| tokio::spawn(async move { procession::spawn(double, n).await.unwrap() });
    for (n, doubled) in (0..).zip(within(join_all((0..8).map(spawn))).await) {
        assert_eq!(doubled.unwrap(), n * 2);
    }
}

#[procession::test(flavor = "local")]
async fn test_attribute_runs_on_a_local_runtime() {
    let doubled = tokio::task::spawn_local(async {
        let rc = std::rc::Rc::new(procession::spawn(double, 2).await.unwrap());
        *rc
    });
    assert_eq!(within(doubled).await.unwrap(), 4);
}

#[procession::test]
async fn test_attribute_accepts_a_result() -> Result<(), procession::JoinError> {
    assert_eq!(procession::spawn(double, 2).await?, 4);
    Ok(())
}

#[procession::test]
#[should_panic(expected = "did not return")]
async fn test_attribute_accepts_should_panic() {
    let exits = procession::spawn(|| -> u64 { std::process::exit(1) }, ());
    let error = within(exits).await.unwrap_err();
    panic!("{error}");
}

/// The runtime is built without an attribute, in a thread outside every runtime.
#[procession::test]
async fn spawn_works_on_a_runtime_built_by_hand() {
    let elsewhere = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime
            .unwrap()
            .block_on(async { procession::spawn(double, 2).await.unwrap() })
    });
    assert_eq!(elsewhere.join().unwrap(), 4);
}

/// The pids of this process, of a child, of a child of that child, and so on.
fn family(depth: u32) -> BoxFuture<'static, Vec<u32>> {
    async move {
        let mut found = vec![std::process::id()];
        if depth > 0 {
            let rest = procession::spawn(family, depth - 1);
            found.extend(rest.await.unwrap());
        }
        found
    }
    .boxed()
}

#[procession::test]
async fn child_can_spawn_children() {
    alone("child_can_spawn_children", async {
        let mut family = within(family(4)).await;
        assert_eq!((family.len(), family[0]), (5, std::process::id()));
        family.sort_unstable();
        family.dedup();
        assert_eq!(family.len(), 5, "the pids differ");
    })
    .await;
}

#[procession::test]
async fn child_in_a_plain_function_can_spawn_children() {
    alone("child_in_a_plain_function_can_spawn_children", async {
        fn depth(n: u32) -> u32 {
            if n == 0 {
                return 0;
            }
            let runtime = tokio::runtime::Runtime::new().unwrap();
            1 + runtime.block_on(async { procession::spawn(depth, n - 1).await.unwrap() })
        }
        assert_eq!(within(procession::spawn(depth, 3)).await.unwrap(), 3);
    })
    .await;
}

/// A child does not run the tests again, although its arguments select this test.
#[procession::test]
async fn child_runs_no_test() {
    alone("child_runs_no_test", async {
        let record = scratch("child_runs_no_test");
        append(&record);
        for n in 0..4 {
            let outcome = match n {
                0 => within(procession::spawn(|| -> () { std::process::abort() }, ())).await,
                1 => within(procession::spawn(|| (), ())).await,
                2 => within(procession::spawn(async || (), ())).await,
                _ => within(procession::spawn(|| -> () { std::process::exit(0) }, ())).await,
            };
            assert_eq!(outcome.is_ok(), n == 1 || n == 2);
        }
        assert_eq!(std::fs::read_to_string(&record).unwrap().lines().count(), 1);
        std::fs::remove_file(record).unwrap();
    })
    .await;
}

/// A path that is the same in this process and in its children.
fn scratch(name: &str) -> PathBuf {
    let mark = leftovers::own_mark().unwrap();
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{mark}"))
}

fn append(record: &Path) {
    use std::io::Write as _;
    let file = std::fs::File::options()
        .append(true)
        .create(true)
        .open(record);
    writeln!(file.unwrap(), "{}", std::process::id()).unwrap();
}

/// A child removes the variable that made it a child. So a program that it starts runs its own `main`, also where
/// it is the same program.
#[procession::test]
async fn program_started_by_a_child_is_no_child() {
    alone("program_started_by_a_child_is_no_child", async {
        fn listed() -> String {
            let mut program = std::process::Command::new("/proc/self/exe");
            let list = program
                .args(["--list", "--format", "terse"])
                .output()
                .unwrap();
            String::from_utf8(list.stdout).unwrap()
        }
        let list = within(procession::spawn(listed, ())).await.unwrap();
        assert!(list.contains("child_can_spawn_children: test"), "{list}");
    })
    .await;
}

/// The process exits with a message that names the variable.
#[procession::test]
async fn variable_set_by_hand_is_an_error() {
    alone("variable_set_by_hand_is_an_error", async {
        for value in ["constructor0", "constructor1", "constructor2"] {
            let run = tokio::process::Command::new("/proc/self/exe")
                .args(["--list", "--format", "terse"])
                .env("PROCESSION_CHILD", value)
                .stdin(std::process::Stdio::null())
                .output();
            let output = within(run).await.unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success(), "{output:?}");
            assert!(stderr.contains("PROCESSION_CHILD"), "{stderr}");
            assert!(output.stdout.is_empty(), "{output:?}");
        }
    })
    .await;
}

#[test]
fn current_is_no_child_in_the_application() {
    let current = procession::current();
    assert!(!current.is_child() && current.parent_pid().is_none());
}
