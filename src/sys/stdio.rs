//! The standard slots 0 to 2 of a process.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, IntoRawFd as _, OwnedFd};

use rustix::io::FdFlags;

/// Opens `/dev/null` at every standard slot where nothing is, so that nothing else comes to be there.
pub(crate) fn fill_standard_slots() -> io::Result<()> {
    loop {
        let null = null()?;
        if null.as_raw_fd() > 2 {
            return Ok(());
        }
        // It stays open as long as the process does, as standard streams do.
        let _ = null.into_raw_fd();
    }
}

/// Whether `fd` lies where a standard stream belongs.
pub(crate) fn is_at_standard_slot(fd: &OwnedFd) -> bool {
    fd.as_raw_fd() <= 2
}

/// Whether there is something at every standard slot.
pub(crate) fn has_standard_streams() -> bool {
    use rustix::stdio::{stderr, stdin, stdout};
    let slots = [stdin(), stdout(), stderr()];
    slots
        .iter()
        .all(|slot| rustix::io::fcntl_getfd(slot).is_ok())
}

/// Whether a child would inherit `standard`: not where a program has closed its standard stream and what was
/// opened since happens to lie there.
pub(crate) fn is_inheritable(standard: BorrowedFd<'_>) -> bool {
    rustix::io::fcntl_getfd(standard).is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC))
}

/// A stream that is always empty and takes everything.
pub(crate) fn null() -> io::Result<OwnedFd> {
    let mut options = std::fs::File::options();
    Ok(options.read(true).write(true).open("/dev/null")?.into())
}

/// Moves the descriptor at standard slot `slot` away and puts `replacement` there.
pub(crate) fn take_slot(slot: u32, replacement: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let stdin = rustix::stdio::stdin();
    let stdout = rustix::stdio::stdout();
    let stderr = rustix::stdio::stderr();
    let standard = [stdin, stdout, stderr][slot as usize % 3];
    let taken = rustix::io::fcntl_dupfd_cloexec(standard, 3)?;
    put_slot(slot, replacement)?;
    Ok(taken)
}

/// Puts `replacement` at standard slot `slot`, inheritable as standard streams are.
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
