//! `#[procession::main(flavor = "current_thread")]`: everything on one thread.

#[path = "../deadline/mod.rs"]
mod deadline;
mod harness;
#[path = "../leftovers/mod.rs"]
mod leftovers;

#[procession::main(flavor = "current_thread")]
async fn main() {
    match harness::role() {
        Some(_) => program().await,
        None => harness::test(|| harness::run_in_role("program").assert_success()),
    }
}

async fn program() {
    harness::record();
    let flavor = tokio::runtime::Handle::current().runtime_flavor();
    assert_eq!(flavor, tokio::runtime::RuntimeFlavor::CurrentThread);
    let handles = (0..8_u64).map(|n| procession::spawn(|n: u64| n * 2, n));
    let outcomes = deadline::within(futures::future::join_all(handles)).await;
    for (n, outcome) in (0..).zip(outcomes) {
        assert_eq!(outcome.ok(), Some(n * 2));
    }
}
