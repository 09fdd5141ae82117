//! Facts about processes that `/proc` shows.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::sync::LazyLock;

/// The state of a process's main thread. The open file keeps showing this process when its number is reused.
#[derive(Debug)]
pub(crate) struct ProcStat(Option<std::fs::File>);

impl ProcStat {
    pub(crate) fn process(pid: u32) -> Self {
        Self::open(&format!("/proc/{pid}/stat"))
    }

    fn open(path: &str) -> Self {
        let stat = std::fs::File::open(path).ok();
        // A descriptor in a standard slot would be overwritten when the program opens that stream.
        Self(stat.filter(|it| it.as_raw_fd() > 2))
    }

    /// The letter of the state (`proc_pid_stat(5)`). `None` if the process was reaped or its file could not be opened.
    pub(crate) fn now(&self) -> Option<u8> {
        let mut bytes = [0; 64];
        let stat = self.0.as_ref()?;
        let len = std::os::unix::fs::FileExt::read_at(stat, &mut bytes, 0).ok()?;
        // The name stands in parentheses, has at most 15 bytes, and may contain parentheses.
        let end = bytes[..len].windows(2).rposition(|two| two == b") ")?;
        bytes.get(end + 2).copied()
    }
}

/// The letter of the state of a process, and the tick in which it has started (`proc_pid_stat(5)`). `None` if there is
/// no such process.
pub(crate) fn state_and_start(pid: u32) -> Option<(u8, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may contain parentheses.
    let (_, behind) = stat.rsplit_once(") ")?;
    let started = behind.split(' ').nth(FROM_STATE_TO_START)?.parse().ok()?;
    Some((*behind.as_bytes().first()?, started))
}

/// How many fields behind the state the start of a process is.
const FROM_STATE_TO_START: usize = 19;

/// What has become of a process that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgramState {
    /// It runs the program that it was started with, as far as can be seen.
    Unchanged,
    /// It runs another program, or the same from its beginning (`execve(2)`).
    Replaced,
    /// Its main thread has ended, and others have not.
    WithoutMainThread,
}

impl ProgramState {
    /// Looks at the unreaped process `pid`, whose program has mapped the memory with this name. Waits for changes of
    /// that process's mappings.
    pub(crate) fn of(pid: u32, memory_name: &str) -> Self {
        if matches!(ProcStat::process(pid).now(), Some(b'Z' | b'X')) {
            return Self::WithoutMainThread;
        }
        match std::fs::read(format!("/proc/{pid}/maps")) {
            // It is ending.
            Ok(maps) if maps.is_empty() => Self::Unchanged,
            Ok(maps) => match has(&maps, format!("/memfd:{memory_name} ").as_bytes()) {
                true => Self::Unchanged,
                false => Self::Replaced,
            },
            // It may not be looked at (`ptrace(2)`, "Ptrace access mode checking"), or there is no `/proc`.
            Err(_) => Self::Unchanged,
        }
    }
}

fn has(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|part| part == wanted)
}

/// Whether the thread `thread` of this process has ended. False if that cannot be found out.
pub(crate) fn has_thread_ended(thread: u32) -> bool {
    let own = std::process::id();
    let stat = ProcStat::open(&format!("/proc/{own}/task/{thread}/stat"));
    match stat.now() {
        Some(state) => matches!(state, b'Z' | b'X'),
        // The directory is there, so the thread is not.
        None => std::fs::read_dir(format!("/proc/{own}/task")).is_ok(),
    }
}

/// Whether `pidfd` is known to be another process than `pid` (`/proc/PID/fdinfo`, `pidfd_open(2)`), or no pidfd. Of a
/// process that has been reaped, or that `/proc` does not show, nothing is known.
pub(crate) fn pidfd_is_of_another(pidfd: impl AsFd, pid: u32) -> bool {
    // In another namespace, `/proc` has other numbers.
    static HAS_OWN_NUMBERS: LazyLock<bool> = LazyLock::new(|| {
        let own = std::fs::read_link("/proc/self").ok();
        own.is_some_and(|own| own.as_os_str() == std::process::id().to_string().as_str())
    });
    if !*HAS_OWN_NUMBERS {
        return false;
    }
    let number = pidfd.as_fd().as_raw_fd();
    let Ok(info) = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")) else {
        return false;
    };
    let named = info.lines().find_map(|line| line.strip_prefix("Pid:"));
    match named.map(|it| it.trim().parse::<i64>()) {
        Some(Ok(named)) => named > 0 && named != i64::from(pid),
        _ => true,
    }
}

/// The number of threads of this process.
pub(crate) fn thread_count() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// Whether all threads of this process but the calling one are ending. False if that cannot be seen.
pub(crate) fn other_threads_are_ending() -> bool {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return false;
    };
    let own = rustix::thread::gettid().to_string();
    let mut others = threads
        .filter_map(Result::ok)
        .filter(|it| *it.file_name() != *own);
    others.all(|it| match std::fs::read_to_string(it.path().join("stat")) {
        Ok(stat) => is_ending(&stat),
        // It has ended, or its descriptor would be one too many.
        Err(error) => matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)),
    })
}

/// Whether a thread with this `stat` is ending. The kernel sets the flag before a join of the thread returns (`do_exit` in
/// `kernel/exit.c`).
fn is_ending(stat: &str) -> bool {
    const PF_EXITING: u32 = 4;
    // The name stands in parentheses and may contain parentheses.
    let behind = stat.rsplit_once(") ").map(|(_, behind)| behind);
    let flags = behind.and_then(|it| it.split(' ').nth(FROM_STATE_TO_FLAGS)?.parse::<u32>().ok());
    flags.is_some_and(|it| it & PF_EXITING != 0)
}

/// How many fields behind the state the flags are.
const FROM_STATE_TO_FLAGS: usize = 6;

/// The number of descriptors that this process has room for (`FDSize`, `proc_pid_status(5)`): all of its descriptors
/// are below. 0 without `/proc`.
pub(crate) fn descriptor_table_size() -> i32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let size = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
    size.and_then(|size| size.trim().parse().ok()).unwrap_or(0)
}

/// How much memory a process has, in bytes (`proc_pid_status(5)`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MemoryUse {
    /// The most that was ever resident.
    peak: u64,
    /// Resident memory of no file.
    anonymous: u64,
    /// Resident memory of files, and shared memory.
    shared: u64,
}

impl MemoryUse {
    /// The memory of the process `pid` now. `None` if it has ended.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
    }

    fn parse(status: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
        };
        Some(Self {
            peak: field("VmHWM:")?,
            anonymous: field("RssAnon:")?,
            shared: field("RssFile:")? + field("RssShmem:")?,
        })
    }

    /// How much more than at an `earlier` time the process has, or had at its peak. Memory of files, and memory that it
    /// shares with others, does not count.
    pub(crate) fn growth(self, earlier: Self) -> u64 {
        let now = self.anonymous.saturating_sub(earlier.anonymous);
        let other = earlier.anonymous + self.shared.max(earlier.shared);
        now.max(self.peak.saturating_sub(other))
    }
}

/// The bytes that the process `pid` shares with no other process (`proc_pid_smaps(5)`). 0 if it has ended.
pub(crate) fn private_memory(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let kibibytes = rollup
        .lines()
        .filter(|line| line.starts_with("Private_"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kibibytes.sum::<u64>() * 1024
}

#[cfg(test)]
mod tests {
    use rustix::process::{PidfdFlags, getpid, pidfd_open};

    use super::*;

    #[test]
    fn memory_of_files_is_no_growth() {
        let parse = |peak, anonymous, file| {
            let status = format!(
                "Name:\tVmHWM: 1 kB\nVmHWM:\t {peak} kB\nRssAnon:\t{anonymous} kB\nRssFile:\t{file} kB\nRssShmem:\t0 kB\n"
            );
            MemoryUse::parse(&status).unwrap()
        };
        let start = parse(30, 10, 20);
        assert_eq!(parse(80, 10, 70).growth(start), 0);
        assert_eq!(parse(60, 40, 20).growth(start), 30 * 1024);
        // It was given back.
        assert_eq!(parse(90, 10, 20).growth(start), 60 * 1024);
        assert_eq!(MemoryUse::parse("State:\tZ (zombie)\n"), None);
    }

    #[test]
    fn thread_that_is_ending_has_a_flag() {
        assert!(is_ending("7 (a) b) R 1 7 7 0 -1 4194372 5 0"));
        assert!(!is_ending("7 (a) b) R 1 7 7 0 -1 4194368 5 0"));
        assert!(!is_ending("7 (a"));
    }

    #[test]
    fn thread_that_waits_is_not_ending() {
        let (hold, waits) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || waits.recv());
        assert!(!other_threads_are_ending());
        drop(hold);
        let _ = thread.join();
    }

    #[test]
    fn memory_of_this_process_is_found() {
        let found = MemoryUse::of(std::process::id()).unwrap();
        assert!(found.peak >= found.anonymous && found.anonymous > 0);
    }

    #[test]
    fn pidfd_names_its_process() {
        let own = std::process::id();
        let pidfd = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        assert!(!pidfd_is_of_another(&pidfd, own));
        assert!(pidfd_is_of_another(&pidfd, own + 1));
        assert!(pidfd_is_of_another(&pidfd, 1));
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(pidfd_is_of_another(&file, own));
    }
}
