//! Where a child's stdout and stderr go, if that is not where the application's go.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;

use crate::sys::stdio;

/// Where the stdout and the stderr of a pool's workers go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Where those of the application go.
    #[default]
    Inherit,
    /// Nowhere (`/dev/null`).
    Null,
    /// Into the application, which reads it. With the feature `tracing`, each line is an event of the target
    /// `procession::output` with the fields `pool`, `worker`, `pid` and `stream`. Lines of more than 8 KiB are cut into
    /// several. The last 4 KiB of stderr are in the report of a crash
    /// ([`CrashReport::stderr`](crate::CrashReport::stderr)). Without the feature, the rest is dropped.
    Captured,
}

/// The streams of one child; `None` is the application's.
#[derive(Debug, Clone, Default)]
pub(crate) struct OutputFds([Option<Arc<OwnedFd>>; 2]);

impl OutputFds {
    /// Both streams go nowhere.
    pub(crate) fn null() -> io::Result<Self> {
        let null = Arc::new(stdio::null()?);
        Ok(Self([Some(Arc::clone(&null)), Some(null)]))
    }

    /// Both streams are pipes. Returns the ends to read from: of stdout and of stderr.
    pub(crate) fn piped() -> io::Result<(Self, [OwnedFd; 2])> {
        let (stdout, to_stdout) = stdio::pipe()?;
        let (stderr, to_stderr) = stdio::pipe()?;
        let fds = [to_stdout, to_stderr].map(|fd| Some(Arc::new(fd)));
        Ok((Self(fds), [stdout, stderr]))
    }

    /// The stream at the standard slot 1 or 2, if it is not the application's.
    pub(super) fn at(&self, slot: u32) -> Option<&OwnedFd> {
        let index = (slot as usize).checked_sub(1)?;
        self.0.get(index)?.as_deref()
    }

    /// As [`OutputFds::at`], for an executed child.
    pub(super) fn stdio(&self, slot: u32) -> io::Result<Option<Stdio>> {
        let fd = self.at(slot).map(OwnedFd::try_clone).transpose()?;
        Ok(fd.map(Stdio::from))
    }
}
