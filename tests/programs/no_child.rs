//! Programs that are no children: the variable that makes a child costs them nothing and gives no process their rights.
//! And descriptors that a shared library has opened in a child stay the library's.

#![allow(unsafe_code, reason = "what a program inherits has no other interface")]

#[path = "../deadline/mod.rs"]
mod deadline;
mod harness;
#[path = "../leftovers/mod.rs"]
mod leftovers;

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use procession::{Process, StartMethod};
use rustix::io::FdFlags;

const VARIABLE: &str = "PROCESSION_CHILD";
const ROLE: &str = "PROCESSION_TEST_ROLE";
const INHERITED: &str = "NO_CHILD_INHERITED";
const LIBRARY_FILE: &str = "NO_CHILD_LIBRARY_FILE";
const NOBODY: u32 = 65_534;

fn main() {
    match harness::role().as_deref() {
        Some("ordinary") => ordinary(),
        Some("keeps") => keeps(),
        Some("library") => library(),
        Some("set_user_id") => set_user_id(),
        Some(other) => panic!("{other} is no role"),
        None => harness::test(|| {
            harness::run_in_role("ordinary").assert_success();
            with_library(|| harness::run_in_role("library").assert_success());
            loaded_by_a_foreign_program();
            started_by_another_user();
        }),
    }
}

/// An open file without close-on-exec.
fn inheritable() -> File {
    let file = File::open("/proc/self/exe").expect("it is there");
    rustix::io::fcntl_setfd(&file, FdFlags::empty()).expect("it is open");
    file
}

/// Starts itself with the variable and a descriptor, as a service manager would.
fn ordinary() {
    harness::record();
    let file = inheritable();
    for value in ["x", "init3", ",3:1:1"] {
        let status = Command::new("/proc/self/exe")
            .env(ROLE, "keeps")
            .env(VARIABLE, value)
            .env(INHERITED, file.as_raw_fd().to_string())
            .env_remove("PROCESSION_TEST_RECORD")
            .status();
        assert!(status.expect("it is executed").success(), "{value}");
    }
}

fn keeps() {
    procession::init();
    let fd: i32 = std::env::var(INHERITED)
        .expect("it is set")
        .parse()
        .expect("it is a number");
    // SAFETY: takes integers.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    assert!(flags >= 0, "{fd} was closed");
}

/// A file of this test.
fn scratch(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    directory.join(format!("no-child-{}-{name}", std::process::id()))
}

/// Compiles `code`. `None` if there is no compiler.
fn compiled(name: &str, code: &str, flags: &[&str]) -> Option<PathBuf> {
    let (source, output) = (scratch(&format!("{name}.c")), scratch(name));
    std::fs::write(&source, code).expect("a file can be written");
    let mut compiler = Command::new("cc");
    compiler.arg(&source).arg("-o").arg(&output).args(flags);
    let compiled = compiler.status();
    let _ = std::fs::remove_file(&source);
    if compiled.is_ok_and(|status| status.success()) {
        return Some(output);
    }
    eprintln!("skipped: this test needs a C compiler");
    None
}

/// Opens a file before any code of the program runs.
const LIBRARY: &str = r#"
#include <fcntl.h>
#include <stdlib.h>
__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("NO_CHILD_LIBRARY_FILE");
    if (path) open(path, O_RDONLY);
}
"#;

fn with_library(run: impl FnOnce()) {
    let flags = ["-shared", "-fPIC"];
    let Some(library) = compiled("library.so", LIBRARY, &flags) else {
        return;
    };
    let file = scratch("library-file");
    std::fs::write(&file, "x").expect("a file can be written");
    // SAFETY: this program has one thread.
    unsafe { std::env::set_var("LD_PRELOAD", &library) };
    // SAFETY: likewise.
    unsafe { std::env::set_var(LIBRARY_FILE, &file) };
    run();
    // SAFETY: likewise.
    unsafe { std::env::remove_var("LD_PRELOAD") };
    let _ = std::fs::remove_file(library);
    let _ = std::fs::remove_file(file);
}

/// How many descriptors of this process lead to `path`.
fn count_open(path: PathBuf) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").expect("it is there");
    let targets = links.filter_map(|link| std::fs::read_link(link.ok()?.path()).ok());
    targets.filter(|target| *target == path).count()
}

fn library() {
    procession::init();
    harness::record();
    let leaked = inheritable();
    let leaked_path = std::fs::read_link("/proc/self/exe").expect("it is there");
    let library_path = PathBuf::from(std::env::var_os(LIBRARY_FILE).expect("it is set"));
    assert_eq!(count_open(library_path.clone()), 1);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be built");
    runtime.block_on(async {
        for method in [StartMethod::Exec, StartMethod::ForkServer] {
            for (path, expected) in [(&library_path, 1), (&leaked_path, 0)] {
                let child = Process::builder().start_method(method);
                let child = child.spawn(count_open, path.clone());
                let count = deadline::within(child).await.expect("it runs");
                assert_eq!(count, expected, "{path:?} {method:?}");
            }
        }
    });
    drop(leaked);
}

/// Loads a shared library that contains the crate.
const HOST: &str = r#"
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
int main(int count, char **arguments) {
    int file = open("/dev/null", O_RDONLY);
    if (!dlopen(arguments[1], RTLD_NOW)) {
        fprintf(stderr, "%s\n", dlerror());
        return 2;
    }
    return fcntl(file, F_GETFD) < 0;
}
"#;

fn loaded_by_a_foreign_program() {
    let own = std::env::current_exe().expect("it is there");
    let target = own.parent().and_then(Path::parent).expect("it has one");
    let plugin = target.join("examples/libplugin.so");
    if !plugin.exists() {
        return eprintln!("skipped: the example `plugin` was not built");
    }
    let Some(host) = compiled("host", HOST, &["-ldl"]) else {
        return;
    };
    for value in ["init0", "constructor0", "x"] {
        let (socket, _other) = seqpacket();
        let status = Command::new(&host)
            .arg(&plugin)
            .env(VARIABLE, value)
            .stdin(Stdio::from(socket))
            .status();
        let status = status.expect("it is executed");
        assert!(status.success(), "{value}: {status}");
    }
    let _ = std::fs::remove_file(host);
}

fn seqpacket() -> (OwnedFd, OwnedFd) {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    let (domain, flags) = (AddressFamily::UNIX, SocketFlags::CLOEXEC);
    socketpair(domain, SocketType::SEQPACKET, flags, None).expect("there are descriptors")
}

/// The variable is set for a set-user-ID program by a user who has not its rights.
fn started_by_another_user() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: this test needs root");
    }
    let program = std::env::temp_dir().join(format!("no-child-{}", std::process::id()));
    std::fs::copy("/proc/self/exe", &program).expect("it can be copied");
    let mode = std::fs::Permissions::from_mode(0o4755);
    std::fs::set_permissions(&program, mode).expect("it is our own");
    let (socket, _other) = seqpacket();
    let output = Command::new(&program)
        .env(ROLE, "set_user_id")
        .env(VARIABLE, "init0")
        .env_remove("PROCESSION_TEST_RECORD")
        .current_dir("/")
        .stdin(Stdio::from(socket))
        .gid(NOBODY)
        .uid(NOBODY)
        .output();
    let output = output.expect("it is executed");
    let _ = std::fs::remove_file(program);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(output.stdout, b"main\n", "{stderr}");
}

fn set_user_id() {
    procession::init();
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: no program is set-user-ID in the directory of temporary files");
    } else {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime can be built");
        let user = || rustix::process::geteuid().as_raw();
        for method in [StartMethod::Exec, StartMethod::ForkServer] {
            let child = async {
                Process::builder()
                    .start_method(method)
                    .spawn(user, ())
                    .await
            };
            let outcome = runtime.block_on(deadline::within(child));
            assert_eq!(outcome.expect("it runs"), 0);
        }
    }
    let mut stdout = std::io::stdout();
    stdout.write_all(b"main\n").expect("stdout is open");
}
