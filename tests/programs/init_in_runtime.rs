//! A program whose `main` is in a runtime of one thread when it calls `procession::init()`: no thread has
//! been started, so it works, or it is an error that says what to write; it neither hangs nor
//! runs `main` twice.

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
        None => harness::test(|| harness::play("program").assert_well()),
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
