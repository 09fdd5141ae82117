//! Tasks that fork (`fork(2)`): only the worker answers, whatever its copy does.
#![allow(unsafe_code, reason = "`fork` has no other interface")]

use procession::Pool;

use crate::add;
use crate::deadline::within;
use crate::leftovers::alone;
use crate::tasks::pid;

/// Forks, and comes back in both processes.
fn comes_back_twice() -> u32 {
    let worker = pid();
    // SAFETY: the copy has one thread, and ends soon.
    assert!(unsafe { libc::fork() } >= 0);
    worker
}

/// Forks, and the copy panics.
fn copy_panics() -> u32 {
    // SAFETY: as above.
    match unsafe { libc::fork() } {
        0 => panic!("in the copy"),
        copy => {
            // SAFETY: takes integers and a null pointer.
            unsafe { libc::waitpid(copy, std::ptr::null_mut(), 0) };
            pid()
        }
    }
}

#[procession::test]
async fn copy_that_comes_back_from_its_task_takes_no_other() {
    alone(
        "forking_task::copy_that_comes_back_from_its_task_takes_no_other",
        async {
            let pool = Pool::with_workers(1).unwrap();
            let worker = within(pool.run(pid, ())).await.unwrap();
            for round in 0..30 {
                assert_eq!(
                    within(pool.run(comes_back_twice, ())).await.unwrap(),
                    worker
                );
                for n in 0..20 {
                    let sum = within(pool.run(add, (n, round))).await.unwrap();
                    assert_eq!(sum, n + round);
                }
            }
            assert_eq!(within(pool.run(pid, ())).await.unwrap(), worker);
            assert_eq!(within(pool.run(copy_panics, ())).await.unwrap(), worker);
            assert_eq!(within(pool.run(pid, ())).await.unwrap(), worker);
            assert_eq!(pool.metrics().failed(), 0);
            within(pool.shutdown()).await;
        },
    )
    .await;
}

/// A single-task process answers once too.
#[procession::test]
async fn copy_that_comes_back_from_a_single_task_gives_no_result() {
    let handle = procession::spawn(comes_back_twice, ());
    let first = within(handle).await.unwrap();
    assert_ne!(first, pid());
}
