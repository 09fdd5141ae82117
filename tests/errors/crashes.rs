//! What a process that crashes leaves about it.

#![allow(unsafe_code, reason = "crashes are invalid memory accesses")]

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::ptr;
use std::sync::Barrier;

use procession::{CrashReport, JoinError, Managed, Output, Pool};

use crate::deadline::within;
use crate::failure;
use crate::leftovers::alone;

/// No memory is mapped in the first page. Not address zero: debug builds turn an access there into a panic.
const NOWHERE: usize = 16;

#[inline(never)]
fn write_nowhere(byte: u8) {
    let nowhere = ptr::without_provenance_mut::<u8>(NOWHERE);
    // SAFETY: none; the crash is the purpose.
    unsafe { nowhere.write_volatile(byte) };
}

fn raise(signal: i32) {
    // SAFETY: takes and returns integers.
    unsafe { libc::raise(signal) };
}

#[allow(unconditional_recursion, reason = "the test needs a stack overflow")]
fn recurse(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    recurse(depth + 1) + std::hint::black_box(frame)[1]
}

fn report(error: &JoinError) -> &CrashReport {
    assert!(error.is_crashed(), "{error:?}");
    error.crash().expect("a crash has a report")
}

fn backtrace(error: &JoinError) -> &str {
    report(error).backtrace().expect("a backtrace")
}

#[procession::test]
async fn crash_has_the_address_and_the_calls() {
    let pool = Pool::with_workers(1).unwrap();
    let in_pool = within(pool.run(write_nowhere, 1)).await.unwrap_err();
    let (single, _) = failure(write_nowhere, 1).await;
    for error in [in_pool, single] {
        assert_eq!(error.signal(), Some(libc::SIGSEGV));
        assert_eq!(report(&error).address(), Some(NOWHERE as u64));
        assert!(!report(&error).is_stack_overflow());
        assert_eq!(report(&error).stderr(), "");
        let calls: Vec<_> = backtrace(&error).lines().collect();
        let own = calls.iter().find(|it| it.contains("write_nowhere"));
        let own = own.unwrap_or_else(|| panic!("{calls:#?}"));
        assert!(own.contains(" at ") && own.contains("crashes.rs:"), "{own}");
        let message = error.to_string();
        assert!(
            message.contains("SIGSEGV (signal 11) at address 0x10"),
            "{message}"
        );
    }
}

#[procession::test]
async fn crash_by_each_signal_has_a_report() {
    alone("crashes::crash_by_each_signal_has_a_report", async {
        let pool = Pool::with_workers(1).unwrap();
        for signal in [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGILL,
            libc::SIGFPE,
            libc::SIGABRT,
            libc::SIGSYS,
        ] {
            let in_pool = within(pool.run(raise, signal)).await.unwrap_err();
            let (single, _) = failure(raise, signal).await;
            for error in [in_pool, single] {
                assert_eq!(error.signal(), Some(signal), "{error:?}");
                assert_eq!(report(&error).address(), None);
                assert!(backtrace(&error).contains("raise"), "{}", backtrace(&error));
            }
        }
    })
    .await;
}

#[procession::test]
async fn crash_after_a_stack_overflow_says_so() {
    let pool = Pool::with_workers(1).unwrap();
    let in_pool = within(pool.run(recurse, 0)).await.unwrap_err();
    let (single, _) = failure(recurse, 0).await;
    for error in [in_pool, single] {
        assert!(report(&error).is_stack_overflow());
        let count = backtrace(&error).matches("recurse").count();
        assert!(count > 50, "{}", backtrace(&error));
        assert!(
            error.to_string().contains("because its stack was full"),
            "{error}"
        );
    }
}

#[procession::test]
async fn crash_by_a_call_through_a_bad_pointer_names_the_caller() {
    fn call_nowhere() {
        let nowhere = ptr::without_provenance::<()>(NOWHERE);
        // SAFETY: none; the crash is the purpose.
        let nowhere = unsafe { std::mem::transmute::<*const (), extern "C" fn()>(nowhere) };
        std::hint::black_box(nowhere)();
        std::hint::black_box(());
    }
    let (error, _) = failure(call_nowhere, ()).await;
    assert_eq!(report(&error).address(), Some(NOWHERE as u64));
    assert!(
        backtrace(&error).contains("call_nowhere"),
        "{}",
        backtrace(&error)
    );
}

#[procession::test]
async fn crash_in_a_thread_of_the_task_has_a_report() {
    fn crash_in_thread() {
        let _ = std::thread::spawn(|| write_nowhere(1)).join();
    }
    let (error, _) = failure(crash_in_thread, ()).await;
    assert_eq!(report(&error).address(), Some(NOWHERE as u64));
    assert!(backtrace(&error).contains("write_nowhere"));
}

#[procession::test]
async fn crash_of_two_threads_at_once_has_one_report() {
    fn crash_twice() {
        let start = Barrier::new(2);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    start.wait();
                    write_nowhere(1);
                });
            }
        });
    }
    for _ in 0..20 {
        let (error, _) = failure(crash_twice, ()).await;
        assert_eq!(error.signal(), Some(libc::SIGSEGV));
        assert_eq!(report(&error).address(), Some(NOWHERE as u64));
        assert!(
            backtrace(&error).contains("write_nowhere"),
            "{}",
            backtrace(&error)
        );
    }
}

#[procession::test]
async fn crash_of_a_state_is_told_to_its_callers() {
    let state: Managed<u32> = within(Managed::spawn(|| 1, ())).await.unwrap();
    let call = state.call(|_: &mut u32, (): ()| write_nowhere(1), ());
    let error = within(call).await.unwrap_err();
    assert_eq!(report(&error).address(), Some(NOWHERE as u64));
    let docs = Pool::builder()
        .workers(1)
        .state(|| 1_u32, ())
        .build()
        .unwrap();
    let call = docs.run(|_: &mut u32| write_nowhere(1), ());
    let error = within(call).await.unwrap_err();
    assert_eq!(report(&error).address(), Some(NOWHERE as u64));
}

#[procession::test]
async fn crash_has_the_last_lines_of_captured_stderr() {
    fn complain_and_abort(lines: u32) {
        for n in 0..lines {
            eprintln!("complaint {n}");
        }
        std::process::abort();
    }
    let pool = Pool::builder().workers(1).output(Output::Captured);
    let pool = pool.build().unwrap();
    for lines in [1, 2000] {
        let error = within(pool.run(complain_and_abort, lines))
            .await
            .unwrap_err();
        let stderr = report(&error).stderr();
        assert!(
            stderr.ends_with(&format!("complaint {}\n", lines - 1)),
            "{stderr}"
        );
        assert!(stderr.len() <= 4096);
        assert_eq!(stderr.len() == 4096, lines == 2000);
    }
}

#[procession::test]
async fn killed_process_has_no_crash_report() {
    let (error, _) = failure(raise, libc::SIGKILL).await;
    assert!(error.is_crashed() && error.crash().is_none(), "{error:?}");
    let (error, _) = failure(|| -> u32 { std::process::exit(3) }, ()).await;
    assert!(error.crash().is_none(), "{error:?}");
    let (error, _) = failure(|| -> u32 { panic!("no crash") }, ()).await;
    assert!(error.crash().is_none(), "{error:?}");
}

#[procession::test]
async fn handler_of_a_task_stays_in_force() {
    extern "C" fn exit(_: i32) {
        // SAFETY: ends the process.
        unsafe { libc::_exit(7) };
    }
    fn handle_itself(signal: i32) {
        let handler = exit as extern "C" fn(i32) as libc::sighandler_t;
        // SAFETY: the handler only ends the process.
        unsafe { libc::signal(signal, handler) };
        match signal {
            libc::SIGSEGV => write_nowhere(1),
            _ => std::process::abort(),
        }
    }
    for signal in [libc::SIGSEGV, libc::SIGABRT] {
        let (error, _) = failure(handle_itself, signal).await;
        assert_eq!(error.exit_code(), Some(7), "{error:?}");
        assert!(error.crash().is_none());
    }
}

#[procession::test]
async fn copy_of_a_task_leaves_no_report_of_the_task() {
    fn fork_and_crash() {
        // SAFETY: the copy only crashes.
        match unsafe { libc::fork() } {
            0 => write_nowhere(1),
            // SAFETY: takes integers and a null pointer.
            copy => drop(unsafe { libc::waitpid(copy, ptr::null_mut(), 0) }),
        }
        raise(libc::SIGFPE);
    }
    let (error, _) = failure(fork_and_crash, ()).await;
    assert_eq!(error.signal(), Some(libc::SIGFPE));
    assert_eq!(report(&error).address(), None);
}

/// Overwrites all shared memory beside the words of the rings, and crashes without the handler.
fn scribble(byte: u8) {
    let memory = OpenOptions::new()
        .write(true)
        .open("/proc/self/mem")
        .unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    // SAFETY: `SIG_DFL` is no handler.
    unsafe { libc::signal(libc::SIGABRT, libc::SIG_DFL) };
    for line in maps.lines().filter(|it| it.contains("memfd:procession-")) {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let address = |text| u64::from_str_radix(text, 16).unwrap();
        let bytes: Vec<u8> = (address(from)..address(to)).map(|_| byte).collect();
        let _ = memory.write_all_at(&bytes[1024..], address(from) + 1024);
    }
    std::process::abort();
}

#[procession::test]
async fn report_that_was_overwritten_is_bounded() {
    let pool = Pool::with_workers(1).unwrap();
    for byte in [0, 1, 0x40, 0x7f, 0xff] {
        let in_pool = within(pool.run(scribble, byte)).await.unwrap_err();
        let (single, _) = failure(scribble, byte).await;
        for error in [in_pool, single] {
            assert!(error.is_crashed(), "{error:?}");
            let Some(report) = error.crash() else {
                continue; // it was killed before
            };
            assert!(report.to_string().len() < 100_000);
            assert!(!error.to_string().contains('\n'));
        }
    }
}
