//! A program that is started as an argument of the dynamic linker: `/proc/self/exe` is the linker then.

#[path = "../deadline/mod.rs"]
mod deadline;
mod harness;
#[path = "../leftovers/mod.rs"]
mod leftovers;

use std::path::PathBuf;
use std::process::Command;

use procession::{Process, StartMethod};

fn main() {
    match harness::role().as_deref() {
        Some("starts") => start_by_linker(),
        Some(_) => by_linker(),
        None => harness::test(|| harness::run_in_role("starts").assert_success()),
    }
}

/// The dynamic linker that this process has mapped.
fn linker() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("it is there");
    let mut paths = maps
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5));
    let is_linker = |path: &&str| path.contains("/ld-");
    paths.find(is_linker).map(PathBuf::from)
}

fn start_by_linker() {
    let Some(linker) = linker() else {
        harness::record();
        return eprintln!("skipped: this program is linked statically");
    };
    let own = std::env::current_exe().expect("it has a file");
    let mut program = Command::new(linker);
    let status = program
        .arg(own)
        .env("PROCESSION_TEST_ROLE", "by_linker")
        .status();
    assert!(status.expect("it is executed").success());
}

fn by_linker() {
    procession::init();
    harness::record();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be built");
    runtime.block_on(async {
        for method in [StartMethod::Exec, StartMethod::ForkServer] {
            let child = Process::builder().start_method(method);
            let outcome = deadline::within(child.spawn(|n: u32| n + 1, 1)).await;
            assert_eq!(outcome.map_err(|error| error.to_string()), Ok(2));
        }
    });
}
