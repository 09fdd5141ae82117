//! The standard slots of a process: the descriptors 0 to 2.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, IntoRawFd as _, OwnedFd};

use rustix::io::FdFlags;

/// Opens `/dev/null` in every empty standard slot, so that no other descriptor gets its number.
pub(crate) fn fill_standard_slots() -> io::Result<()> {
    loop {
        let null = null()?;
        if null.as_raw_fd() > 2 {
            return Ok(());
        }
        // The descriptor stays open for the life of the process, as standard streams do.
        let _ = null.into_raw_fd();
    }
}

/// Whether `fd` lies in a standard slot.
pub(crate) fn is_at_standard_slot(fd: &OwnedFd) -> bool {
    fd.as_raw_fd() <= 2
}

/// Whether every standard slot has an open descriptor.
pub(crate) fn has_standard_streams() -> bool {
    use rustix::stdio::{stderr, stdin, stdout};
    let slots = [stdin(), stdout(), stderr()];
    slots
        .iter()
        .all(|slot| rustix::io::fcntl_getfd(slot).is_ok())
}

/// Whether a child would inherit `standard`. It would not if the program has closed its standard stream and another
/// descriptor, which is close-on-exec, got the slot.
pub(crate) fn is_inheritable(standard: BorrowedFd<'_>) -> bool {
    rustix::io::fcntl_getfd(standard).is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC))
}

/// Opens `/dev/null` for reading and writing.
pub(crate) fn null() -> io::Result<OwnedFd> {
    let mut options = std::fs::File::options();
    Ok(options.read(true).write(true).open("/dev/null")?.into())
}

/// A pipe: the end to read from, and the end to write into.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// Puts `replacement` into standard slot `slot` and returns the descriptor that was there.
pub(crate) fn take_slot(slot: u32, replacement: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let stdin = rustix::stdio::stdin();
    let stdout = rustix::stdio::stdout();
    let stderr = rustix::stdio::stderr();
    let standard = [stdin, stdout, stderr][slot as usize % 3];
    let taken = rustix::io::fcntl_dupfd_cloexec(standard, 3)?;
    put_slot(slot, replacement)?;
    Ok(taken)
}

/// Puts `replacement` into standard slot `slot`, inheritable as standard streams are.
pub(crate) fn put_slot(slot: u32, replacement: BorrowedFd<'_>) -> io::Result<()> {
    match slot {
        0 => rustix::stdio::dup2_stdin(replacement)?,
        1 => rustix::stdio::dup2_stdout(replacement)?,
        _ => rustix::stdio::dup2_stderr(replacement)?,
    }
    Ok(())
}

/// The standard stream at `slot`.
pub(crate) fn standard(slot: u32) -> BorrowedFd<'static> {
    match slot {
        0 => rustix::stdio::stdin(),
        1 => rustix::stdio::stdout(),
        _ => rustix::stdio::stderr(),
    }
}
