//! A limit on processes and threads (`RLIMIT_NPROC`): a process that cannot be started is an error, for that process
//! alone.

#![allow(unsafe_code, reason = "the C library changes the user in all threads")]

use procession::{ErrorKind, StartMethod};
use rustix::process::{Resource, Rlimit};

use crate::deadline::within;
use crate::{METHODS, by};

/// Starts a process as a user with no other processes and room for so many processes and threads beside this one. Says
/// whether it ran.
fn start_in(room: u64, executes: bool) -> bool {
    let user = 100_000 + std::process::id();
    // SAFETY: takes integers.
    let changed = unsafe { libc::setresuid(user, user, user) };
    assert_eq!(changed, 0);
    let limit = Rlimit {
        current: Some(1 + room),
        maximum: Some(1 + room),
    };
    rustix::process::setrlimit(Resource::Nproc, limit).unwrap();
    let method = match executes {
        true => StartMethod::Exec,
        false => StartMethod::ForkServer,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let start = async { within(by(method).spawn(|| (), ())).await };
    match runtime.unwrap().block_on(start) {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Spawn, "{error}");
            false
        }
    }
}

#[procession::test]
async fn start_without_room_is_an_error() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: this test needs root");
    }
    for (executes, method) in [(false, METHODS[0]), (true, METHODS[1])] {
        let mut ran = Vec::new();
        for room in 0..9 {
            let application = by(StartMethod::Exec).spawn(start_in, (room, executes));
            ran.push(within(application).await.unwrap());
        }
        assert!(!ran[0] && ran[8], "{method:?}: {ran:?}");
    }
}
