//! `#[procession::main]`: Tokio's default runtime, `?` in `main`, and no `main` in a child.

#[path = "../deadline/mod.rs"]
mod deadline;
mod harness;
#[path = "../leftovers/mod.rs"]
mod leftovers;

use std::error::Error;
use std::process::Stdio;

#[procession::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match harness::role().as_deref() {
        Some("works") => works().await,
        Some(_) => {
            harness::record();
            let fails = procession::Process::builder().stderr(Stdio::null());
            fails.spawn(|| -> () { panic!("as it should") }, ()).await?;
            Ok(())
        }
        None => {
            harness::test(|| {
                harness::run_in_role("works").assert_success();
                let fails = harness::run_in_role("fails");
                assert_eq!(fails.status.code(), Some(1));
                fails.assert_main_ran_once();
            });
            Ok(())
        }
    }
}

async fn works() -> Result<(), Box<dyn Error>> {
    harness::record();
    let runtime = tokio::runtime::Handle::current();
    let flavor = runtime.runtime_flavor();
    assert_eq!(flavor, tokio::runtime::RuntimeFlavor::MultiThread);
    let handles = (0..8_u64).map(|n| tokio::spawn(procession::spawn(|n: u64| n * 2, n)));
    for (n, handle) in (0..).zip(handles.collect::<Vec<_>>()) {
        assert_eq!(handle.await??, n * 2);
    }
    Ok(())
}
