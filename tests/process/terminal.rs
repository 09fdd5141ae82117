//! An application that has a terminal, whose children are not in its foreground group.

#![allow(unsafe_code, reason = "a terminal has no other interface")]

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, IntoRawFd as _};

use procession::Process;

use crate::deadline::within;
use crate::{METHODS, by};

/// Gives this process, which leads a session, a terminal that stops background output. Returns its other side.
fn take_terminal() -> File {
    // SAFETY: takes integers.
    let master = unsafe { libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC) };
    assert!(master >= 0, "{}", io::Error::last_os_error());
    // SAFETY: it was opened above, and has no other owner.
    let master = unsafe { File::from_raw_fd(master) };
    // SAFETY: takes an integer.
    let unlocked = unsafe { libc::unlockpt(master.as_raw_fd()) };
    assert_eq!(unlocked, 0);
    // SAFETY: takes integers.
    let terminal = unsafe {
        libc::ioctl(
            master.as_raw_fd(),
            libc::TIOCGPTPEER,
            libc::O_RDWR | libc::O_NOCTTY,
        )
    };
    assert!(terminal >= 0, "{}", io::Error::last_os_error());
    // SAFETY: takes integers.
    let taken = unsafe { libc::ioctl(terminal, libc::TIOCSCTTY, 0) };
    assert_eq!(taken, 0, "{}", io::Error::last_os_error());
    for slot in 0..3 {
        // SAFETY: takes integers; the standard streams are this process's.
        assert_eq!(unsafe { libc::dup2(terminal, slot) }, slot);
    }
    change_terminal(libc::TOSTOP).unwrap();
    master
}

/// Sets a local mode of the terminal at stdout.
fn change_terminal(mode: libc::tcflag_t) -> Result<(), String> {
    // SAFETY: all-zero is a valid value of this structure.
    let mut attributes: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: stores one structure.
    if unsafe { libc::tcgetattr(1, &raw mut attributes) } != 0 {
        return Err(io::Error::last_os_error().to_string());
    }
    attributes.c_lflag |= mode;
    // SAFETY: reads one structure.
    match unsafe { libc::tcsetattr(1, libc::TCSANOW, &raw const attributes) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().to_string()),
    }
}

fn print() -> Result<(), String> {
    writeln!(io::stdout(), "hello").map_err(|error| error.to_string())
}

fn read() -> Option<i32> {
    let mut terminal = File::open("/dev/tty").unwrap();
    terminal.read(&mut [0]).unwrap_err().raw_os_error()
}

/// A program that a task starts is in the background, too.
fn read_in_a_program() -> bool {
    let read = std::process::Command::new("sh")
        .args(["-c", "read line </dev/tty"])
        .status();
    !read.unwrap().success()
}

async fn application() {
    // Open until this process has ended: its end hangs the terminal up, which kills the session's leader.
    let _ = take_terminal().into_raw_fd();
    for method in METHODS {
        within(by(method).spawn(print, ())).await.unwrap().unwrap();
        let changing = by(method).spawn(change_terminal, libc::ECHO);
        within(changing).await.unwrap().unwrap();
        let errno = within(by(method).spawn(read, ())).await.unwrap();
        assert_eq!(errno, Some(libc::EIO), "{method:?}");
        assert!(
            within(by(method).spawn(read_in_a_program, ()))
                .await
                .unwrap()
        );
    }
}

#[procession::test]
async fn terminal_stops_no_process() {
    // A detached process leads a session, in which it can take a terminal.
    within(Process::builder().detach(true).spawn(application, ()))
        .await
        .unwrap();
}
