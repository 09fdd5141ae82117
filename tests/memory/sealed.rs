//! A sealed buffer refuses every way of writing, to every process.
#![allow(
    unsafe_code,
    reason = "the ways of writing below Rust have no other interface"
)]

use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;

use procession::memory::{SharedBuf, SharedBufMut};
use procession::{Sender, queue, spawn};
use rustix::fs::FallocateFlags;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

use crate::deadline::within;
use crate::notes::{Board, Notes};
use crate::{is_patterned, patterned};

const LEN: usize = 3 << 20;

/// The descriptor numbers of the process's shared memory.
fn numbers(pid: u32) -> Vec<i32> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let memory = entries.flatten().filter(|entry| {
        std::fs::read_link(entry.path())
            .is_ok_and(|to| to.to_string_lossy().contains("memfd:procession-memory"))
    });
    let numbers = memory.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.collect()
}

/// The addresses of the process's shared memory.
fn addresses(pid: u32) -> Vec<u64> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = maps
        .lines()
        .filter(|line| line.contains("memfd:procession-memory"));
    let starts = memory.map(|line| line.split('-').next().unwrap().to_owned());
    starts
        .map(|it| u64::from_str_radix(&it, 16).unwrap())
        .collect()
}

/// Tries all ways to write through a descriptor of the memory. Returns the ways that were not refused.
fn write_through(memory: &OwnedFd) -> Vec<&'static str> {
    let mut ways = Vec::new();
    let mut note = |way, is_refused: bool| {
        if !is_refused {
            ways.push(way);
        }
    };
    note("write", rustix::io::write(memory, b"x").is_err());
    note("pwrite", rustix::io::pwrite(memory, b"x", 0).is_err());
    note("shrink", rustix::fs::ftruncate(memory, 0).is_err());
    note("grow", rustix::fs::ftruncate(memory, 1 << 30).is_err());
    for flags in [
        FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        FallocateFlags::ZERO_RANGE,
    ] {
        note(
            "fallocate",
            rustix::fs::fallocate(memory, flags, 0, 4096).is_err(),
        );
    }
    let other = rustix::fs::memfd_create("source", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::io::write(&other, &[9; 4096]).unwrap();
    rustix::fs::seek(&other, rustix::fs::SeekFrom::Start(0)).unwrap();
    note(
        "sendfile",
        rustix::fs::sendfile(memory, &other, None, 4096).is_err(),
    );
    let null = std::ptr::null_mut();
    let mapped = |protection, flags| {
        // SAFETY: a fresh range that is never used.
        unsafe { rustix::mm::mmap(null, 4096, protection, flags, memory, 0) }
    };
    let read_write = ProtFlags::READ | ProtFlags::WRITE;
    note("mmap", mapped(read_write, MapFlags::SHARED).is_err());
    let read_only = mapped(ProtFlags::READ, MapFlags::SHARED).unwrap();
    let writable = MprotectFlags::READ | MprotectFlags::WRITE;
    // SAFETY: the range was just mapped, and is never used.
    let protected = unsafe { rustix::mm::mprotect(read_only, 4096, writable) };
    note("mprotect", protected.is_err());
    let removed = rustix::mm::Advice::LinuxRemove;
    // SAFETY: as above.
    note(
        "remove",
        unsafe { rustix::mm::madvise(read_only, 4096, removed) }.is_err(),
    );
    ways
}

fn write_through_all(pid: u32) -> Vec<&'static str> {
    let mut ways = Vec::new();
    let numbers = numbers(pid);
    assert!(!numbers.is_empty());
    for number in numbers {
        let path = format!("/proc/{pid}/fd/{number}");
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        ways.extend(write_through(&opened.into()));
        if OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&path)
            .is_ok()
        {
            ways.push("open with O_TRUNC");
        }
    }
    let memory = OpenOptions::new()
        .write(true)
        .open(format!("/proc/{pid}/mem"))
        .unwrap();
    let addresses = addresses(pid);
    assert!(!addresses.is_empty());
    for address in addresses {
        if memory.write_at(b"x", address).is_ok() {
            ways.push("/proc/PID/mem");
        }
        if write_to_process(pid, address) {
            ways.push("process_vm_writev");
        }
    }
    ways
}

fn write_to_process(pid: u32, address: u64) -> bool {
    let mut byte = *b"x";
    let here = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    let there = libc::iovec {
        iov_base: address as *mut libc::c_void,
        iov_len: 1,
    };
    // SAFETY: reads one byte of this process; the other process's memory is what is tested.
    unsafe { libc::process_vm_writev(pid as i32, &raw const here, 1, &raw const there, 1, 0) == 1 }
}

fn hold(buf: SharedBuf, notes: Notes) -> bool {
    notes.meet("holds", "tried");
    is_patterned(&buf, 0)
}

#[procession::test]
async fn sealed_buffer_refuses_every_way_of_writing() {
    let board = Board::new();
    let buf = patterned(LEN);
    let child = spawn(hold, (buf.clone(), board.notes()));
    let pid = board.lines("holds", 1).await[0].parse().unwrap();
    let none: [&str; 0] = [];
    assert_eq!(write_through_all(pid), none);
    let parent = std::process::id();
    let ways = spawn(
        |buf: SharedBuf, parent: u32| {
            let own = write_through_all(std::process::id());
            let ways = [own, write_through_all(parent)].concat();
            (is_patterned(&buf, 0), ways.join(", "))
        },
        (buf.clone(), parent),
    );
    assert_eq!(within(ways).await.unwrap(), (true, String::new()));
    board.write("tried", 1);
    assert!(within(child).await.unwrap());
    assert!(is_patterned(&buf, 0));
}

/// A sender that keeps the memory mapped for writing does not write what was frozen after it.
#[procession::test]
async fn frozen_buffer_is_not_written_by_a_sender_that_has_kept_it() {
    let board = Board::new();
    let (tx, rx) = queue::<SharedBufMut>(1).unwrap();
    let sender = spawn(
        |tx: Sender<SharedBufMut>, notes: Notes| {
            let buf = SharedBufMut::zeroed(LEN).unwrap();
            let number = numbers(std::process::id())[0];
            // SAFETY: the buffer is dropped later.
            let memory = unsafe { BorrowedFd::borrow_raw(number) };
            let protection = ProtFlags::READ | ProtFlags::WRITE;
            let null = std::ptr::null_mut();
            // SAFETY: a fresh range.
            let kept =
                unsafe { rustix::mm::mmap(null, LEN, protection, MapFlags::SHARED, memory, 0) };
            tx.blocking_send(buf).unwrap();
            notes.meet("sent", "frozen");
            let own = File::options().write(true).open("/proc/self/mem").unwrap();
            own.write_all_at(&[9; 4096], kept.unwrap() as u64).unwrap();
            assert!(own.as_raw_fd() >= 0);
        },
        (tx, board.notes()),
    );
    let buf = within(rx.recv()).await.unwrap().freeze().unwrap();
    board.write("frozen", 1);
    within(sender).await.unwrap();
    assert!(buf.len() == LEN && buf.iter().all(|byte| *byte == 0));
}
