//! What a test harness does, for tests that are programs with a `main` of their own.
//!
//! Such a program is run twice. As the *test* it runs itself once more, in a role, as a user would run
//! it, and looks at what came of it. In the role it is the program that is tested: it notes that its
//! `main` was there, and its exit status says whether all was well.

#![allow(dead_code, reason = "no program needs all of it")]

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::leftovers;

/// The only test of a program.
const NAME: &str = "program";

const ROLE: &str = "PROCESSION_TEST_ROLE";
const RECORD: &str = "PROCESSION_TEST_RECORD";
const FAMILY: &str = "PROCESSION_TEST_FAMILY";

/// How long a program may run. None has much to do.
const LIMIT: Duration = Duration::from_secs(60);

/// How long what it started may outlive it.
const AFTERLIFE: Duration = Duration::from_secs(2);

/// What the program is run as, or `None` for the test.
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Notes that `main` came to where this is called.
pub(crate) fn record() {
    if let Some(path) = std::env::var_os(RECORD) {
        let file = File::options().append(true).create(true).open(path);
        let note = format!("{}\n", std::process::id());
        file.expect("the record can be opened")
            .write_all(note.as_bytes())
            .expect("the record can be written");
    }
}

/// Runs `body`, unless the caller of this test only wants to know its name or wants others.
pub(crate) fn test(body: impl FnOnce()) {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if has("--list") {
        if !has("--ignored") {
            let mut stdout = std::io::stdout();
            writeln!(stdout, "{NAME}: test").expect("stdout is open");
        }
        return;
    }
    if is_wanted(&arguments) {
        body();
    }
}

fn is_wanted(arguments: &[String]) -> bool {
    let mut filters = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--skip" | "--test-threads" | "--format" | "--color" | "--logfile" | "-Z" => {
                let value = rest.next();
                if argument == "--skip" && value.is_some_and(|value| NAME.contains(value)) {
                    return false;
                }
            }
            "--ignored" => return false,
            flag if flag.starts_with('-') => {}
            filter => filters.push(filter),
        }
    }
    filters.is_empty() || filters.iter().any(|filter| NAME.contains(filter))
}

/// What came of a run in a role.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: ExitStatus,
    /// Who came to where `main` notes it.
    pub(crate) recorded: Vec<String>,
    /// What was said on stderr.
    pub(crate) cried: String,
}

impl Run {
    /// All was well, and `main` was run once.
    #[track_caller]
    pub(crate) fn assert_well(&self) {
        assert!(self.status.success(), "{self:?}");
        self.assert_once();
    }

    #[track_caller]
    pub(crate) fn assert_once(&self) {
        assert_eq!(
            self.recorded.len(),
            1,
            "main was run {} times",
            self.recorded.len()
        );
    }

    #[track_caller]
    pub(crate) fn assert_ended_by(&self, signal: i32) {
        assert_eq!(self.status.signal(), Some(signal), "{self:?}");
    }
}

/// Runs this program in `role`, and sees that it and all it started are gone.
pub(crate) fn play(role: &str) -> Run {
    play_at(Path::new("/proc/self/exe"), role)
}

/// The same with the program that lies at `path`.
pub(crate) fn play_at(path: &Path, role: &str) -> Run {
    let family = format!("{role}-{}", std::process::id());
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let record = directory.join(format!("record-{family}"));
    // A file and no pipe: nobody reads while it runs.
    let stderr = directory.join(format!("stderr-{family}"));
    let began = Instant::now();
    let mut program = Command::new(path);
    program
        .env(ROLE, role)
        .env(RECORD, &record)
        .env(FAMILY, &family)
        .stdin(Stdio::null())
        .stderr(File::create(&stderr).expect("a file can be made"));
    let mut running = program.spawn().expect("the program can be run again");
    let status = loop {
        if let Some(status) = running.try_wait().expect("a child can be waited for") {
            break status;
        }
        if began.elapsed() > LIMIT {
            leftovers::kill_marked(FAMILY, &family);
            panic!("as `{role}` it did not end in {LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let ended = Instant::now();
    loop {
        let left = leftovers::marked(FAMILY, &family);
        if left.is_empty() {
            break;
        }
        if ended.elapsed() > AFTERLIFE {
            leftovers::kill_marked(FAMILY, &family);
            panic!("as `{role}` it left {left:?}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Run {
        status,
        recorded: take(record).lines().map(str::to_owned).collect(),
        cried: take(stderr),
    }
}

/// What is in a file that is not needed any more.
fn take(path: PathBuf) -> String {
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let _ = std::fs::remove_file(path);
    text
}
