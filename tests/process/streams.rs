//! stdin, stdout and stderr of a process.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use futures::future::join_all;
use procession::{Process, ProcessBuilder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::deadline::within;
use crate::leftovers::alone;
use crate::notes::scratch;
use crate::{METHODS, MIB, by, read_line, say};

#[procession::test]
async fn stdin_is_empty_by_default() {
    let look = || {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).unwrap();
        (text, std::fs::read_link("/proc/self/fd/0").unwrap())
    };
    let (text, target) = within(procession::spawn(look, ())).await.unwrap();
    assert_eq!((text.as_str(), target), ("", PathBuf::from("/dev/null")));
}

#[procession::test]
async fn piped_streams_carry_a_conversation() {
    alone("streams::piped_streams_carry_a_conversation", async {
        fn echo() -> usize {
            let mut count = 0;
            for line in io::stdin().lines() {
                say(&line.unwrap().to_uppercase());
                count += 1;
            }
            count
        }
        let mut handle = Process::builder()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn(echo, ());
        let mut stdin = handle.take_stdin().unwrap();
        let mut stdout = handle.take_stdout().unwrap();
        for word in ["one", "two", "three"] {
            within(stdin.write_all(format!("{word}\n").as_bytes()))
                .await
                .unwrap();
            assert_eq!(read_line(&mut stdout).await, word.to_uppercase());
        }
        drop(stdin);
        assert_eq!(within(handle).await.unwrap(), 3);
        assert_eq!(within(stdout.read(&mut [0; 8])).await.unwrap(), 0);
    })
    .await;
}

#[procession::test]
async fn stdin_shutdown_is_end_of_file() {
    let all = || io::read_to_string(io::stdin()).unwrap();
    let mut handle = Process::builder().stdin(Stdio::piped()).spawn(all, ());
    let mut stdin = handle.take_stdin().unwrap();
    within(stdin.write_all(b"all of it")).await.unwrap();
    within(stdin.shutdown()).await.unwrap();
    assert_eq!(within(handle).await.unwrap(), "all of it");
    within(stdin.write_all(b"more")).await.unwrap_err();
}

#[procession::test]
async fn streams_are_taken_once() {
    alone("streams::streams_are_taken_once", async {
        let mut plain = procession::spawn(|| (), ());
        assert!(plain.take_stdin().is_none());
        assert!(plain.take_stdout().is_none());
        assert!(plain.take_stderr().is_none());
        let mut piped = Process::builder()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn(|| (), ());
        assert!(piped.take_stdin().is_some() && piped.take_stdin().is_none());
        assert!(piped.take_stdout().is_some() && piped.take_stdout().is_none());
        assert!(piped.take_stderr().is_some() && piped.take_stderr().is_none());
        within(join_all([plain, piped]))
            .await
            .into_iter()
            .for_each(Result::unwrap);
    })
    .await;
}

/// What a builder can be given for a standard stream.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stream {
    Default,
    Null,
    Inherit,
    Piped,
    File,
}

impl Stream {
    const ALL: [Self; 5] = [
        Self::Default,
        Self::Null,
        Self::Inherit,
        Self::Piped,
        Self::File,
    ];

    fn stdio(self, file: &Path) -> Option<Stdio> {
        match self {
            Self::Default => None,
            Self::Null => Some(Stdio::null()),
            Self::Inherit => Some(Stdio::inherit()),
            Self::Piped => Some(Stdio::piped()),
            Self::File => {
                let file = File::options().read(true).append(true).open(file);
                Some(Stdio::from(file.unwrap()))
            }
        }
    }

    /// Whether `found`, the target of descriptor `slot` in the child, is as expected.
    fn is(self, slot: usize, found: &Path, file: &Path) -> bool {
        let own = std::fs::read_link(format!("/proc/self/fd/{slot}")).unwrap();
        match self {
            Self::Default if slot == 0 => found == Path::new("/dev/null"),
            Self::Null => found == Path::new("/dev/null"),
            Self::Default | Self::Inherit => found == own,
            Self::Piped => found.to_string_lossy().starts_with("pipe:") && found != own,
            Self::File => found == file,
        }
    }
}

/// The targets of the three streams, and the input from stdin. Writes to stdout and stderr.
fn streams() -> ([PathBuf; 3], String) {
    let links = [0, 1, 2].map(|slot| std::fs::read_link(format!("/proc/self/fd/{slot}")).unwrap());
    let input = io::read_to_string(io::stdin()).unwrap();
    io::stdout().write_all(b"to stdout\n").unwrap();
    io::stderr().write_all(b"to stderr\n").unwrap();
    (links, input)
}

/// Every combination of settings of the three streams.
#[procession::test]
async fn streams_are_what_the_builder_was_given() {
    alone("streams::streams_are_what_the_builder_was_given", async {
        for stdin in Stream::ALL {
            for stdout in Stream::ALL {
                for stderr in Stream::ALL {
                    check_streams([stdin, stdout, stderr]).await;
                }
            }
        }
    })
    .await;
}

async fn check_streams(kinds: [Stream; 3]) {
    let paths = ["in", "out", "err"].map(scratch);
    std::fs::write(&paths[0], "from a file").unwrap();
    std::fs::write(&paths[1], "").unwrap();
    std::fs::write(&paths[2], "").unwrap();
    let mut handle = with_streams(kinds, &paths).spawn(streams, ());
    let ends = (
        handle.take_stdin(),
        handle.take_stdout(),
        handle.take_stderr(),
    );
    let (stdin, mut stdout, mut stderr) = ends;
    if let (Some(mut stdin), Stream::Piped) = (stdin, kinds[0]) {
        within(stdin.write_all(b"from a pipe")).await.unwrap();
    }
    let (links, input) = within(handle)
        .await
        .unwrap_or_else(|error| panic!("{kinds:?}: {error}"));
    for slot in 0..3 {
        let found = &links[slot];
        assert!(
            kinds[slot].is(slot, found, &paths[slot]),
            "{kinds:?}: {slot} is {found:?}"
        );
    }
    let expected = match kinds[0] {
        Stream::Piped => "from a pipe",
        Stream::File => "from a file",
        _ => "",
    };
    assert_eq!(input, expected, "{kinds:?}");
    let mut output = [const { String::new() }; 2];
    if let Some(stdout) = &mut stdout {
        within(stdout.read_to_string(&mut output[0])).await.unwrap();
    }
    if let Some(stderr) = &mut stderr {
        within(stderr.read_to_string(&mut output[1])).await.unwrap();
    }
    for (index, text) in ["to stdout\n", "to stderr\n"].into_iter().enumerate() {
        let slot = index + 1;
        let written = std::fs::read_to_string(&paths[slot]).unwrap();
        let text_if = |kind| if kinds[slot] == kind { text } else { "" };
        assert_eq!(
            (output[index].as_str(), written.as_str()),
            (text_if(Stream::Piped), text_if(Stream::File)),
            "{kinds:?}"
        );
    }
    for path in paths {
        std::fs::remove_file(path).unwrap();
    }
}

/// A builder that was given these three streams.
fn with_streams(kinds: [Stream; 3], paths: &[PathBuf; 3]) -> ProcessBuilder {
    let mut builder = Process::builder();
    if let Some(stdin) = kinds[0].stdio(&paths[0]) {
        builder = builder.stdin(stdin);
    }
    if let Some(stdout) = kinds[1].stdio(&paths[1]) {
        builder = builder.stdout(stdout);
    }
    if let Some(stderr) = kinds[2].stdio(&paths[2]) {
        builder = builder.stderr(stderr);
    }
    builder
}

const FLOOD: usize = 1 << 20;

fn flood() -> usize {
    let block = [b'x'; 1000];
    let mut written = 0;
    while written < FLOOD {
        let piece = block.len().min(FLOOD - written);
        io::stdout().write_all(&block[..piece]).unwrap();
        io::stderr().write_all(&block[..piece]).unwrap();
        written += piece;
    }
    io::stdout().flush().unwrap();
    written
}

#[procession::test]
async fn stdout_and_stderr_are_read_while_both_are_flooded() {
    alone(
        "streams::stdout_and_stderr_are_read_while_both_are_flooded",
        async {
            let mut handle = Process::builder()
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn(flood, ());
            let (mut stdout, mut stderr) =
                (handle.take_stdout().unwrap(), handle.take_stderr().unwrap());
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let reading =
                async { tokio::join!(stdout.read_to_end(&mut out), stderr.read_to_end(&mut err)) };
            let (result, read) = within(async { tokio::join!(&mut handle, reading) }).await;
            assert_eq!(result.unwrap(), FLOOD);
            assert_eq!((read.0.unwrap(), read.1.unwrap()), (FLOOD, FLOOD));
        },
    )
    .await;
}

#[procession::test]
async fn stdout_and_stderr_without_a_reader_do_not_block() {
    alone(
        "streams::stdout_and_stderr_without_a_reader_do_not_block",
        async {
            let file = scratch("flood");
            let handle = Process::builder()
                .stdout(Stdio::null())
                .stderr(File::create(&file).unwrap())
                .spawn(flood, ());
            assert_eq!(within(handle).await.unwrap(), FLOOD);
            assert_eq!(std::fs::metadata(&file).unwrap().len(), FLOOD as u64);
            std::fs::remove_file(file).unwrap();
        },
    )
    .await;
}

/// A write after the reader is gone is an error; it does not end the writer by SIGPIPE.
#[procession::test]
async fn stdout_closed_by_the_parent_is_a_broken_pipe() {
    alone(
        "streams::stdout_closed_by_the_parent_is_a_broken_pipe",
        async {
            let refused = || loop {
                if let Err(error) = io::stdout().write_all(&[b'x'; 4096]) {
                    return error.kind() == io::ErrorKind::BrokenPipe;
                }
            };
            let mut handle = Process::builder().stdout(Stdio::piped()).spawn(refused, ());
            drop(handle.take_stdout());
            assert!(within(handle).await.unwrap());
        },
    )
    .await;
}

#[procession::test]
async fn piped_streams_work_with_every_start_method() {
    alone(
        "streams::piped_streams_work_with_every_start_method",
        async {
            for method in METHODS {
                let copies = || {
                    let text = std::io::read_to_string(std::io::stdin()).unwrap();
                    std::io::stdout().write_all(text.as_bytes()).unwrap();
                    std::io::stderr()
                        .write_all(text.to_uppercase().as_bytes())
                        .unwrap();
                };
                let mut handle = by(method)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .current_dir("/")
                    .nice(1)
                    .memory_limit(64 * MIB)
                    .spawn(copies, ());
                let mut stdin = handle.take_stdin().unwrap();
                within(tokio::io::AsyncWriteExt::write_all(&mut stdin, b"words"))
                    .await
                    .unwrap();
                drop(stdin);
                let (mut out, mut err) = (String::new(), String::new());
                let mut stdout = handle.take_stdout().unwrap();
                within(stdout.read_to_string(&mut out)).await.unwrap();
                let mut stderr = handle.take_stderr().unwrap();
                within(stderr.read_to_string(&mut err)).await.unwrap();
                assert_eq!((&out[..], &err[..]), ("words", "WORDS"));
                within(handle).await.unwrap();
            }
        },
    )
    .await;
}
