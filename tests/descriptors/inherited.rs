//! What a child inherits.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use futures::future::join_all;
use procession::Process;
use rustix::io::FdFlags;
use tokio::io::AsyncReadExt as _;

use crate::deadline::within;
use crate::descriptors;
use crate::leftovers::alone;

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
    alone("inherited::a_child_inherits_three_and_no_more", async {
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
        "inherited::a_child_has_the_same_few_descriptors_whatever_the_parent_has",
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
    alone(
        "inherited::a_pipe_of_the_parents_ends_while_a_child_runs",
        async {
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
        },
    )
    .await;
}

/// A program that a child starts gets nothing of the library's.
#[procession::test]
async fn a_program_started_by_a_child_inherits_three_and_no_more() {
    alone(
        "inherited::a_program_started_by_a_child_inherits_three_and_no_more",
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
    alone("inherited::children_started_at_once_keep_apart", async {
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
