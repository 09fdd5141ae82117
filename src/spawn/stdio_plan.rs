//! Where the standard streams and the control socket of an executed child go.
//!
//! Only the standard slots can be given to a child without leaving the `posix_spawn` path, so the child's end of the
//! control socket is in one of them until the child has moved it. The stream that belongs there comes with the
//! greeting. An opaque [`Stdio`] can only be given to a process: if all three streams are given, a helper process is
//! started with the first and sends it back.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::process::Stdio;

use super::command::{Reserve, command, start, take_pipes};
use super::greeting::greeting;
use super::spec::{ChildSpec, StdioSpec};
use crate::sys::{socket, stdio};
use crate::transfer::control::{ControlSocket, exactly};
use crate::transfer::greeting::Role;
use crate::transfer::messages::FromStdioHelper;

/// The streams of a child, and both ends of its control socket.
#[derive(Debug)]
pub(super) struct StdioPlan {
    pub(super) control: ControlSocket,
    child_end: OwnedFd,
    /// The standard slot of the child's end.
    pub(super) slot: u32,
    streams: [Option<Stdio>; 3],
    /// Streams that come with the greeting, and their standard slots.
    sent: Vec<(u32, OwnedFd)>,
    /// The parent's end of a piped stdin that comes with the greeting.
    stdin_pipe: Option<OwnedFd>,
}

impl StdioPlan {
    /// Plans the streams of a child. Blocks while a helper process runs, if all three are given.
    pub(super) fn new(streams: StdioSpec) -> io::Result<Self> {
        let mut plan = Self::with_slot(0)?;
        plan.streams = [streams.stdin, streams.stdout, streams.stderr];
        if let Some(stdin) = plan.streams[0].take() {
            plan.place_stdin(stdin)?;
        }
        Ok(plan)
    }

    fn with_slot(slot: u32) -> io::Result<Self> {
        let (ours, theirs) = socket::pair()?;
        Ok(Self {
            control: ControlSocket::new(ours),
            child_end: theirs,
            slot,
            streams: [None, None, None],
            sent: Vec::new(),
            stdin_pipe: None,
        })
    }

    /// Stdin is given, so the socket takes the place of another stream, or stdin comes with the greeting.
    fn place_stdin(&mut self, stdin: Stdio) -> io::Result<()> {
        for slot in [1, 2] {
            if self.streams[slot as usize].is_none() {
                let inherited = stdio::standard(slot);
                if stdio::is_inheritable(inherited) {
                    self.sent.push((slot, inherited.try_clone_to_owned()?));
                }
                self.slot = slot;
                self.streams[0] = Some(stdin);
                return Ok(());
            }
        }
        let (child_end, pipe) = resolve_stdin_in_helper(stdin)?;
        self.sent.push((0, child_end));
        self.stdin_pipe = pipe;
        Ok(())
    }

    /// The standard slots whose streams come with the greeting.
    pub(super) fn sent_slots(&self) -> Vec<u32> {
        self.sent.iter().map(|(slot, _)| *slot).collect()
    }

    /// The streams of [`StdioPlan::sent_slots`].
    pub(super) fn sent_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sent.iter().map(|(_, fd)| fd.as_fd())
    }

    /// Gives the command its streams. The parent's ends remain: of the socket, and of a stdin that was resolved.
    pub(super) fn apply(
        self,
        command: &mut async_process::Command,
    ) -> (ControlSocket, Option<OwnedFd>) {
        let [stdin, stdout, stderr] = self.streams;
        let mut slots = [
            stdin.unwrap_or_else(Stdio::null),
            stdout.unwrap_or_else(Stdio::inherit),
            stderr.unwrap_or_else(Stdio::inherit),
        ];
        slots[self.slot as usize] = Stdio::from(self.child_end);
        let [stdin, stdout, stderr] = slots;
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        (self.control, self.stdin_pipe)
    }
}

/// Finds out which descriptor an opaque stdin is, by giving it to a helper process that sends it back. Blocks.
///
/// Returns the child's end and, if stdin is piped, the parent's.
fn resolve_stdin_in_helper(stdin: Stdio) -> io::Result<(OwnedFd, Option<OwnedFd>)> {
    let mut plan = StdioPlan::with_slot(1)?;
    plan.streams[0] = Some(stdin);
    let spec = ChildSpec::default();
    plan.control
        .send(&greeting(&spec, Role::StdioHelper, &[]), &[])?;
    let mut command = command(&spec, plan.slot)?;
    let (control, _) = plan.apply(&mut command);
    let mut helper = start(&mut command, Reserve::take()?)?;
    // It holds the child's end of the socket. Closed, the socket ends when the helper dies.
    drop(command);
    let [pipe, _, _] = take_pipes(&mut helper)?;
    match control.recv()? {
        Some((FromStdioHelper::Stdin, fds)) => {
            let [child_end] = exactly(fds)?;
            Ok((child_end, pipe))
        }
        None => Err(io::Error::other(
            "the process that was to hand over a standard stream ended early",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_takes_the_place_of_a_stream_that_is_not_given() {
        let slot = |spec| StdioPlan::new(spec).unwrap().slot;
        assert_eq!(slot(StdioSpec::default()), 0);
        let (stdin, stdout) = (Some(Stdio::null()), Some(Stdio::null()));
        let spec = StdioSpec {
            stdin,
            ..StdioSpec::default()
        };
        assert_eq!(slot(spec), 1);
        let stdin = Some(Stdio::null());
        let spec = StdioSpec {
            stdin,
            stdout,
            stderr: None,
        };
        assert_eq!(slot(spec), 2);
    }
}
