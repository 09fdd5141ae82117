//! Python: whether it is here, and how its contenders are started.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// Whether there is a `python3` that can start processes.
pub(crate) static IS_HERE: LazyLock<bool> = LazyLock::new(|| imports("multiprocessing"));

/// Whether it has `module`.
pub(crate) fn imports(module: &str) -> bool {
    let mut command = Command::new("python3");
    command.arg("-c").arg(format!("import {module}"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// `python3` with one of our programs, the first of `arguments`.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let (script, arguments) = arguments.split_first().expect("the table names a program");
    let scripts = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/python"));
    let mut command = Command::new("python3");
    // -B: nothing is written beside the sources.
    command.arg("-B").arg(scripts.join(script)).args(arguments);
    command
}
