//! Descriptors: none is inherited, none is left, and having none left is an error that passes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(
    unsafe_code,
    reason = "standard streams are nobody's, so closing them is"
)]

mod deadline;
mod leftovers;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use bytes::Bytes;
use deadline::within;
use futures::future::join_all;
use leftovers::{Census, alone};
use procession::{ErrorKind, JoinError, Process};
use rustix::io::FdFlags;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What every descriptor of the calling process leads to, by number.
fn descriptors() -> Vec<(u32, PathBuf)> {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, std::fs::read_link(entry.path()).ok()?))
        })
        .filter(|(_, target)| *target != Path::new(&format!("/proc/{}/fd", std::process::id())))
        .collect();
    found.sort();
    found
}

/// Makes `fd` one that programs started from here inherit, as a library that forgets the flag does.
fn forget_close_on_exec(fd: impl AsFd) {
    rustix::io::fcntl_setfd(fd, FdFlags::empty()).unwrap();
}

/// A file that is open and inherited by whatever does nothing against it.
fn forgotten(name: &str) -> (PathBuf, File) {
    let name = format!("{name}-{}", std::process::id());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let file = File::create(&path).unwrap();
    forget_close_on_exec(&file);
    (path, file)
}

#[procession::test]
async fn a_child_inherits_three_and_no_more() {
    alone("a_child_inherits_three_and_no_more", async {
        let (path, _file) = forgotten("forgotten");
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        forget_close_on_exec(&socket);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        forget_close_on_exec(&listener);
        let own: HashSet<_> = descriptors()
            .into_iter()
            .map(|(_, target)| target)
            .collect();
        let there = within(procession::spawn(descriptors, ())).await.unwrap();
        let numbers: Vec<_> = there.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers[..3], [0, 1, 2]);
        let mut leashes = 0;
        for (number, target) in &there[3..] {
            // Two that lead there were not opened by the same process for that reason.
            let common =
                target == "/dev/null" || target.to_string_lossy().starts_with("anon_inode:");
            // One end of it is the child's: by the other end's end it learns of the parent's.
            let leash = target.to_string_lossy().starts_with("pipe:");
            leashes += usize::from(leash);
            assert!(
                common || leash || !own.contains(target),
                "{number} is {target:?}"
            );
        }
        assert!(leashes <= 1, "{there:?}");
        std::fs::remove_file(path).unwrap();
    })
    .await;
}

/// What the library itself needs in a child is little, and always the same.
#[procession::test]
async fn a_child_has_the_same_few_descriptors_whatever_the_parent_has() {
    alone(
        "a_child_has_the_same_few_descriptors_whatever_the_parent_has",
        async {
            let count = || descriptors().len();
            let before = within(procession::spawn(count, ())).await.unwrap();
            let (path, file) = forgotten("many");
            let copies: Vec<_> = (0..300).map(|_| file.try_clone().unwrap()).collect();
            copies.iter().for_each(forget_close_on_exec);
            let after = within(procession::spawn(count, ())).await.unwrap();
            assert_eq!(before, after);
            assert!(before <= 6, "{before} descriptors for one function");
            std::fs::remove_file(path).unwrap();
        },
    )
    .await;
}

/// The reader of a pipe sees its end while a child that could have inherited the writer runs.
#[procession::test]
async fn a_pipe_of_the_parents_ends_while_a_child_runs() {
    alone("a_pipe_of_the_parents_ends_while_a_child_runs", async {
        let (mut reader, writer) = io::pipe().unwrap();
        forget_close_on_exec(&writer);
        let mut child = Process::builder()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn(
                || {
                    io::stdout().write_all(b"!").unwrap();
                    io::stdout().flush().unwrap();
                    io::read_to_string(io::stdin()).unwrap()
                },
                (),
            );
        let stdin = child.take_stdin();
        within(child.take_stdout().unwrap().read_u8())
            .await
            .unwrap();
        drop(writer);
        let end = tokio::task::spawn_blocking(move || reader.read(&mut [0; 1]).unwrap());
        assert_eq!(within(end).await.unwrap(), 0);
        drop(stdin);
        within(child).await.unwrap();
    })
    .await;
}

/// A program that a child starts gets nothing of the library's.
#[procession::test]
async fn a_program_started_by_a_child_inherits_three_and_no_more() {
    alone(
        "a_program_started_by_a_child_inherits_three_and_no_more",
        async {
            fn listed() -> String {
                let list = std::process::Command::new("ls")
                    .arg("/proc/self/fd")
                    .output();
                String::from_utf8(list.unwrap().stdout).unwrap()
            }
            for (stdin, stdout) in [
                (None, None),
                (Some(Stdio::null()), None),
                (Some(Stdio::null()), Some(Stdio::null())),
            ] {
                let mut builder = Process::builder().stderr(Stdio::null());
                if let Some(stdin) = stdin {
                    builder = builder.stdin(stdin);
                }
                if let Some(stdout) = stdout {
                    builder = builder.stdout(stdout);
                }
                let list = within(builder.spawn(listed, ())).await.unwrap();
                // The fourth is the directory that `ls` reads.
                let numbers: Vec<_> = list.split_whitespace().collect();
                assert_eq!(numbers, ["0", "1", "2", "3"]);
            }
        },
    )
    .await;
}

/// Two children started at once do not get each other's.
#[procession::test(flavor = "multi_thread", worker_threads = 4)]
async fn children_started_at_once_keep_apart() {
    alone("children_started_at_once_keep_apart", async {
        let count = || descriptors().len();
        let expected = within(procession::spawn(count, ())).await.unwrap();
        for _ in 0..10 {
            let builders = (0..8).map(|_| {
                Process::builder()
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn(count, ())
            });
            for found in within(join_all(builders)).await {
                assert_eq!(found.unwrap(), expected);
            }
        }
    })
    .await;
}

/// A program may close its own standard streams, as daemons do. What the library opens then must not
/// become the standard streams of a child.
#[procession::test]
async fn a_parent_without_standard_streams() {
    alone("a_parent_without_standard_streams", async {
        let links =
            || [0, 1, 2].map(|slot| std::fs::read_link(format!("/proc/self/fd/{slot}")).ok());
        let mut found = Vec::new();
        for closed in [&[0][..], &[1], &[2], &[0, 1], &[1, 2], &[0, 1, 2]] {
            let away = AwayStreams::put(closed);
            for stdin in [None, Some(Stdio::null()), Some(Stdio::inherit())] {
                let mut builder = Process::builder();
                if let Some(stdin) = stdin {
                    builder = builder.stdin(stdin);
                }
                found.push((closed, within(builder.spawn(links, ())).await));
            }
            drop(away); // and with them what can be said about it
        }
        let ours = |link: &PathBuf| {
            let link = link.to_string_lossy();
            link.contains("memfd") || link.contains("anon_inode") || link.contains("socket")
        };
        for (closed, outcome) in found {
            match outcome {
                Ok(links) => assert!(!links.iter().flatten().any(ours), "{closed:?}: {links:?}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Spawn, "{closed:?}: {error}"),
            }
        }
    })
    .await;
}

/// Standard streams that are closed, until it is dropped.
struct AwayStreams(Vec<(i32, OwnedFd)>);

impl AwayStreams {
    fn put(slots: &[i32]) -> Self {
        let away = slots.iter().map(|slot| {
            // SAFETY: a standard stream is there, and this borrow of it ends before it is closed.
            let stream = unsafe { BorrowedFd::borrow_raw(*slot) };
            (*slot, rustix::io::fcntl_dupfd_cloexec(stream, 10).unwrap())
        });
        let away = away.collect();
        for slot in slots {
            // SAFETY: nobody owns a standard stream, so nobody's is taken away.
            unsafe { rustix::io::close(*slot) };
        }
        Self(away)
    }
}

impl Drop for AwayStreams {
    fn drop(&mut self) {
        for (slot, stream) in &self.0 {
            match slot {
                0 => rustix::stdio::dup2_stdin(stream),
                1 => rustix::stdio::dup2_stdout(stream),
                _ => rustix::stdio::dup2_stderr(stream),
            }
            .unwrap();
        }
    }
}

/// Takes all descriptors there are, so that exactly `free` more can be opened until it is dropped.
struct Shortage {
    before: Rlimit,
    _taken: Vec<OwnedFd>,
}

impl Shortage {
    fn with_free(free: usize) -> Self {
        let before = getrlimit(Resource::Nofile);
        let null = OwnedFd::from(File::open("/dev/null").unwrap());
        let highest = descriptors()
            .last()
            .map_or(0, |(number, _)| u64::from(*number));
        let limit = Rlimit {
            current: Some(highest + 1 + free as u64),
            ..before
        };
        setrlimit(Resource::Nofile, limit).unwrap();
        let mut taken = Vec::new();
        while let Ok(fd) = null.try_clone() {
            taken.push(fd);
        }
        taken.push(null);
        taken.truncate(taken.len() - free);
        Self {
            before,
            _taken: taken,
        }
    }
}

impl Drop for Shortage {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.before).unwrap();
    }
}

fn free_descriptors() -> usize {
    let null = OwnedFd::from(File::open("/dev/null").unwrap());
    let copies: Vec<_> = std::iter::from_fn(|| null.try_clone().ok()).collect();
    copies.len() + 1
}

#[procession::test]
async fn a_shortage_is_what_it_says() {
    alone("a_shortage_is_what_it_says", async {
        for free in 1..20 {
            let shortage = Shortage::with_free(free);
            assert_eq!(free_descriptors(), free);
            drop(shortage);
        }
        assert!(free_descriptors() > 20);
    })
    .await;
}

#[track_caller]
fn assert_could_not_start(error: &JoinError, free: usize) {
    assert_eq!(error.kind(), ErrorKind::Spawn, "with {free} free: {error}");
    assert!(!error.started() && error.pid().is_none(), "{error:?}");
}

/// With one descriptor after the other, until there are enough: at no step does it hang or leave
/// anything, and with enough it works.
#[procession::test]
async fn a_start_fails_at_every_step_at_which_descriptors_can_run_out() {
    alone(
        "a_start_fails_at_every_step_at_which_descriptors_can_run_out",
        async {
            let before = Census::now();
            let mut free = 0;
            loop {
                let shortage = Shortage::with_free(free);
                let outcome = within(procession::spawn(|| 5, ())).await;
                drop(shortage);
                before.assert_none().await;
                match outcome {
                    Ok(value) => break assert_eq!(value, 5),
                    Err(error) => assert_could_not_start(&error, free),
                }
                free += 1;
                assert!(free < 100, "a start takes more than {free} descriptors");
                assert_eq!(within(procession::spawn(|| 6, ())).await.unwrap(), 6);
            }
            assert!(free > 0);
        },
    )
    .await;
}

/// The same with pipes and with the process that finds out what an opaque stdin is.
#[procession::test]
async fn a_start_with_streams_fails_cleanly_too() {
    alone("a_start_with_streams_fails_cleanly_too", async {
        let before = Census::now();
        for streams in 1..=3 {
            let spawn = || {
                let mut builder = Process::builder().stdin(Stdio::piped());
                if streams > 1 {
                    builder = builder.stdout(Stdio::piped());
                }
                if streams > 2 {
                    builder = builder.stderr(Stdio::piped());
                }
                builder.spawn(|| 5, ())
            };
            let mut free = 0;
            loop {
                let shortage = Shortage::with_free(free);
                let outcome = within(spawn()).await;
                drop(shortage);
                before.assert_none().await;
                match outcome {
                    Ok(value) => break assert_eq!(value, 5),
                    Err(error) => assert_could_not_start(&error, free),
                }
                free += 1;
                assert!(free < 100, "a start takes more than {free} descriptors");
            }
        }
    })
    .await;
}

/// Several starts take each other's descriptors away. Each works or fails, and says so.
#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn starts_that_compete_for_the_last_descriptors() {
    alone("starts_that_compete_for_the_last_descriptors", async {
        let before = Census::now();
        let mut all = false;
        let mut free = 0;
        while !all {
            let shortage = Shortage::with_free(free);
            let starts = (0..4).map(|n| procession::spawn(|n: u32| n, n));
            let outcomes = within(join_all(starts)).await;
            drop(shortage);
            all = outcomes.iter().all(Result::is_ok);
            for outcome in outcomes {
                if let Err(error) = outcome {
                    assert_could_not_start(&error, free);
                }
            }
            before.assert_none().await;
            free += 1;
            assert!(free < 200, "four starts take more than {free} descriptors");
        }
    })
    .await;
}

/// A result in shared memory needs a descriptor when it arrives, when there may be none.
#[procession::test]
async fn large_values_while_descriptors_are_short() {
    alone("large_values_while_descriptors_are_short", async {
        let before = Census::now();
        let mut free = 0;
        loop {
            let shortage = Shortage::with_free(free);
            let sent = Bytes::from(vec![free as u8; 300_000]);
            let outcome = within(procession::spawn(|bytes: Bytes| bytes, sent.clone())).await;
            drop(shortage);
            before.assert_none().await;
            match outcome {
                Ok(bytes) => break assert!(bytes == sent),
                // Its process may have started, and the value then not be carried.
                Err(error) => assert!(
                    matches!(
                        error.kind(),
                        ErrorKind::Spawn | ErrorKind::Encode | ErrorKind::Decode
                    ),
                    "with {free} free: {error}"
                ),
            }
            free += 1;
            assert!(free < 100, "a start takes more than {free} descriptors");
        }
    })
    .await;
}

/// They run out after the start and before the result is there.
#[procession::test]
async fn a_large_result_that_cannot_be_taken_is_an_error() {
    alone("a_large_result_that_cannot_be_taken_is_an_error", async {
        let before = Census::now();
        let large = || {
            io::read_to_string(io::stdin()).unwrap();
            Bytes::from(vec![1; 1 << 20])
        };
        let mut handle = Process::builder().stdin(Stdio::piped()).spawn(large, ());
        let mut stdin = handle.take_stdin().unwrap();
        within(stdin.write_all(b"x")).await.unwrap();
        let shortage = Shortage::with_free(0);
        within(stdin.shutdown()).await.unwrap();
        // Closing made room for one: take it as well.
        let last = File::open("/dev/null");
        let outcome = within(handle).await;
        drop(shortage);
        if let Err(error) = &outcome {
            assert!(error.started(), "{error}");
            assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
        }
        drop((outcome, last));
        before.assert_none().await;
    })
    .await;
}

/// The count itself: a test that looked away would find nothing for ever.
#[procession::test]
async fn the_census_sees_what_is_left() {
    alone("the_census_sees_what_is_left", async {
        let before = Census::now();
        assert_eq!(before.left(), Vec::<String>::new());
        let file = File::open("/dev/null").unwrap();
        assert!(before.left()[0].contains("/dev/null"));
        drop(file);
        let pipe = io::pipe().unwrap();
        assert!(before.left()[0].contains("pipe"));
        drop(pipe);
        let task = tokio::spawn(std::future::pending::<()>());
        assert!(before.left()[0].contains("tasks"));
        task.abort();
        before.assert_none().await;
        let mut zombie = std::process::Command::new("true").spawn().unwrap();
        let seen = || before.left().iter().any(|found| found.contains("state Z"));
        deadline::until(seen).await;
        zombie.wait().unwrap();
        before.assert_none().await;
        // An orphan: its parent ends at once, and it does not.
        let script = "sleep 1000 >/dev/null 2>&1 & echo $!";
        let shell = std::process::Command::new("sh")
            .args(["-c", script])
            .output()
            .unwrap();
        let pid = String::from_utf8(shell.stdout)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        assert!(before.left().iter().any(|found| found.contains("sleep")));
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    })
    .await;
}
