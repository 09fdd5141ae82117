//! Bundles: more descriptors than one message of a socket takes, sent with one message.
//!
//! The kernel takes at most 253 descriptors with one message (`SCM_MAX_FD`, `unix(7)`). More of them are put into a
//! carrier: a socket in whose buffer they wait, in as many messages as it takes. One message then carries the carriers.
//!
//! Must stay true: the receiver of that message gets all descriptors or none. A sender that is killed before it sends
//! the message leaves carriers that no process has, which the kernel closes with what is in them.
//!
//! Never here: which messages have bundles; their senders and receivers agree on that.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use super::socket;
use super::socket::{DESCRIPTORS_PER_MESSAGE, ReceiveResult};

/// The length of a message in a carrier: the number of descriptors that come after it.
const COUNT_BYTES: usize = 8;

/// Puts `fds` into carriers.
///
/// # Errors
///
/// No descriptors are left for the carriers, or too many are in flight (`ETOOMANYREFS`).
#[cold]
pub(crate) fn pack(fds: &[BorrowedFd<'_>]) -> io::Result<Vec<OwnedFd>> {
    let mut left = fds;
    let mut carriers = Vec::new();
    while !left.is_empty() {
        let (carrier, before) = (fill_carrier(&mut left)?, carriers.len());
        if before == DESCRIPTORS_PER_MESSAGE {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        carriers.push(carrier);
    }
    Ok(carriers)
}

/// Puts as many of `left` into a carrier as there is room for.
fn fill_carrier(left: &mut &[BorrowedFd<'_>]) -> io::Result<OwnedFd> {
    let (filled, carrier) = socket::pair()?;
    let mut is_empty = true;
    while !left.is_empty() {
        let (now, later) = left.split_at(left.len().min(DESCRIPTORS_PER_MESSAGE));
        let count = (later.len() as u64).to_ne_bytes();
        match socket::send(&filled, &count, now) {
            Ok(()) => *left = later,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !is_empty => break,
            Err(error) => return Err(error),
        }
        is_empty = false;
    }
    Ok(carrier)
}

/// Takes the descriptors out of the carriers.
///
/// # Errors
///
/// Some descriptors are missing, or the descriptor table has no room for all. The descriptors that were taken are
/// closed.
#[cold]
pub(crate) fn unpack(carriers: Vec<OwnedFd>) -> io::Result<Vec<OwnedFd>> {
    let mut fds = Vec::new();
    let mut missing = None;
    for carrier in carriers {
        while missing != Some(0) {
            let before = fds.len();
            let Some(later) = take_message(&carrier, &mut fds)? else {
                break;
            };
            // A corrupted process may fill the carrier for as long as it is read.
            let taken = (fds.len() - before) as u64;
            let counted = later.checked_add(taken);
            if taken == 0 || missing.is_some_and(|missing| counted != Some(missing)) {
                return Err(io::Error::from(io::ErrorKind::InvalidData));
            }
            missing = Some(later);
        }
    }
    match missing {
        Some(0) => Ok(fds),
        _ => Err(socket::fds_are_missing()),
    }
}

/// Takes one message out of a carrier. Returns how many descriptors come after it, or `None` if the carrier is empty.
fn take_message(carrier: &OwnedFd, fds: &mut Vec<OwnedFd>) -> io::Result<Option<u64>> {
    let mut count = [0; COUNT_BYTES];
    match socket::receive(carrier.as_fd(), &mut count, fds, false) {
        Ok(ReceiveResult::Message(COUNT_BYTES)) => Ok(Some(u64::from_ne_bytes(count))),
        Ok(ReceiveResult::Message(_)) => Err(io::Error::from(io::ErrorKind::InvalidData)),
        Ok(ReceiveResult::WithoutFds(_)) => Err(socket::fds_are_missing()),
        Ok(ReceiveResult::End) => Ok(None),
        // A process that another thread is forking has a copy of the end that was filled.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    /// The inode of each descriptor.
    fn inodes(fds: &[OwnedFd]) -> Vec<u64> {
        let files = fds.iter().map(|fd| File::from(fd.try_clone().unwrap()));
        files.map(|it| it.metadata().unwrap().ino()).collect()
    }

    fn borrowed(fds: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
        fds.iter().map(|fd| fd.as_fd()).collect()
    }

    #[test]
    fn all_descriptors_come_back_in_order() {
        let sockets: Vec<_> = (0..300).map(|_| socket::pair().unwrap().0).collect();
        let carriers = pack(&borrowed(&sockets)).unwrap();
        assert_eq!(carriers.len(), 1);
        assert_eq!(inodes(&unpack(carriers).unwrap()), inodes(&sockets));
    }

    #[test]
    fn more_than_a_socket_holds_take_several_carriers() {
        let null = OwnedFd::from(File::open("/dev/null").unwrap());
        // No test may have so many open, so that they are not taken out here.
        let many = vec![null.as_fd(); 100_000];
        match pack(&many) {
            Ok(carriers) => assert!((2..DESCRIPTORS_PER_MESSAGE).contains(&carriers.len())),
            // A user without privileges may have only as many in flight as it may have open.
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ETOOMANYREFS)),
        }
    }

    /// Their writer could continue while they are read.
    #[test]
    fn messages_that_do_not_count_down_are_an_error() {
        let null = OwnedFd::from(File::open("/dev/null").unwrap());
        for (count, later) in [(0, 5), (1, 5), (2, 3)] {
            let (filled, carrier) = socket::pair().unwrap();
            let fds = vec![null.as_fd(); count];
            for later in [5_u64, later] {
                socket::send(&filled, &later.to_ne_bytes(), &fds).unwrap();
            }
            let error = unpack(vec![carrier]).unwrap_err();
            let is_said = error.kind() == io::ErrorKind::InvalidData;
            assert!(is_said || count == 2, "{count} {later}: {error}");
        }
    }

    #[test]
    fn bundle_without_its_last_carrier_is_an_error() {
        let null = OwnedFd::from(File::open("/dev/null").unwrap());
        let many = vec![null.as_fd(); 300];
        let (filled, carrier) = socket::pair().unwrap();
        socket::send(&filled, &300_u64.to_ne_bytes(), &many[..9]).unwrap();
        drop(filled);
        assert!(unpack(vec![carrier]).is_err());
        assert!(unpack(Vec::new()).is_err());
    }
}
