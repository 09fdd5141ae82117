//! What the parent learns about a child that was asked for, over that child's control socket.
//!
//! A message that cannot be sent is not sent again: the parent then sees the end of the socket, or the other
//! announcement.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use crate::transfer::control::ControlSocket;
use crate::transfer::messages::{FromChild, Refusal};

/// In the fork server: the child exists.
pub(super) fn announce(child: &ControlSocket, pid: u32, pidfd: &OwnedFd) {
    let _ = child.send(&FromChild::Forked { pid }, &[pidfd.as_fd()]);
}

/// In the child: it exists. The fork server may have been killed before it could say so.
pub(super) fn announce_self(control: &ControlSocket) {
    let pid = std::process::id();
    let _ = control.send(&FromChild::Forked { pid }, &[]);
}

/// There is no such child.
pub(super) fn refuse(child: &ControlSocket, refusal: Refusal) {
    let _ = child.send(&FromChild::Refused(refusal), &[]);
}

/// What a fork that failed with this error means.
pub(super) fn refusal(error: &io::Error) -> Refusal {
    match error.raw_os_error() {
        // A kernel that does not know the system call, or a filter that forbids it, refuses every fork.
        Some(libc::ENOSYS | libc::EPERM | libc::EINVAL) | None => {
            Refusal::Unfit(format!("this process could not be copied: {error}"))
        }
        Some(errno) => Refusal::Failed { errno },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_call_that_is_forbidden_means_that_no_child_can_be_forked() {
        for errno in [libc::ENOSYS, libc::EPERM, libc::EINVAL] {
            let refusal = refusal(&io::Error::from_raw_os_error(errno));
            assert!(matches!(refusal, Refusal::Unfit(_)));
        }
        assert!(matches!(
            refusal(&io::Error::other("threads")),
            Refusal::Unfit(_)
        ));
    }

    #[test]
    fn shortage_is_of_this_child_only() {
        for errno in [libc::ENOMEM, libc::EAGAIN, libc::ENOENT] {
            let refusal = refusal(&io::Error::from_raw_os_error(errno));
            assert_eq!(refusal, Refusal::Failed { errno });
        }
    }
}
