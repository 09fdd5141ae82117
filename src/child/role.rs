//! Entering a child: reads the greeting and runs the role that it names.

use std::convert::Infallible as Never;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use super::fork_server;
use super::fork_server::Forked;
use super::setup::FAILED;
use super::single::ReleasedSpare;
use super::{pool_worker, single, stdio_helper};
use crate::sys::inheritable::Inheritable;
use crate::sys::{crash_handler, exit, hook, image, signal, socket, stdio};
use crate::transfer::control::ControlSocket;
use crate::transfer::greeting::{Greeting, Role};

/// Runs the child whose parent is at the other end of standard slot `slot`, and never returns.
pub(crate) fn serve(slot: u32) -> ! {
    match try_serve(slot) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("procession: this process was started as a child and cannot be one: {error}");
            std::process::exit(FAILED)
        }
    }
}

fn try_serve(slot: u32) -> io::Result<Never> {
    exit::prepare();
    stdio::fill_standard_slots()?;
    if !socket::is_seqpacket(stdio::standard(slot)) {
        return Err(io::Error::other(format!(
            "{} is set, but no parent is there; unset it",
            hook::CHILD
        )));
    }
    let null = stdio::null()?;
    let control = ControlSocket::new(stdio::take_slot(slot, null.as_fd())?);
    drop(null);
    let inheritable = Inheritable::parse(&hook::child_value());
    hook::forget();
    signal::reset_inherited();
    // Before a preload or a task, whose handlers take the place of this one.
    crash_handler::install();
    let greeted = recv_greeting(&control)?;
    // Not before: without a greeting it is not certain that there is a parent, whose descriptors these are.
    inheritable.close();
    run_greeted(greeted, control)
}

/// Waits for the greeting of this program. It comes with descriptors.
fn recv_greeting(control: &ControlSocket) -> io::Result<(Greeting, Vec<OwnedFd>)> {
    let Some((greeting, fds)) = control.recv_greeting()? else {
        // The parent ended before it could send the greeting.
        std::process::exit(0)
    };
    check(&greeting)?;
    Ok((greeting, fds))
}

/// Runs the role that the greeting names.
fn run_greeted(
    (greeting, fds): (Greeting, Vec<OwnedFd>),
    control: ControlSocket,
) -> io::Result<Never> {
    match greeting.role {
        Role::StdioHelper => stdio_helper::run(&control),
        Role::Worker => pool_worker::run(greeting, fds, control),
        Role::Single => single::run(greeting, fds, control),
        Role::ForkServer => run_fork_server(fds, control),
    }
}

/// Forks children, and runs each in itself.
fn run_fork_server(fds: Vec<OwnedFd>, control: ControlSocket) -> io::Result<Never> {
    let has_preload = !fds.is_empty();
    let control = match has_preload {
        true => fork_server::run_preload(fds, control)?,
        false => control,
    };
    fork_server::prepare_to_fork(&control, has_preload);
    // Returns in the forks only, each with a control socket of its own.
    match fork_server::serve_requests(control)? {
        Forked::Child(control) => run_greeted(recv_greeting(&control)?, control),
        Forked::Spare(spare) => run_spare(*spare),
    }
}

/// Runs the role of a spare that was released.
fn run_spare(spare: ReleasedSpare) -> io::Result<Never> {
    check(&spare.greeting)?;
    match spare.greeting.role {
        Role::Single => single::run_released(spare),
        Role::Worker => {
            let (greeting, fds, control) = spare.into_worker();
            pool_worker::run(greeting, fds, control)
        }
        Role::StdioHelper | Role::ForkServer => {
            Err(io::Error::other("a spare cannot take this role"))
        }
    }
}

fn check(greeting: &Greeting) -> io::Result<()> {
    match greeting.fingerprint == image::fingerprint() {
        true => Ok(()),
        false => Err(io::Error::other("the parent is a different program")),
    }
}
