//! A process per contender and round: bounded in time, with no process left behind.
//!
//! Each is the head of a process group of its own. The group is ended when its head has ended, when
//! it takes too long, and on Ctrl-C: otherwise rivals leave orphans behind, which
//! would use a CPU in the next contender's turn.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{self, Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::runtime;

/// How long one contender may take over one round. The slowest takes about five seconds.
const LIMIT: Duration = Duration::from_secs(60);
/// What a shell reports for a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// The group that is running; its head is not reaped before this is `None` again, so that the
/// number cannot be reused.
static RUNNING: Mutex<Option<Pid>> = Mutex::new(None);

/// Runs `command` to its end and returns its output, if it succeeded.
pub(crate) fn output_of(command: &mut Command) -> io::Result<String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()?;
    *running() = Some(Pid::from_child(&child));
    let output = until_gone(&mut child);
    running().take();
    let status = child.wait()?;
    if status.success() {
        output
    } else {
        Err(io::Error::other(format!("it ended with {status}")))
    }
}

/// Makes Ctrl-C end the running group, then this program.
pub(crate) fn end_with_ctrl_c() {
    thread::spawn(|| {
        if runtime::on_this_thread(tokio::signal::ctrl_c()).is_ok() {
            end_running();
            process::exit(INTERRUPTED);
        }
    });
}

/// Everything `child` prints until it ends. Does not reap it.
fn until_gone(child: &mut Child) -> io::Result<String> {
    let pid = Pid::from_child(child);
    let mut stdout = child.stdout.take().expect("stdout is piped");
    let (gone, is_gone) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut output = String::new();
            stdout.read_to_string(&mut output).map(|_| output)
        });
        scope.spawn(move || {
            if is_gone.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                end_running();
            }
        });
        let waited = waitid(
            WaitId::Pid(pid),
            WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
        );
        drop(gone);
        // The group's other processes would hold the pipe open too.
        end_running();
        let output = reader.join().expect("reading does not panic");
        waited?;
        output
    })
}

fn end_running() {
    if let Some(group) = *running() {
        // Fails only when the group is empty.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

fn running() -> MutexGuard<'static, Option<Pid>> {
    // A pid cannot be half written: a panic elsewhere does not make it worse.
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_comes_with_success_only_and_orphans_do_not_hold_it_up() {
        let shell = |script| output_of(Command::new("sh").args(["-c", script]));
        assert_eq!(
            shell("sleep 600 & echo hello").expect("it ends well"),
            "hello\n"
        );
        let error = shell("exit 3").expect_err("it does not end well");
        assert!(error.to_string().contains("exit status: 3"), "{error}");
    }
}
