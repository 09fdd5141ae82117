//! One function in one process: how it is started, steered and awaited.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "what a task is given is its own"
)]

mod deadline;
mod leftovers;

use std::collections::HashSet;
use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use deadline::{until, within};
use futures::FutureExt as _;
use futures::future::{join_all, select_all};
use leftovers::alone;
use procession::{ErrorKind, Process, ProcessHandle};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};

fn parked() {
    loop {
        std::thread::park();
    }
}

/// Says that it has come as far as this, on its stdout.
fn say(word: &str) {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{word}").unwrap();
    stdout.flush().unwrap();
}

fn parked_after_a_word() {
    say("here");
    parked();
}

/// Waits for the next line of a child's output.
async fn line(output: &mut (impl AsyncRead + Unpin)) -> String {
    let mut line = Vec::new();
    // Byte by byte: what comes after the line is not this function's.
    while line.last() != Some(&b'\n') {
        line.push(within(output.read_u8()).await.unwrap());
    }
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

/// Starts `f`, which says a word when it is where the test wants it, and waits for the word.
async fn ready<R>(f: fn() -> R, mut handle: ProcessHandle<R>) -> ProcessHandle<R> {
    let _ = f;
    let mut stdout = handle.take_stdout().unwrap();
    line(&mut stdout).await;
    handle
}

/// A process that is in its function and stays there.
async fn busy() -> ProcessHandle<()> {
    let handle = Process::builder()
        .stdout(Stdio::piped())
        .spawn(parked_after_a_word, ());
    ready(parked_after_a_word, handle).await
}

/// A file of this test alone.
fn scratch(name: &str) -> PathBuf {
    let name = format!("{name}-{}", std::process::id());
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn is_gone(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

#[procession::test]
async fn it_is_called_as_the_builder_says() {
    alone("it_is_called_as_the_builder_says", async {
        let own_name = || procession::current().name().map(str::to_owned);
        let named = Process::builder().name("first").name("indexer");
        let handle = named.spawn(own_name, ());
        assert_eq!(handle.name(), "indexer");
        assert_eq!(within(handle).await.unwrap().as_deref(), Some("indexer"));
    })
    .await;
}

#[procession::test]
async fn it_sees_the_environment_it_is_given() {
    let look = |keys: Vec<String>| -> Vec<Option<String>> {
        keys.iter().map(|key| std::env::var(key).ok()).collect()
    };
    let keys = ["PATH", "A", "B", "C", "CARGO_MANIFEST_DIR", "E"].map(str::to_owned);
    let handle = Process::builder()
        .env("A", "1")
        .env("A", "2")
        .env_remove("B")
        .env("B", "again")
        .env("C", "3")
        .env_remove("C")
        .env_remove("CARGO_MANIFEST_DIR")
        .env("E", "with = and spaces, Grüße")
        .spawn(look, keys.to_vec());
    let seen = within(handle).await.unwrap();
    let path = std::env::var("PATH").ok();
    let expected = [path.as_deref(), Some("2"), Some("again"), None, None];
    assert_eq!(
        seen[..5].iter().map(Option::as_deref).collect::<Vec<_>>(),
        expected
    );
    assert_eq!(seen[5].as_deref(), Some("with = and spaces, Grüße"));
}

#[procession::test]
async fn an_environment_that_cannot_be_is_a_failed_start() {
    alone("an_environment_that_cannot_be_is_a_failed_start", async {
        let impossible = [
            ("NUL", "a\0b".to_owned()),
            ("NUL\0", "a".to_owned()),
            ("LONG", "x".repeat(4 << 20)),
        ];
        for (key, value) in impossible {
            let outcome = within(Process::builder().env(key, value).spawn(|| 1, ())).await;
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Spawn, "{key}: {error}");
        }
    })
    .await;
}

/// A name is for people, so none is too strange; one too long for the way is an error that says so.
#[procession::test]
async fn names_of_every_sort() {
    let own_name = || procession::current().name().map(str::to_owned);
    for name in ["", "a\nb\0c", "\u{1f980}", &"n".repeat(10_000)] {
        let handle = Process::builder().name(name).spawn(own_name, ());
        assert_eq!(within(handle).await.unwrap().as_deref(), Some(name));
    }
    let name = "n".repeat(1 << 20);
    let handle = Process::builder().name(name.as_str()).spawn(own_name, ());
    match within(handle).await {
        Ok(known) => assert_eq!(known, Some(name)),
        Err(error) => {
            let said = error.to_string();
            assert!(error.is_spawn() && said.contains("name"), "{said}");
        }
    }
}

/// What brought a child here is not handed on to the programs that the child starts.
#[procession::test]
async fn nothing_of_ours_is_in_its_environment() {
    let environment = || std::env::vars_os().map(|(key, _)| key).collect::<Vec<_>>();
    let there: HashSet<_> = within(procession::spawn(environment, ()))
        .await
        .unwrap()
        .into_iter()
        .collect();
    let here: HashSet<_> = std::env::vars_os().map(|(key, _)| key).collect();
    assert_eq!(there, here);
    let of_a_program = || {
        let env = std::process::Command::new("env").output().unwrap();
        String::from_utf8_lossy(&env.stdout).contains("PROCESSION_CHILD")
    };
    assert!(!within(procession::spawn(of_a_program, ())).await.unwrap());
}

#[procession::test]
async fn it_works_in_the_directory_it_is_given() {
    let look = || std::env::current_dir().unwrap();
    let default = within(procession::spawn(look, ())).await.unwrap();
    assert_eq!(default, std::env::current_dir().unwrap());
    for directory in ["/", env!("CARGO_TARGET_TMPDIR"), "tests"] {
        let handle = Process::builder().current_dir(directory).spawn(look, ());
        let expected = Path::new(directory).canonicalize().unwrap();
        assert_eq!(within(handle).await.unwrap(), expected);
    }
}

#[procession::test]
async fn a_directory_that_is_none_is_a_failed_start() {
    alone("a_directory_that_is_none_is_a_failed_start", async {
        for directory in ["/does/not/exist", "/proc/version", ""] {
            let mut handle = Process::builder()
                .current_dir(directory)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn(parked, ());
            let mut stdin = handle.take_stdin().unwrap();
            let mut stdout = handle.take_stdout().unwrap();
            let error = within(&mut handle).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Spawn, "{directory:?}: {error}");
            assert!(!error.started() && error.pid().is_none(), "{error:?}");
            assert_eq!(handle.pid(), None);
            assert!(handle.is_finished());
            within(handle.exited()).await.unwrap_err();
            // Whoever waits at its streams is not left waiting.
            let mut nothing = Vec::new();
            assert_eq!(within(stdout.read_to_end(&mut nothing)).await.unwrap(), 0);
            within(stdin.write_all(b"x")).await.unwrap_err();
        }
    })
    .await;
}

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
async fn a_conversation_over_pipes() {
    alone("a_conversation_over_pipes", async {
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
            assert_eq!(line(&mut stdout).await, word.to_uppercase());
        }
        drop(stdin);
        assert_eq!(within(handle).await.unwrap(), 3);
        assert_eq!(within(stdout.read(&mut [0; 8])).await.unwrap(), 0);
    })
    .await;
}

#[procession::test]
async fn shutting_stdin_down_is_its_end() {
    let all = || io::read_to_string(io::stdin()).unwrap();
    let mut handle = Process::builder().stdin(Stdio::piped()).spawn(all, ());
    let mut stdin = handle.take_stdin().unwrap();
    within(stdin.write_all(b"all of it")).await.unwrap();
    within(stdin.shutdown()).await.unwrap();
    assert_eq!(within(handle).await.unwrap(), "all of it");
    within(stdin.write_all(b"more")).await.unwrap_err();
}

#[procession::test]
async fn streams_can_be_taken_once() {
    alone("streams_can_be_taken_once", async {
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

/// What a standard stream can be told to be.
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

    /// Whether `found` is what slot `slot` of the child should be.
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

/// What the three streams are, and what was in the first; writes to the other two.
fn streams() -> ([PathBuf; 3], String) {
    let links = [0, 1, 2].map(|slot| std::fs::read_link(format!("/proc/self/fd/{slot}")).unwrap());
    let input = io::read_to_string(io::stdin()).unwrap();
    io::stdout().write_all(b"to stdout\n").unwrap();
    io::stderr().write_all(b"to stderr\n").unwrap();
    (links, input)
}

/// Every combination of what can be said about the three streams, nothing among it.
#[procession::test]
async fn streams_are_what_the_builder_says() {
    alone("streams_are_what_the_builder_says", async {
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
    let mut handle = builder.spawn(streams, ());
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
        let piped = if kinds[slot] == Stream::Piped {
            text
        } else {
            ""
        };
        let filed = if kinds[slot] == Stream::File {
            text
        } else {
            ""
        };
        assert_eq!(
            (output[index].as_str(), written.as_str()),
            (piped, filed),
            "{kinds:?}"
        );
    }
    for path in paths {
        std::fs::remove_file(path).unwrap();
    }
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
async fn a_flood_on_both_outputs_is_read() {
    alone("a_flood_on_both_outputs_is_read", async {
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
    })
    .await;
}

#[procession::test]
async fn a_flood_that_nobody_collects_does_not_matter() {
    alone("a_flood_that_nobody_collects_does_not_matter", async {
        let file = scratch("flood");
        let handle = Process::builder()
            .stdout(Stdio::null())
            .stderr(File::create(&file).unwrap())
            .spawn(flood, ());
        assert_eq!(within(handle).await.unwrap(), FLOOD);
        assert_eq!(std::fs::metadata(&file).unwrap().len(), FLOOD as u64);
        std::fs::remove_file(file).unwrap();
    })
    .await;
}

/// A reader that went away is an error for the writer, not its end.
#[procession::test]
async fn a_flood_into_a_closed_pipe_is_an_error_there() {
    alone("a_flood_into_a_closed_pipe_is_an_error_there", async {
        let refused = || loop {
            if let Err(error) = io::stdout().write_all(&[b'x'; 4096]) {
                return error.kind() == io::ErrorKind::BrokenPipe;
            }
        };
        let mut handle = Process::builder().stdout(Stdio::piped()).spawn(refused, ());
        drop(handle.take_stdout());
        assert!(within(handle).await.unwrap());
    })
    .await;
}

#[procession::test]
async fn a_dropped_handle_detaches() {
    alone("a_dropped_handle_detaches", async {
        fn writes_when_told(path: PathBuf) {
            say("here");
            let told = io::read_to_string(io::stdin()).unwrap();
            std::fs::write(&path, told).unwrap();
        }
        let path = scratch("detached");
        let mut handle = Process::builder()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn(writes_when_told, path.clone());
        let mut stdin = handle.take_stdin().unwrap();
        let mut stdout = handle.take_stdout().unwrap();
        line(&mut stdout).await;
        let exited = handle.exited();
        drop(handle);
        within(stdin.write_all(b"still here")).await.unwrap();
        drop(stdin);
        assert!(within(exited).await.unwrap().success());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "still here");
        std::fs::remove_file(path).unwrap();
    })
    .await;
}

#[procession::test]
async fn a_handle_that_kills_on_drop_kills() {
    alone("a_handle_that_kills_on_drop_kills", async {
        let mut handle = Process::builder()
            .kill_on_drop(false)
            .kill_on_drop(true)
            .stdout(Stdio::piped())
            .spawn(parked_after_a_word, ());
        line(&mut handle.take_stdout().unwrap()).await;
        let exited = handle.exited();
        drop(handle);
        assert_eq!(within(exited).await.unwrap().signal(), Some(libc::SIGKILL));
    })
    .await;
}

#[procession::test]
async fn a_handle_that_kills_on_drop_spares_what_has_returned() {
    alone(
        "a_handle_that_kills_on_drop_spares_what_has_returned",
        async {
            let mut handle = Process::builder().kill_on_drop(true).spawn(|| 5, ());
            assert_eq!(within(&mut handle).await.unwrap(), 5);
            let exited = handle.exited();
            drop(handle);
            assert!(within(exited).await.unwrap().success());
        },
    )
    .await;
}

/// A pause of up to `limit`, another one for every `n`.
async fn pause(n: u64, limit: Duration) {
    let thousandth = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 1000;
    let end = std::time::Instant::now() + limit * thousandth as u32 / 1000;
    // Not a timer, whose steps are as long as a whole start.
    while std::time::Instant::now() < end {
        tokio::task::yield_now().await;
    }
}

#[procession::test]
async fn dropped_at_any_moment_nothing_is_left() {
    alone("dropped_at_any_moment_nothing_is_left", async {
        for n in 0..100 {
            let builder = Process::builder().kill_on_drop(true);
            let handle = match n % 3 {
                0 => builder.spawn(parked, ()),
                1 => builder
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn(parked, ()),
                _ => builder.spawn(|| (), ()),
            };
            pause(n, Duration::from_millis(8)).await;
            drop(handle);
        }
    })
    .await;
}

#[procession::test]
async fn detached_at_any_moment_nothing_is_left() {
    alone("detached_at_any_moment_nothing_is_left", async {
        for n in 0..100 {
            let handle = match n % 2 {
                0 => procession::spawn(|| vec![1_u8; 100_000], ()),
                _ => Process::builder()
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn(Vec::new, ()),
            };
            pause(n, Duration::from_millis(8)).await;
            drop(handle);
        }
    })
    .await;
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborted_at_any_moment_nothing_is_left() {
    alone("aborted_at_any_moment_nothing_is_left", async {
        for n in 0..100 {
            let mut handle = procession::spawn(|| 1, ());
            pause(n, Duration::from_millis(8)).await;
            handle.abort();
            match within(&mut handle).await {
                Ok(value) => assert_eq!(value, 1),
                Err(error) => assert!(error.is_cancelled(), "{error}"),
            }
        }
    })
    .await;
}

#[procession::test]
async fn an_aborted_process_is_killed() {
    alone("an_aborted_process_is_killed", async {
        let mut handle = busy().await;
        assert!(!handle.is_finished());
        handle.abort();
        handle.abort();
        let error = within(&mut handle).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.started()),
            (ErrorKind::Cancelled, true)
        );
        assert_eq!(error.pid(), handle.pid());
        assert!(handle.is_finished() && is_gone(handle.pid().unwrap()));
        let status = within(handle.exited()).await.unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL));
    })
    .await;
}

#[procession::test]
async fn a_process_aborted_before_its_start_never_runs() {
    alone("a_process_aborted_before_its_start_never_runs", async {
        let path = scratch("never");
        let handle = procession::spawn(
            |path: PathBuf| std::fs::write(path, "").unwrap(),
            path.clone(),
        );
        handle.abort(); // nothing of it was polled yet
        let error = within(handle).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.started()),
            (ErrorKind::Cancelled, false),
            "{error}"
        );
        assert!(!path.exists());
    })
    .await;
}

#[procession::test]
async fn an_abort_that_comes_too_late_changes_nothing() {
    alone("an_abort_that_comes_too_late_changes_nothing", async {
        let handle = procession::spawn(|| 9, ());
        within(handle.exited()).await.unwrap();
        until(|| handle.is_finished()).await;
        handle.abort();
        assert_eq!(within(handle).await.unwrap(), 9);
    })
    .await;
}

#[procession::test]
async fn what_an_aborted_process_started_is_killed_too() {
    alone("what_an_aborted_process_started_is_killed_too", async {
        let handle = Process::builder()
            .stdout(Stdio::piped())
            .spawn(with_a_program, ());
        let handle = ready(with_a_program, handle).await;
        assert!(leftovers::descendants().len() >= 2);
        handle.abort();
        within(handle).await.unwrap_err();
    })
    .await; // which finds a program that is left
}

#[procession::test]
async fn the_children_of_an_aborted_process_end_too() {
    alone("the_children_of_an_aborted_process_end_too", async {
        async fn with_a_child() {
            let child = Process::builder().stdin(Stdio::inherit());
            child.spawn(with_a_program, ()).await.unwrap();
        }
        let mut handle = Process::builder()
            .stdout(Stdio::piped())
            .spawn(with_a_child, ());
        line(&mut handle.take_stdout().unwrap()).await;
        assert!(leftovers::descendants().len() >= 3);
        handle.abort();
        within(handle).await.unwrap_err();
    })
    .await; // which finds whoever is left
}

/// Starts a program that goes on for a long time, and goes on itself.
fn with_a_program() {
    start_sleeping();
    say("here");
    parked();
}

fn start_sleeping() -> u32 {
    let null = || Stdio::null();
    let mut command = std::process::Command::new("sleep");
    command
        .arg("1000")
        .stdin(null())
        .stdout(null())
        .stderr(null());
    command.spawn().unwrap().id()
}

/// There is nobody left who would know about them.
#[procession::test]
async fn what_a_crashed_process_started_is_killed_too() {
    alone("what_a_crashed_process_started_is_killed_too", async {
        fn crashes() {
            start_sleeping();
            std::process::abort();
        }
        assert!(
            within(procession::spawn(crashes, ()))
                .await
                .unwrap_err()
                .is_crashed()
        );
    })
    .await; // which finds a program that is left
}

#[procession::test]
async fn what_a_process_started_goes_on_when_it_has_returned() {
    alone(
        "what_a_process_started_goes_on_when_it_has_returned",
        async {
            let program = within(procession::spawn(start_sleeping, ())).await.unwrap();
            assert!(!is_gone(program));
            let pid = rustix::process::Pid::from_raw(program as i32).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        },
    )
    .await;
}

#[procession::test]
async fn an_abort_handle_works_apart_from_the_handle() {
    alone("an_abort_handle_works_apart_from_the_handle", async {
        let handle = busy().await;
        let abort = handle.abort_handle();
        let exited = handle.exited();
        drop(handle);
        assert!(!abort.is_finished());
        let elsewhere = abort.clone();
        std::thread::spawn(move || elsewhere.abort())
            .join()
            .unwrap();
        within(exited).await.unwrap();
        until(|| abort.is_finished()).await;
        abort.abort();
    })
    .await;
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_awaited_is_finished_for_everybody() {
    for _ in 0..50 {
        let mut handle = procession::spawn(|| (), ());
        let (abort, mut exited) = (handle.abort_handle(), handle.exited());
        within(&mut handle).await.unwrap();
        assert!(handle.is_finished() && abort.is_finished());
        let status = (&mut exited).now_or_never();
        assert!(status.is_some_and(|status| status.unwrap().success()));
    }
}

#[procession::test]
async fn signals_end_it_as_they_end_any_process() {
    alone("signals_end_it_as_they_end_any_process", async {
        type Send = fn(&ProcessHandle<()>);
        let ways: [(Send, i32, &str); 6] = [
            (ProcessHandle::terminate, libc::SIGTERM, "SIGTERM"),
            (ProcessHandle::interrupt, libc::SIGINT, "SIGINT"),
            (
                |handle| handle.signal(libc::SIGKILL),
                libc::SIGKILL,
                "SIGKILL",
            ),
            (
                |handle| handle.signal(libc::SIGUSR1),
                libc::SIGUSR1,
                "SIGUSR1",
            ),
            (
                |handle| handle.signal(libc::SIGVTALRM),
                libc::SIGVTALRM,
                "26",
            ),
            (
                |handle| handle.signal(libc::SIGRTMIN() + 3),
                libc::SIGRTMIN() + 3,
                "37",
            ),
        ];
        for (send, signal, name) in ways {
            if is_ignored(signal) {
                continue; // by whoever started this test, and then by the child too
            }
            let mut handle = busy().await;
            send(&handle);
            let error = within(&mut handle).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.signal()),
                (ErrorKind::Crashed, Some(signal))
            );
            assert!(
                error.started() && error.to_string().contains(name),
                "{error}"
            );
            let status = within(handle.exited()).await.unwrap();
            assert_eq!(status.signal(), Some(signal));
        }
    })
    .await;
}

/// Whether this process ignores `signal`: a shell without job control starts what it does not wait
/// for so that it ignores SIGINT.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = u64::from_str_radix(mask.unwrap().trim(), 16).unwrap();
    mask >> (signal - 1) & 1 == 1
}

#[procession::test]
async fn a_signal_can_be_handled_there() {
    alone("a_signal_can_be_handled_there", async {
        async fn handled() -> String {
            use tokio::signal::unix::{SignalKind, signal};
            let mut terminate = signal(SignalKind::terminate()).unwrap();
            let mut interrupt = signal(SignalKind::interrupt()).unwrap();
            say("here");
            tokio::select! {
                _ = terminate.recv() => "terminated".to_owned(),
                _ = interrupt.recv() => "interrupted".to_owned(),
            }
        }
        type Send = fn(&ProcessHandle<String>);
        let ways: [(Send, &str); 2] = [
            (ProcessHandle::terminate, "terminated"),
            (ProcessHandle::interrupt, "interrupted"),
        ];
        for (send, expected) in ways {
            let mut handle = Process::builder().stdout(Stdio::piped()).spawn(handled, ());
            line(&mut handle.take_stdout().unwrap()).await;
            send(&handle);
            assert_eq!(within(handle).await.unwrap(), expected);
        }
    })
    .await;
}

#[procession::test]
async fn a_signal_sent_before_the_start_arrives() {
    alone("a_signal_sent_before_the_start_arrives", async {
        let handle = procession::spawn(parked, ());
        assert_eq!(handle.pid(), None);
        handle.terminate();
        let error = within(handle).await.unwrap_err();
        assert_eq!(error.signal(), Some(libc::SIGTERM), "{error}");
    })
    .await;
}

#[procession::test]
async fn what_is_no_signal_and_whoever_is_gone_are_left_alone() {
    alone(
        "what_is_no_signal_and_whoever_is_gone_are_left_alone",
        async {
            let mut handle = busy().await;
            for nothing in [0, -1, -libc::SIGKILL, 65, 9999, i32::MIN, i32::MAX] {
                handle.signal(nothing);
            }
            assert!(!is_gone(handle.pid().unwrap()));
            handle.signal(libc::SIGKILL);
            within(&mut handle).await.unwrap_err();
            handle.signal(libc::SIGKILL);
            handle.terminate();
            handle.interrupt();
            handle.abort();
        },
    )
    .await;
}

#[procession::test]
async fn a_stopped_process_has_not_ended() {
    alone("a_stopped_process_has_not_ended", async {
        let all = || {
            say("here");
            io::read_to_string(io::stdin()).unwrap()
        };
        let mut handle = Process::builder()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn(all, ());
        let mut stdin = handle.take_stdin().unwrap();
        line(&mut handle.take_stdout().unwrap()).await;
        handle.signal(libc::SIGSTOP);
        let pid = handle.pid().unwrap();
        let state = || {
            leftovers::descendants()
                .iter()
                .find(|found| found.pid == pid)
                .map(|found| found.state)
        };
        until(|| state() == Some('T')).await;
        within(stdin.write_all(b"x")).await.unwrap();
        drop(stdin);
        assert!(handle.exited().now_or_never().is_none() && !handle.is_finished());
        handle.signal(libc::SIGCONT);
        assert_eq!(within(handle).await.unwrap(), "x");
        let stopped = busy().await;
        stopped.signal(libc::SIGSTOP);
        stopped.abort();
        assert!(within(stopped).await.unwrap_err().is_cancelled());
    })
    .await;
}

#[procession::test]
async fn its_end_can_be_awaited_apart_from_its_result() {
    alone("its_end_can_be_awaited_apart_from_its_result", async {
        let returned = procession::spawn(|| 1, ());
        let exits = procession::spawn(|| -> u32 { std::process::exit(7) }, ());
        let killed = procession::spawn(
            || -> u32 {
                parked();
                0
            },
            (),
        );
        killed.abort();
        let ends = [&returned, &exits, &killed].map(ProcessHandle::exited);
        let again = returned.exited();
        drop((returned, exits, killed));
        let [returned, exits, killed]: [_; 3] = within(join_all(ends)).await.try_into().unwrap();
        assert!(returned.unwrap().success());
        assert_eq!(exits.unwrap().code(), Some(7));
        // Aborted before it had started: there is no process whose end it could be.
        killed.unwrap_err();
        assert!(within(again).await.unwrap().success());
    })
    .await;
}

#[procession::test]
async fn the_first_of_many_to_end() {
    alone("the_first_of_many_to_end", async {
        let mut handles = Vec::new();
        for _ in 0..8 {
            handles.push(busy().await);
        }
        let mut running: Vec<_> = (0..handles.len()).collect();
        // In an order that is not the one of their start.
        for chosen in [5, 0, 7, 1, 2, 6, 4, 3] {
            let ends: Vec<_> = running.iter().map(|n| handles[*n].exited()).collect();
            handles[chosen].terminate();
            let (status, index, _) = within(select_all(ends)).await;
            assert_eq!(running.remove(index), chosen);
            assert_eq!(status.unwrap().signal(), Some(libc::SIGTERM));
            within(&mut handles[chosen]).await.unwrap_err();
        }
        assert!(handles.iter().all(ProcessHandle::is_finished));
    })
    .await;
}

#[procession::test]
async fn children_are_listed_while_they_live() {
    alone("children_are_listed_while_they_live", async {
        assert!(procession::active_children().is_empty());
        let named = Process::builder()
            .name("listed")
            .stdout(Stdio::piped())
            .spawn(parked_after_a_word, ());
        let mut named = ready(parked_after_a_word, named).await;
        let mut other = busy().await;
        let children = procession::active_children();
        let mut pids: Vec<_> = children.iter().map(|child| Some(child.pid())).collect();
        pids.sort_unstable();
        let mut expected = [named.pid(), other.pid()];
        expected.sort_unstable();
        assert_eq!(pids, expected);
        let found = children
            .iter()
            .find(|child| Some(child.pid()) == named.pid());
        assert_eq!(found.unwrap().name(), Some("listed"));
        named.abort();
        within(&mut named).await.unwrap_err();
        let left: Vec<_> = procession::active_children();
        assert_eq!(
            left.iter()
                .map(|child| Some(child.pid()))
                .collect::<Vec<_>>(),
            [other.pid()]
        );
        other.abort();
        within(&mut other).await.unwrap_err();
        assert!(procession::active_children().is_empty());
    })
    .await;
}

#[procession::test]
async fn a_child_knows_who_it_is() {
    type Known = (
        bool,
        Option<String>,
        Option<u32>,
        Option<usize>,
        Option<String>,
    );
    fn known() -> Known {
        let current = procession::current();
        (
            current.is_child(),
            current.name().map(str::to_owned),
            current.parent_pid(),
            current.worker_number(),
            current.pool_name().map(str::to_owned),
        )
    }
    assert_eq!(known(), (false, None, None, None, None));
    assert!(procession::current().task_id().is_none());
    let there = within(Process::builder().name("me").spawn(known, ()))
        .await
        .unwrap();
    let expected = (
        true,
        Some("me".to_owned()),
        Some(std::process::id()),
        None,
        None,
    );
    assert_eq!(there, expected);
    let has_task = || procession::current().task_id().is_some();
    assert!(within(procession::spawn(has_task, ())).await.unwrap());
}

#[procession::test]
async fn the_parent_it_knows_is_its_parent() {
    let parents = || {
        (
            procession::current().parent_pid(),
            std::os::unix::process::parent_id(),
        )
    };
    let (known, real) = within(procession::spawn(parents, ())).await.unwrap();
    assert_eq!(known, Some(real));
}

#[procession::test]
async fn its_number_is_known_from_its_start_on() {
    alone("its_number_is_known_from_its_start_on", async {
        let mut handle = procession::spawn(std::process::id, ());
        assert_eq!(handle.pid(), None);
        assert!(!handle.is_finished());
        until(|| handle.pid().is_some()).await;
        let pid = within(&mut handle).await.unwrap();
        assert_eq!(handle.pid(), Some(pid));
        assert!(handle.is_finished());
    })
    .await;
}

#[procession::test]
async fn it_leads_a_group_of_its_own() {
    let group = || {
        rustix::process::getpgrp()
            .as_raw_nonzero()
            .get()
            .cast_unsigned()
    };
    let mut handle = procession::spawn(group, ());
    let found = within(&mut handle).await.unwrap();
    assert_eq!(handle.pid(), Some(found));
}

#[procession::test]
async fn it_can_step_back_for_others() {
    let nice = || rustix::process::getpriority_process(None).unwrap();
    let own = nice();
    let default = within(procession::spawn(nice, ())).await.unwrap();
    let nicer = within(Process::builder().nice(3).nice(10).spawn(nice, ()))
        .await
        .unwrap();
    assert_eq!((default, nicer), (own, (own + 10).min(19)));
}

#[procession::test]
async fn a_handle_can_be_polled_between_other_things() {
    alone("a_handle_can_be_polled_between_other_things", async {
        let all = || io::read_to_string(io::stdin()).unwrap();
        let mut handle = Process::builder().stdin(Stdio::piped()).spawn(all, ());
        let mut stdin = handle.take_stdin().unwrap();
        for _ in 0..20 {
            tokio::select! {
                biased;
                outcome = &mut handle => panic!("{outcome:?}"),
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
        }
        within(stdin.write_all(b"done")).await.unwrap();
        drop(stdin);
        assert_eq!(within(&mut handle).await.unwrap(), "done");
    })
    .await;
}

#[procession::test]
async fn many_at_once() {
    alone("many_at_once", async {
        let handles = (0..60_u32).map(|n| procession::spawn(|n: u32| n * n, n));
        let outcomes = within(join_all(handles)).await;
        let squares: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
        assert_eq!(squares, (0..60).map(|n| n * n).collect::<Vec<_>>());
    })
    .await;
}

/// A result is there although what the child started still holds the child's streams.
#[procession::test]
async fn a_program_left_behind_delays_nobody() {
    alone("a_program_left_behind_delays_nobody", async {
        fn leaves_one() -> u32 {
            let mut command = std::process::Command::new("sleep");
            command.arg("1000").spawn().unwrap().id()
        }
        let mut handle = Process::builder()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn(leaves_one, ());
        let stdout = handle.take_stdout().unwrap();
        let program = within(handle).await.unwrap();
        let mut lines = BufReader::new(stdout).lines();
        assert!(
            lines.next_line().now_or_never().is_none(),
            "the program has it still"
        );
        let pid = rustix::process::Pid::from_raw(program as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        assert_eq!(within(lines.next_line()).await.unwrap(), None);
    })
    .await;
}

/// What still runs in the child when the function has returned goes with it: a thread, a blocking
/// call of its runtime, a task.
#[procession::test]
async fn what_is_unfinished_in_the_child_delays_nobody() {
    alone("what_is_unfinished_in_the_child_delays_nobody", async {
        async fn returns() -> u32 {
            std::thread::spawn(parked);
            tokio::spawn(std::future::pending::<()>());
            let (started, starts) = tokio::sync::oneshot::channel();
            tokio::task::spawn_blocking(|| {
                let _ = started.send(());
                parked();
            });
            starts.await.unwrap();
            5
        }
        assert_eq!(within(procession::spawn(returns, ())).await.unwrap(), 5);
    })
    .await;
}

#[test]
fn handles_go_anywhere_and_can_be_shown() {
    fn anywhere<T: Send + Unpin + Debug + 'static>() {}
    fn shared<T: Send + Sync + Unpin + Debug + Clone + 'static>() {}
    anywhere::<ProcessHandle<u32>>();
    anywhere::<ProcessHandle<std::cell::Cell<u32>>>();
    anywhere::<procession::ProcessBuilder>();
    anywhere::<procession::ChildStdin>();
    anywhere::<procession::ChildStdout>();
    anywhere::<procession::ChildStderr>();
    shared::<procession::AbortHandle>();
    shared::<procession::ChildInfo>();
    shared::<procession::CurrentProcess>();
    struct Unshown;
    anywhere::<ProcessHandle<Unshown>>();
    fn end<R: 'static>(handle: &ProcessHandle<R>) -> impl Send + Unpin + 'static + use<R> {
        handle.exited()
    }
    let _ = end::<u8>;
}
