//! The test harness of programs with a `main` of their own.
//!
//! Such a program runs twice. As the *test* it starts itself in a role, as a user would start it, and checks the
//! result. In the role it is the program under test: it records that its `main` ran, and its exit status says
//! whether its assertions held.

#![allow(dead_code, reason = "no program needs all of it")]

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::leftovers;

/// The name of the only test of a program.
const NAME: &str = "program";

const ROLE: &str = "PROCESSION_TEST_ROLE";
const RECORD: &str = "PROCESSION_TEST_RECORD";
const FAMILY: &str = "PROCESSION_TEST_FAMILY";

/// How long a program may run.
const LIMIT: Duration = Duration::from_secs(120);

/// How long the processes that a program started may outlive it, on a machine under load.
const CLEANUP_LIMIT: Duration = Duration::from_secs(60);

/// The role of this process; `None` for the test.
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Records that `main` of this process has come to this call.
pub(crate) fn record() {
    if let Some(path) = std::env::var_os(RECORD) {
        let file = File::options().append(true).create(true).open(path);
        let note = format!("{}\n", std::process::id());
        file.expect("the record can be opened")
            .write_all(note.as_bytes())
            .expect("the record can be written");
    }
}

/// Runs `body`, unless the arguments ask for a list of tests or filter this test out.
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
    if is_selected(&arguments) {
        body();
    }
}

fn is_selected(arguments: &[String]) -> bool {
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

/// The result of a run in a role.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: ExitStatus,
    /// The pids of the processes that called [`record`].
    pub(crate) recorded: Vec<String>,
    /// The output to stderr.
    pub(crate) stderr: String,
}

impl Run {
    /// Asserts that the status is 0 and `main` ran once.
    #[track_caller]
    pub(crate) fn assert_success(&self) {
        assert!(self.status.success(), "{self:?}");
        self.assert_main_ran_once();
    }

    /// Asserts that `main` ran once. The status may be any.
    #[track_caller]
    pub(crate) fn assert_main_ran_once(&self) {
        assert_eq!(
            self.recorded.len(),
            1,
            "main ran {} times",
            self.recorded.len()
        );
    }

    #[track_caller]
    pub(crate) fn assert_ended_by(&self, signal: i32) {
        assert_eq!(self.status.signal(), Some(signal), "{self:?}");
    }
}

/// Runs this program in `role`, and asserts that afterwards no process of it is left.
pub(crate) fn run_in_role(role: &str) -> Run {
    run_file_in_role(Path::new("/proc/self/exe"), role)
}

/// The same with the program at `path`.
pub(crate) fn run_file_in_role(path: &Path, role: &str) -> Run {
    let family = format!("{role}-{}", std::process::id());
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let record = directory.join(format!("record-{family}"));
    // A file, because a pipe that is not read while the program runs could block it.
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
            leftovers::processes::kill_marked(FAMILY, &family);
            panic!("in the role `{role}` the program did not end in {LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let ended = Instant::now();
    loop {
        let left = leftovers::processes::marked(FAMILY, &family);
        if left.is_empty() {
            break;
        }
        if ended.elapsed() > CLEANUP_LIMIT {
            leftovers::processes::kill_marked(FAMILY, &family);
            panic!("in the role `{role}` the program left {left:?}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Run {
        status,
        recorded: read_and_remove(record).lines().map(str::to_owned).collect(),
        stderr: read_and_remove(stderr),
    }
}

/// The content of a file, which is removed.
fn read_and_remove(path: PathBuf) -> String {
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let _ = std::fs::remove_file(path);
    text
}
