//! A parent whose standard streams are closed.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::Stdio;

use procession::{ErrorKind, Process};

use crate::deadline::within;
use crate::leftovers::alone;

/// A program may close its own standard streams, as daemons do. What the library opens then must not
/// become the standard streams of a child.
#[procession::test]
async fn a_parent_without_standard_streams() {
    alone(
        "standard_streams::a_parent_without_standard_streams",
        async {
            let links =
                || [0, 1, 2].map(|slot| std::fs::read_link(format!("/proc/self/fd/{slot}")).ok());
            let mut found = Vec::new();
            for closed in [&[0][..], &[1], &[2], &[0, 1], &[1, 2], &[0, 1, 2]] {
                let away = AwayStreams::put(closed);
                for stdin in [None, Some(Stdio::null()), Some(Stdio::inherit())] {
                    let mut builder = Process::builder();
                    if let Some(stdin) = stdin {
                        builder = builder.stdin(stdin);
                    }
                    found.push((closed, within(builder.spawn(links, ())).await));
                }
                drop(away); // and with them what can be said about it
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
        },
    )
    .await;
}

/// Standard streams that are closed, until it is dropped.
struct AwayStreams(Vec<(i32, OwnedFd)>);

impl AwayStreams {
    fn put(slots: &[i32]) -> Self {
        let away = slots.iter().map(|slot| {
            // SAFETY: a standard stream is there, and this borrow of it ends before it is closed.
            let stream = unsafe { BorrowedFd::borrow_raw(*slot) };
            (*slot, rustix::io::fcntl_dupfd_cloexec(stream, 10).unwrap())
        });
        let away = away.collect();
        for slot in slots {
            // SAFETY: nobody owns a standard stream, so nobody's is taken away.
            unsafe { rustix::io::close(*slot) };
        }
        Self(away)
    }
}

impl Drop for AwayStreams {
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
