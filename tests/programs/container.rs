//! A program under the default filter of container runtimes, in which `clone3` fails: its processes are forked all the
//! same, and its pools share what a preload has made.

#![allow(
    unsafe_code,
    reason = "a filter of system calls has no other interface"
)]

#[path = "../deadline/mod.rs"]
mod deadline;
mod harness;
#[path = "../leftovers/mod.rs"]
mod leftovers;
mod seccomp;

use std::sync::OnceLock;

use procession::{Pool, StartMethod};

static LOADED_IN: OnceLock<u32> = OnceLock::new();

fn main() {
    match harness::role() {
        Some(_) => container(),
        None => harness::test(|| harness::run_in_role("container").assert_success()),
    }
}

fn load() {
    LOADED_IN.get_or_init(std::process::id);
}

fn container() {
    procession::init();
    harness::record();
    seccomp::deny_clone3();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be built");
    runtime.block_on(async {
        let warm = deadline::within(procession::warm_up()).await;
        warm.expect("children can be forked by `clone`");
        let outcome = deadline::within(procession::spawn(|n: i32| n + 1, 1)).await;
        assert_eq!(outcome.expect("it is forked"), 2);
        let pool = Pool::builder()
            .workers(1)
            .start_method(StartMethod::ForkServer)
            .preload(load, ())
            .build()
            .expect("there is memory");
        let same = || LOADED_IN.get().copied() == Some(std::process::id());
        let loaded = deadline::within(pool.run(same, ())).await;
        assert!(
            !loaded.expect("it is forked"),
            "the preload ran in the worker"
        );
        deadline::within(pool.shutdown()).await;
    });
}
