//! A child inherits its three standard streams and no other descriptor.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use futures::future::join_all;
use procession::Process;
use rustix::io::FdFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::AsyncReadExt as _;

use crate::deadline::within;
use crate::descriptors;
use crate::leftovers::alone;

/// Clears the close-on-exec flag of `fd`, as a library that forgets it does.
fn clear_close_on_exec(fd: impl AsFd) {
    rustix::io::fcntl_setfd(fd, FdFlags::empty()).unwrap();
}

/// An open file without the close-on-exec flag.
fn inheritable_file(name: &str) -> (PathBuf, File) {
    let name = format!("{name}-{}", std::process::id());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let file = File::create(&path).unwrap();
    clear_close_on_exec(&file);
    (path, file)
}

#[procession::test]
async fn process_inherits_three_descriptors_and_no_more() {
    let test = "inherited::process_inherits_three_descriptors_and_no_more";
    alone(test, async {
        let (path, _file) = inheritable_file("inheritable");
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        clear_close_on_exec(&socket);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        clear_close_on_exec(&listener);
        let own: HashSet<_> = descriptors()
            .into_iter()
            .map(|(_, target)| target)
            .collect();
        let there = within(procession::spawn(descriptors, ())).await.unwrap();
        let numbers: Vec<_> = there.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers[..3], [0, 1, 2]);
        let mut pipes = 0;
        for (number, target) in &there[3..] {
            // Two descriptors with such a target need not be copies of each other.
            let common =
                target == "/dev/null" || target.to_string_lossy().starts_with("anon_inode:");
            // The child watches one pipe for the end of its parent.
            let pipe = target.to_string_lossy().starts_with("pipe:");
            pipes += usize::from(pipe);
            assert!(
                common || pipe || !own.contains(target),
                "{number} is {target:?}"
            );
        }
        assert!(pipes <= 1, "{there:?}");
        std::fs::remove_file(path).unwrap();
    })
    .await;
}

#[procession::test]
async fn process_has_few_descriptors_however_many_its_parent_has() {
    let test = "inherited::process_has_few_descriptors_however_many_its_parent_has";
    alone(test, async {
        let count = || descriptors().len();
        let before = within(procession::spawn(count, ())).await.unwrap();
        let (path, file) = inheritable_file("many");
        let copies: Vec<_> = (0..300).map(|_| file.try_clone().unwrap()).collect();
        copies.iter().for_each(clear_close_on_exec);
        let after = within(procession::spawn(count, ())).await.unwrap();
        assert_eq!(before, after);
        assert!(before <= 6, "{before} descriptors for one function");
        std::fs::remove_file(path).unwrap();
    })
    .await;
}

/// A child that had inherited the writer would keep the pipe open while it runs.
#[procession::test]
async fn process_does_not_keep_pipe_of_parent_open() {
    let test = "inherited::process_does_not_keep_pipe_of_parent_open";
    alone(test, async {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let mut reader = File::from(reader);
        clear_close_on_exec(&writer);
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

/// The descriptors that the library has in a child are not inherited either.
#[procession::test]
async fn program_of_child_inherits_three_descriptors_and_no_more() {
    let test = "inherited::program_of_child_inherits_three_descriptors_and_no_more";
    alone(test, async {
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
            // Descriptor 3 is the directory that `ls` reads.
            let numbers: Vec<_> = list.split_whitespace().collect();
            assert_eq!(numbers, ["0", "1", "2", "3"]);
        }
    })
    .await;
}

#[procession::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_started_at_once_do_not_inherit_from_each_other() {
    let test = "inherited::processes_started_at_once_do_not_inherit_from_each_other";
    alone(test, async {
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
