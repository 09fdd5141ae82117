//! How a child comes in: in tests here, in programs in `programs/`, each a test with its own `main`.

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
async fn on_one_thread() {
    assert_eq!(
        Handle::current().runtime_flavor(),
        RuntimeFlavor::CurrentThread
    );
    assert_eq!(within(procession::spawn(double, 2)).await.unwrap(), 4);
}

#[procession::test(flavor = "multi_thread", worker_threads = 3)]
async fn on_several_threads() {
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
async fn on_a_local_runtime() {
    let doubled = tokio::task::spawn_local(async {
        let rc = std::rc::Rc::new(procession::spawn(double, 2).await.unwrap());
        *rc
    });
    assert_eq!(within(doubled).await.unwrap(), 4);
}

#[procession::test]
async fn with_a_result() -> Result<(), procession::JoinError> {
    assert_eq!(procession::spawn(double, 2).await?, 4);
    Ok(())
}

#[procession::test]
#[should_panic(expected = "did not return")]
async fn with_a_panic() {
    let exits = procession::spawn(|| -> u64 { std::process::exit(1) }, ());
    let error = within(exits).await.unwrap_err();
    panic!("{error}");
}

/// A runtime that no attribute made, in a thread that no runtime knows.
#[procession::test]
async fn on_a_runtime_made_by_hand() {
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

/// This process, a child of it, a child of that, and so on.
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
async fn children_have_children() {
    alone("children_have_children", async {
        let mut family = within(family(4)).await;
        assert_eq!((family.len(), family[0]), (5, std::process::id()));
        family.sort_unstable();
        family.dedup();
        assert_eq!(family.len(), 5, "each is a process of its own");
    })
    .await;
}

#[procession::test]
async fn a_plain_function_has_children() {
    alone("a_plain_function_has_children", async {
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

/// The tests are not run again in a child, by whatever arguments this process was started with.
#[procession::test]
async fn a_child_runs_no_test() {
    alone("a_child_runs_no_test", async {
        let record = scratch("a_child_runs_no_test");
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

/// A file that every process which comes here would find.
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

/// Closing the way in behind itself, a child starts programs that are no children of ours: they run
/// their own `main`, also when they are this very program.
#[procession::test]
async fn the_same_program_started_by_a_child_is_no_child() {
    alone("the_same_program_started_by_a_child_is_no_child", async {
        fn listed() -> String {
            let mut program = std::process::Command::new("/proc/self/exe");
            let list = program
                .args(["--list", "--format", "terse"])
                .output()
                .unwrap();
            String::from_utf8(list.stdout).unwrap()
        }
        let list = within(procession::spawn(listed, ())).await.unwrap();
        assert!(list.contains("children_have_children: test"), "{list}");
    })
    .await;
}

/// Somebody who sets the variable by hand is told, and nothing hangs.
#[procession::test]
async fn whoever_is_no_child_and_is_told_so_says_it() {
    alone("whoever_is_no_child_and_is_told_so_says_it", async {
        for invitation in ["constructor0", "constructor1", "constructor2"] {
            let run = tokio::process::Command::new("/proc/self/exe")
                .args(["--list", "--format", "terse"])
                .env("PROCESSION_CHILD", invitation)
                .stdin(std::process::Stdio::null())
                .output();
            let output = within(run).await.unwrap();
            let cried = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success(), "{output:?}");
            assert!(cried.contains("PROCESSION_CHILD"), "{cried}");
            assert!(output.stdout.is_empty(), "{output:?}");
        }
    })
    .await;
}

#[test]
fn outside_of_children_nobody_is_one() {
    let current = procession::current();
    assert!(!current.is_child() && current.parent_pid().is_none());
}
