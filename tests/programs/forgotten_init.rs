//! A program without `procession::init()`: its first spawn fails at once and says which line is missing.

#[path = "../deadline/mod.rs"]
mod deadline;
mod harness;
#[path = "../leftovers/mod.rs"]
mod leftovers;

use std::time::Duration;

use procession::Process;

fn main() {
    match harness::role() {
        Some(_) => forgetful(),
        None => harness::test(|| harness::run_in_role("forgetful").assert_success()),
    }
}

fn forgetful() {
    harness::record();
    let threads = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let thread = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    for runtime in [threads, thread] {
        runtime.expect("a runtime can be built").block_on(async {
            refused(procession::spawn(|| 1, ())).await;
            refused(Process::builder().name("again").spawn(|| 1, ())).await;
        });
    }
}

async fn refused(handle: procession::ProcessHandle<i32>) {
    let outcome = deadline::within_limit(Duration::from_secs(1), handle).await;
    let error = outcome.expect_err("no child can come in");
    let said = error.to_string();
    assert!(error.is_spawn() && !error.started(), "{error:?}");
    assert!(
        said.contains("`procession::init();` as the first line of `main`"),
        "{said}"
    );
    assert!(said.contains("#[procession::main]"), "{said}");
}
