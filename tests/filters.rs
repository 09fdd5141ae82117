//! A filter of system calls under which no process can be forked: processes and workers are executed, and a preload
//! runs in each worker.
//!
//! Each test is an application of its own, a process that filters its system calls.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue has failed")]
#![allow(
    unsafe_code,
    reason = "a filter of system calls has no other interface"
)]

mod deadline;

use std::sync::OnceLock;

use deadline::within;
use procession::{Pool, Process, StartMethod};

/// What a filter does to a call.
const REFUSED: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const KILLED: u32 = libc::SECCOMP_RET_KILL_PROCESS;

/// Collapses memory into large pages (`madvise(2)`). The preparation of a fork server calls it.
const MADV_COLLAPSE: u32 = 25;

fn step(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

/// From here on `clone3` does not exist, a `clone` as a sibling is `clone`, and `collapse` is what happens to a process
/// that collapses memory (`seccomp(2)`).
fn filter(clone: u32, collapse: u32) {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const SET: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    let absent = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    // The number of the call is at 0, its arguments are at 16 and every 8 bytes behind that.
    let mut program = [
        step(LOAD, 0, 0, 0),
        step(EQUAL, 0, 1, libc::SYS_clone3 as u32),
        step(RETURN, 0, 0, absent),
        step(EQUAL, 0, 3, libc::SYS_clone as u32),
        step(LOAD, 0, 0, 16),
        step(SET, 0, 4, libc::CLONE_PARENT as u32),
        step(RETURN, 0, 0, clone),
        step(EQUAL, 0, 2, libc::SYS_madvise as u32),
        step(LOAD, 0, 0, 32),
        step(EQUAL, 1, 0, MADV_COLLAPSE),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        step(RETURN, 0, 0, collapse),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    rustix::thread::set_no_new_privs(true).unwrap();
    let (mode, flag) = (
        libc::SECCOMP_SET_MODE_FILTER,
        libc::SECCOMP_FILTER_FLAG_TSYNC,
    );
    // SAFETY: the program lives until the call returns, and its length is given.
    let filtered = unsafe { libc::syscall(libc::SYS_seccomp, mode, flag, &raw const filter) };
    assert_eq!(filtered, 0);
}

/// The process that ran the preload, and enough memory to be collapsed.
static LOADED: OnceLock<(u32, Vec<u8>)> = OnceLock::new();

fn load() {
    LOADED.get_or_init(|| (std::process::id(), vec![1; 16 << 20]));
}

/// Whether this process ran the preload itself.
fn is_own(_: u32) -> bool {
    LOADED.get().unwrap().0 == std::process::id()
}

async fn application(clone: u32, collapse: u32) {
    filter(clone, collapse);
    for n in 0..3 {
        let child = Process::builder().start_method(StartMethod::ForkServer);
        assert_eq!(within(child.spawn(|n: u32| n + 1, n)).await.unwrap(), n + 1);
    }
    let pool = Pool::builder()
        .start_method(StartMethod::ForkServer)
        .workers(2)
        .preload(load, ())
        .initializer(|| assert!(LOADED.get().is_some()), ())
        .build()
        .unwrap();
    let own = within(pool.map(is_own, 0..50)).await.unwrap();
    assert_eq!(own, [true; 50]);
    within(pool.shutdown()).await;
}

async fn run(clone: u32, collapse: u32) {
    let process = procession::spawn(application, (clone, collapse));
    within(process).await.unwrap();
}

#[procession::test]
async fn filter_that_refuses_forks() {
    run(REFUSED, libc::SECCOMP_RET_ALLOW).await;
}

#[procession::test]
async fn filter_that_kills_who_forks() {
    run(KILLED, libc::SECCOMP_RET_ALLOW).await;
}

#[procession::test]
async fn filter_that_kills_who_prepares_to_fork() {
    run(libc::SECCOMP_RET_ALLOW, KILLED).await;
}
