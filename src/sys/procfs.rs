//! What `/proc` says about processes.

use std::io;
use std::os::fd::AsRawFd as _;

/// What the main thread of a process is doing. It stays this process's, whoever has its number later.
#[derive(Debug)]
pub(crate) struct ProcStat(Option<std::fs::File>);

impl ProcStat {
    pub(crate) fn process(pid: u32) -> Self {
        let stat = std::fs::File::open(format!("/proc/{pid}/stat")).ok();
        // Not where a standard stream belongs, which the program may put there yet.
        Self(stat.filter(|it| it.as_raw_fd() > 2))
    }

    /// The letter that `proc_pid_stat(5)` explains; none if it has been reaped, or there was no descriptor for it.
    pub(crate) fn now(&self) -> Option<u8> {
        let mut bytes = [0; 64];
        let stat = self.0.as_ref()?;
        let len = std::os::unix::fs::FileExt::read_at(stat, &mut bytes, 0).ok()?;
        // Its name is in parentheses, has 15 bytes at most, and may hold parentheses.
        let end = bytes[..len].windows(2).rposition(|two| two == b") ")?;
        bytes.get(end + 2).copied()
    }
}

/// The number of threads of this process.
pub(crate) fn thread_count() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}
