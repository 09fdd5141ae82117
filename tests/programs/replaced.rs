//! A program whose file is replaced while it runs, as an upgrade does: its children run the old program.

#[path = "../deadline/mod.rs"]
mod deadline;
mod harness;
#[path = "../leftovers/mod.rs"]
mod leftovers;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

fn main() {
    procession::init();
    match harness::role() {
        Some(_) => program(),
        None => harness::test(|| {
            let name = format!("replaced-{}", std::process::id());
            let copy = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
            fs::copy("/proc/self/exe", &copy).expect("the program can be copied");
            let run = harness::run_file_in_role(&copy, "replaced");
            fs::remove_file(copy).expect("the replacement is at this path");
            run.assert_success();
        }),
    }
}

fn program() {
    harness::record();
    let own = std::env::current_exe().expect("it has a file");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be built");
    runtime.block_on(async {
        replace(&own);
        for _ in 0..2 {
            let nested = deadline::within(procession::spawn(with_a_child, 20)).await;
            assert_eq!(nested.map_err(|error| error.to_string()), Ok(22));
        }
    });
}

fn replace(own: &Path) {
    let script = own.with_extension("sh");
    fs::write(&script, "#!/bin/sh\nexit 9\n").expect("another program can be written");
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&script, executable).expect("it can be made executable");
    fs::rename(script, own).expect("it can replace the program");
}

async fn with_a_child(n: u32) -> u32 {
    let child = procession::spawn(|n: u32| n + 1, n + 1);
    child.await.expect("a child can start a child")
}
