//! A program that calls `procession::init()` inside a current-thread runtime. No thread has been started, so it
//! works, or spawns fail and say what to write. It neither hangs nor runs `main` twice.

#[path = "../deadline/mod.rs"]
mod deadline;
mod harness;
#[path = "../leftovers/mod.rs"]
mod leftovers;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    procession::init();
    match harness::role() {
        Some(_) => program().await,
        None => harness::test(|| harness::run_in_role("program").assert_success()),
    }
}

async fn program() {
    harness::record();
    let plain = deadline::within(procession::spawn(|n: u32| n + 1, 1)).await;
    let later = deadline::within(procession::spawn(async |n: u32| n + 1, 1)).await;
    for outcome in [plain, later] {
        match outcome {
            Ok(value) => assert_eq!(value, 2),
            Err(error) => assert!(
                error.to_string().contains("first line of `main`"),
                "{error}"
            ),
        }
    }
}
