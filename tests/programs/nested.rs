//! Children of a program with `procession::init()` start children, which start children too.

#[path = "../deadline/mod.rs"]
mod deadline;
mod harness;
#[path = "../leftovers/mod.rs"]
mod leftovers;

use futures::future::{BoxFuture, FutureExt as _};

fn main() {
    procession::init();
    match harness::role() {
        Some(role) if role == "threads" => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build();
            program(&runtime.expect("a runtime can be built"));
        }
        Some(_) => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            program(&runtime.expect("a runtime can be built"));
        }
        None => harness::test(|| {
            harness::run_in_role("threads").assert_success();
            harness::run_in_role("thread").assert_success();
        }),
    }
}

fn program(runtime: &tokio::runtime::Runtime) {
    harness::record();
    let family = runtime.block_on(async { deadline::within(family(4)).await });
    assert_eq!(family.len(), 5);
    assert_eq!(family[0], std::process::id());
    let mut different = family.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), 5, "{family:?}");
    let count = runtime.block_on(async { procession::spawn(by_hand, 3).await });
    assert_eq!(count.ok(), Some(3));
}

/// The pids of this process, of a child, of a child of that child, and so on.
fn family(depth: u32) -> BoxFuture<'static, Vec<u32>> {
    async move {
        let mut found = vec![std::process::id()];
        if depth > 0 {
            let rest = procession::spawn(family_task, depth - 1).await;
            found.extend(rest.expect("a child can start a child"));
        }
        found
    }
    .boxed()
}

async fn family_task(depth: u32) -> Vec<u32> {
    family(depth).await
}

/// The number of generations, by a plain function that builds a runtime.
fn by_hand(depth: u32) -> u32 {
    if depth == 0 {
        return 0;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be built");
    let rest = runtime.block_on(async { procession::spawn(by_hand, depth - 1).await });
    1 + rest.expect("a child can start a child")
}
