//! What a child may do: as much as the application that starts it, in a directory that need not be its own.
//!
//! Each test is an application of its own, a process that gives rights up. Tests that need `root` do nothing for other
//! users.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue has failed")]
#![allow(unsafe_code, reason = "the C library changes the user in all threads")]

mod deadline;

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use deadline::within;
use procession::{Pool, Process, StartMethod};

const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: this test needs root");
    }
    root
}

/// A new directory.
fn directory(name: &[u8]) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let unique = format!("rights-{}-{number}", std::process::id());
    let parent = std::env::temp_dir().join(unique);
    let path = parent.join(std::ffi::OsStr::from_bytes(name));
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn become_nobody() {
    // SAFETY: no groups are read.
    let without_groups = unsafe { libc::setgroups(0, std::ptr::null()) };
    // SAFETY: takes integers.
    let group = unsafe { libc::setresgid(NOBODY, NOBODY, NOBODY) };
    // SAFETY: likewise.
    let user = unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) };
    assert_eq!((without_groups, group, user), (0, 0, 0));
}

fn user() -> u32 {
    rustix::process::getuid().as_raw()
}

fn working_directory() -> Vec<u8> {
    std::env::current_dir()
        .unwrap()
        .into_os_string()
        .into_encoded_bytes()
}

/// Starts children in every way, also some in quick succession, and asserts that each is of user `expected`.
async fn assert_children_start(expected: u32) {
    for method in [StartMethod::ForkServer, StartMethod::Exec] {
        let child = Process::builder().start_method(method).spawn(user, ());
        assert_eq!(within(child).await.unwrap(), expected, "{method:?}");
        let away = Process::builder().start_method(method).current_dir("/");
        let away = away.spawn(working_directory, ());
        assert_eq!(within(away).await.unwrap(), b"/", "{method:?}");
    }
    let pool = Pool::with_workers(2).unwrap();
    assert_eq!(within(pool.run(user, ())).await.unwrap(), expected);
    for _ in 0..8 {
        let child = procession::spawn(user, ());
        assert_eq!(within(child).await.unwrap(), expected);
    }
}

#[procession::test]
async fn directory_that_may_not_be_entered_is_inherited() {
    if !is_root() {
        return;
    }
    let place = directory(b"closed");
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o700)).unwrap();
    let application = async || {
        become_nobody();
        assert!(std::fs::metadata("./x").is_err());
        assert_children_start(NOBODY).await;
    };
    let application = Process::builder()
        .current_dir(&place)
        .spawn(application, ());
    within(application).await.unwrap();
    std::fs::remove_dir(&place).unwrap();
}

/// The fork server is elsewhere, and may not enter the directory either.
#[procession::test]
async fn directory_that_was_closed_later_is_inherited() {
    if !is_root() {
        return;
    }
    let place = directory(b"closed-later");
    rustix::fs::chown(&place, Some(rustix::process::Uid::from_raw(NOBODY)), None).unwrap();
    let application = async |place: PathBuf| {
        become_nobody();
        within(procession::spawn(user, ())).await.unwrap();
        std::env::set_current_dir(&place).unwrap();
        std::fs::set_permissions(".", std::fs::Permissions::from_mode(0o0)).unwrap();
        assert_children_start(NOBODY).await;
        let child = within(procession::spawn(working_directory, ()));
        assert_eq!(child.await.unwrap(), place.as_os_str().as_bytes());
    };
    let application = Process::builder()
        .current_dir("/")
        .spawn(application, place.clone());
    within(application).await.unwrap();
    std::fs::remove_dir(&place).unwrap();
}

#[procession::test]
async fn directory_that_is_not_text() {
    let place = directory(b"\xff\xfe").canonicalize().unwrap();
    for method in [StartMethod::ForkServer, StartMethod::Exec] {
        let child = Process::builder().start_method(method).current_dir(&place);
        let seen = within(child.spawn(working_directory, ())).await.unwrap();
        assert_eq!(seen, place.as_os_str().as_bytes(), "{method:?}");
    }
    std::fs::remove_dir(&place).unwrap();
}

#[procession::test]
async fn cleared_environment_leaves_nothing_in_proc() {
    let child = Process::builder().start_method(StartMethod::ForkServer);
    let child = child.env_clear().env("KEPT", "1");
    let environment = || std::fs::read("/proc/self/environ").unwrap();
    let seen = within(child.spawn(environment, ())).await.unwrap();
    let names = seen.split(|byte| *byte == 0).filter_map(|variable| {
        let name = variable.split(|byte| *byte == b'=').next()?;
        (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
    });
    let mut names: Vec<_> = names.collect();
    names.retain(|name| name != "PROCESSION_CHILD");
    assert_eq!(names, ["KEPT"]);
}

#[procession::test]
async fn user_that_was_changed_is_the_childs() {
    if !is_root() {
        return;
    }
    let application = async || {
        // It lives on, and with it what all children share.
        let helper = procession::spawn(std::future::pending::<()>, ());
        assert_eq!(within(procession::spawn(user, ())).await.unwrap(), 0);
        become_nobody();
        assert_children_start(NOBODY).await;
        drop(helper);
    };
    let application = Process::builder().current_dir("/").spawn(application, ());
    within(application).await.unwrap();
}

/// From here on `getpgid` is refused, in all threads (`seccomp(2)`).
fn refuse_getpgid() {
    let step = |code: u32, jf, k| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf,
        k,
    };
    let refusal = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    let mut program = [
        // The number of the call is the first word.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        step(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            1,
            libc::SYS_getpgid as u32,
        ),
        step(libc::BPF_RET | libc::BPF_K, 0, refusal),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    let (mode, flag) = (
        libc::SECCOMP_SET_MODE_FILTER,
        libc::SECCOMP_FILTER_FLAG_TSYNC,
    );
    // SAFETY: the program lives until the call returns, and its length is given.
    let filtered = unsafe { libc::syscall(libc::SYS_seccomp, mode, flag, &raw const filter) };
    assert_eq!(filtered, 0);
}

fn may_ask() -> bool {
    rustix::process::getpgid(None).is_ok()
}

/// Twice: a second filter is seen only by the number of filters.
#[procession::test]
async fn filter_of_the_application_is_the_childs() {
    let application = async || {
        rustix::thread::set_no_new_privs(true).unwrap();
        for _ in 0..2 {
            within(procession::spawn(may_ask, ())).await.unwrap();
            let server = fork_servers();
            refuse_getpgid();
            assert!(!within(procession::spawn(may_ask, ())).await.unwrap());
            let pool = Pool::with_workers(1).unwrap();
            assert!(!within(pool.run(may_ask, ())).await.unwrap());
            let forks = StartMethod::default() == StartMethod::ForkServer;
            assert_eq!(fork_servers() != server, forks);
        }
    };
    within(procession::spawn(application, ())).await.unwrap();
}

/// The pids of this process's fork servers.
fn fork_servers() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let children = tasks
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("children")).ok());
    let children = children.collect::<Vec<_>>().join(" ");
    let mut servers: Vec<_> = children.split_whitespace().map(str::to_owned).collect();
    servers.retain(|pid| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name.trim() == "procession-fork")
    });
    servers.sort();
    servers
}

/// Without `/proc` there, no child starts, and the error says that.
#[procession::test]
async fn root_that_was_changed_is_the_childs() {
    if !is_root() {
        return;
    }
    let root = directory(b"root");
    std::fs::write(root.join("marker"), "").unwrap();
    let application = async |root: PathBuf| {
        let sees = || Path::new("/marker").exists();
        assert!(!within(procession::spawn(sees, ())).await.unwrap());
        std::os::unix::fs::chroot(&root).unwrap();
        std::env::set_current_dir("/").unwrap();
        for method in [StartMethod::ForkServer, StartMethod::Exec] {
            let child = Process::builder().start_method(method).spawn(sees, ());
            let error = within(child).await.unwrap_err().to_string();
            assert!(
                error.contains("`/proc` is not mounted"),
                "{method:?}: {error}"
            );
        }
    };
    within(procession::spawn(application, root.clone()))
        .await
        .unwrap();
    std::fs::remove_dir_all(&root).unwrap();
}
