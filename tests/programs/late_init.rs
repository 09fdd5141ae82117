//! A program that calls `procession::init()` after it has started a thread: spawns fail and say so.

#[path = "../deadline/mod.rs"]
mod deadline;
mod harness;
#[path = "../leftovers/mod.rs"]
mod leftovers;

use std::sync::mpsc;
use std::time::Duration;

fn main() {
    match harness::role() {
        Some(_) => late(),
        None => harness::test(|| harness::run_in_role("late").assert_success()),
    }
}

fn late() {
    harness::record();
    let (stop, stopped) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || stopped.recv());
    procession::init();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be built");
    runtime.block_on(async {
        for _ in 0..2 {
            let at_once = Duration::from_secs(1);
            let outcome = deadline::within_limit(at_once, procession::spawn(|| 1, ())).await;
            let error = outcome.expect_err("no child can come in");
            let said = error.to_string();
            assert!(error.is_spawn() && !error.started(), "{error:?}");
            assert!(said.contains("after threads had been started"), "{said}");
            assert!(said.contains("first line of `main`"), "{said}");
        }
    });
    drop(stop);
    assert!(thread.join().is_ok());
}
