//! A parent whose standard streams are closed, as daemons close theirs.

#![allow(unsafe_code, reason = "no type of std closes a standard stream")]

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::Stdio;

use procession::{ErrorKind, Process};

use crate::deadline::within;
use crate::leftovers::alone;

/// Descriptors that the library opens have the numbers of the closed streams then. They must not become the standard
/// streams of a child.
#[procession::test]
async fn process_gets_no_library_descriptor_as_standard_stream() {
    let test = "standard_streams::process_gets_no_library_descriptor_as_standard_stream";
    alone(test, async {
        let links =
            || [0, 1, 2].map(|slot| std::fs::read_link(format!("/proc/self/fd/{slot}")).ok());
        let mut found = Vec::new();
        for closed in [&[0][..], &[1], &[2], &[0, 1], &[1, 2], &[0, 1, 2]] {
            let closed_streams = ClosedStreams::close(closed);
            for stdin in [None, Some(Stdio::null()), Some(Stdio::inherit())] {
                let mut builder = Process::builder();
                if let Some(stdin) = stdin {
                    builder = builder.stdin(stdin);
                }
                found.push((closed, within(builder.spawn(links, ())).await));
            }
            drop(closed_streams); // an assertion before this would print to a closed stream
        }
        let ours = |link: &PathBuf| {
            let link = link.to_string_lossy();
            link.contains("memfd") || link.contains("anon_inode") || link.contains("socket")
        };
        for (closed, outcome) in found {
            match outcome {
                Ok(links) => {
                    assert!(!links.iter().flatten().any(ours), "{closed:?}: {links:?}");
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Spawn, "{closed:?}: {error}"),
            }
        }
    })
    .await;
}

/// Closed standard streams, with copies of them: dropping the value opens them again.
struct ClosedStreams(Vec<(i32, OwnedFd)>);

impl ClosedStreams {
    fn close(slots: &[i32]) -> Self {
        let copies = slots.iter().map(|slot| {
            // SAFETY: the standard stream is open, and the borrow ends before it is closed.
            let stream = unsafe { BorrowedFd::borrow_raw(*slot) };
            (*slot, rustix::io::fcntl_dupfd_cloexec(stream, 10).unwrap())
        });
        let copies = copies.collect();
        for slot in slots {
            // SAFETY: no value owns a standard stream, so no owner loses its descriptor.
            unsafe { rustix::io::close(*slot) };
        }
        Self(copies)
    }
}

impl Drop for ClosedStreams {
    fn drop(&mut self) {
        for (slot, stream) in &self.0 {
            match slot {
                0 => rustix::stdio::dup2_stdin(stream),
                1 => rustix::stdio::dup2_stdout(stream),
                _ => rustix::stdio::dup2_stderr(stream),
            }
            .unwrap();
        }
    }
}
