//! Doorbells and sockets that a worker fills, rings and floods.

use std::fs;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};

use crate::deadline::within;
use crate::memory::{Random, be_quiet};
use crate::{double, working_pool};

/// Duplicates of this process's descriptors whose link begins with `kind`.
pub(crate) fn own(kind: &str) -> Vec<OwnedFd> {
    let all = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let of_kind = all.filter(|entry| {
        fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with(kind))
    });
    of_kind
        .filter_map(|entry| entry.file_name().to_string_lossy().parse().ok())
        .filter_map(duplicate)
        .collect()
}

fn duplicate(number: i32) -> Option<OwnedFd> {
    let pidfd = rustix::process::pidfd_open(
        rustix::process::getpid(),
        rustix::process::PidfdFlags::empty(),
    );
    let opened = rustix::process::pidfd_getfd(
        pidfd.ok()?,
        number,
        rustix::process::PidfdGetfdFlags::empty(),
    );
    opened.ok()
}

/// Fills every doorbell that this worker has, so that no ring of it is heard any more.
fn fill_doorbells() -> usize {
    let doorbells = own("anon_inode:[eventfd]");
    for doorbell in &doorbells {
        let _ = rustix::io::write(doorbell, &(u64::MAX - 1).to_ne_bytes());
        let _ = rustix::io::write(doorbell, &1_u64.to_ne_bytes());
    }
    doorbells.len()
}

/// Fills its doorbells again and again, and does not return before it is killed.
fn fill_doorbells_for_ever() {
    be_quiet();
    loop {
        assert!(fill_doorbells() > 0);
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[procession::test]
async fn full_doorbell_silences_no_other_worker() {
    let pool = working_pool(2).await;
    let attacker = pool.spawn(fill_doorbells_for_ever, ());
    let end = Instant::now() + Duration::from_millis(500);
    let mut calls = 0;
    while Instant::now() < end {
        assert_eq!(within(pool.run(double, calls)).await.unwrap(), 2 * calls);
        calls += 1;
    }
    attacker.abort();
    assert!(within(attacker).await.unwrap_err().is_cancelled());
}

/// Rings every doorbell that this worker has.
pub(crate) fn ring_doorbells() {
    for doorbell in own("anon_inode:[eventfd]") {
        let _ = rustix::io::write(doorbell, &1_u64.to_ne_bytes());
    }
}

/// Rings its doorbells without end.
fn ring_for_ever() {
    be_quiet();
    let doorbells = own("anon_inode:[eventfd]");
    loop {
        for doorbell in &doorbells {
            let _ = rustix::io::write(doorbell, &1_u64.to_ne_bytes());
        }
    }
}

#[procession::test]
async fn worker_that_rings_without_end_is_killed() {
    let pool = working_pool(2).await;
    let error = within(pool.run(ring_for_ever, ())).await.unwrap_err();
    assert!(error.is_crashed(), "{error}");
    assert!(error.to_string().contains("rings its doorbell"), "{error}");
    assert_eq!(within(pool.run(double, 1)).await.unwrap(), 2);
}

/// Sends descriptors and bytes that are no messages through every socket it has.
fn flood_sockets() {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    be_quiet();
    let sockets = own("socket:");
    assert!(!sockets.is_empty());
    let sent = memfd_create(SENT, MemfdFlags::CLOEXEC).unwrap();
    let fds: [BorrowedFd<'_>; 8] = [sent.as_fd(); 8];
    loop {
        for socket in &sockets {
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
            let bytes = [std::io::IoSlice::new(&[3, 2, 1, 0, 0, 0, 0, 0])];
            let _ = sendmsg(socket, &bytes, &mut ancillary, SendFlags::DONTWAIT);
        }
    }
}

/// Sends `count` messages of random length, some with all kinds of descriptors of this process, through its sockets.
pub(crate) fn flood(count: u64, random: &mut Random) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let sockets = own("socket:");
    let kinds = ["socket:", "/memfd:", "anon_inode:"].map(own);
    let all: Vec<_> = kinds.into_iter().flatten().collect();
    for _ in 0..count {
        let [socket, first, second] =
            [&sockets, &all, &all].map(|of| of.get(random.below(of.len() as u64 + 1) as usize));
        let Some(socket) = socket else { continue };
        let fds: Vec<_> = [first, second]
            .into_iter()
            .flatten()
            .map(|fd| fd.as_fd())
            .collect();
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
        }
        let words = [random.below(20), random.next()]
            .map(u64::to_ne_bytes)
            .concat();
        let len = [0, 1, 8, 9, 16][random.below(5) as usize];
        let bytes = [std::io::IoSlice::new(&words[..len])];
        let _ = sendmsg(socket, &bytes, &mut ancillary, SendFlags::DONTWAIT);
    }
}

/// Closes random descriptors of this process.
#[allow(unsafe_code, reason = "no safe function closes foreign descriptors")]
pub(crate) fn close_some(count: u64, random: &mut Random) {
    for _ in 0..count {
        let first = 3 + random.below(30) as u32;
        // SAFETY: what becomes of this process is the test's subject. It touches no memory.
        unsafe { libc::syscall(libc::SYS_close_range, first, first, 0_u32) };
    }
}

/// The name of the memory whose descriptors are sent, which no other test has.
const SENT: &str = "sent-by-a-corrupted-worker";

#[procession::test]
async fn flooded_socket_costs_the_application_no_descriptors() {
    let pool = working_pool(2).await;
    let attacker = pool.spawn(flood_sockets, ());
    let end = Instant::now() + Duration::from_millis(500);
    let mut calls = 0;
    while Instant::now() < end {
        // Long results have the parent look at the socket.
        let long = within(pool.run(|n: usize| vec![n; 100_000], 7))
            .await
            .unwrap();
        assert_eq!(long.len(), 100_000);
        calls += 1;
        let arrived = own(&format!("/memfd:{SENT}"));
        assert!(arrived.is_empty(), "{arrived:?} after {calls} calls");
    }
    attacker.abort();
    assert!(within(attacker).await.is_err());
}
