//! The processes below a child, which may have left its group.
//!
//! Killing a group kills what has stayed in it. What leads a group or a session of its own (`setpgid(2)`, `setsid(2)`) is
//! found by its parent (`proc_tid_children(5)`): the child and all below it are stopped, until no new process is found,
//! and then killed. A process whose parent has ended, as a daemon's has, becomes a child of the nearest subreaper above
//! it (`prctl(2)`), which every child of this crate is. It is found as long as that child exists: what a child that
//! crashes has left in another group or session belongs to `init`, and is not found. A daemon that has ended is a
//! zombie of its worker, which keeps a few of them: a task might wait for them.
//!
//! Must stay true: a process is signalled by a pidfd, and only if it was a child of the tree after the pidfd was
//! opened, so a number that is used again does no harm.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use super::procfs::ProcStat;
use super::{signal, title};

/// More processes than this are not followed.
const MOST_PROCESSES: usize = 10_000;

/// A process with more threads is taken to have children.
const MOST_THREADS_ASKED: usize = 4;

/// How long killed processes may take to become children of this process and end, while this process ends.
const MOST_REAPING: Duration = Duration::from_secs(1);
/// The same on a thread for that alone. On a machine under load each of them waits for the processor to end.
const MOST_REAPING_ASIDE: Duration = Duration::from_secs(10);
/// So many ended children a process keeps. An orphan that it has adopted cannot be told from a process that a task has
/// started and waits for later, and no task waits for so many.
const MOST_ENDED: usize = 64;
const CHECK_PAUSE: Duration = Duration::from_millis(1);

/// Whether the process `pid` may have children. Takes about ten microseconds for each of its threads.
pub(crate) fn may_have_children(pid: u32) -> bool {
    let Ok(threads) = threads(pid) else {
        return false;
    };
    threads.len() > MOST_THREADS_ASKED || threads.iter().any(|it| !children(pid, *it).is_empty())
}

/// Makes this process the parent of all processes below it whose parents have ended.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(
        rustix::process::getpid(),
    ))?)
}

/// Reaps the oldest of the ended children of this process, as far as they are more than [`MOST_ENDED`]. The others
/// stay: a task may still wait for them.
pub(crate) fn reap_forgotten() {
    // One system call, and most processes have no children.
    if !signal::has_children() {
        return;
    }
    let own = std::process::id();
    let threads = threads(own).unwrap_or_default();
    let all = threads.into_iter().flat_map(|thread| children(own, thread));
    let ended: Vec<_> = all.filter(|pid| has_ended(*pid)).collect();
    for pid in &ended[..ended.len().saturating_sub(MOST_ENDED)] {
        if let Some(child) = Member::child(*pid, own) {
            child.try_reap();
        }
    }
}

/// Kills what is below this process and outside its group, because this process ends.
pub(crate) fn kill_escaped() {
    // One system call, and most processes have none.
    if !signal::has_children() {
        return;
    }
    let own = std::process::id();
    let Some((own_group, _)) = group_and_session(own) else {
        return;
    };
    let has_escaped = |member: &Member| {
        group_and_session(member.pid).is_some_and(|(group, _)| group != own_group)
    };
    let mut tree = ProcessTree::new(own);
    tree.find(|member| {
        if has_escaped(member) {
            member.signal(Signal::KILL);
        }
    });
    // Otherwise a parent that may not expect them would have to reap them. A process of the group may have started some of
    // them. The group is killed next, perhaps before that process has reaped them, so its children are waited for too.
    tree.members.retain(has_escaped);
    tree.reap_for(MOST_REAPING);
}

/// One process of a tree.
#[derive(Debug)]
struct Member {
    pid: u32,
    pidfd: OwnedFd,
}

impl Member {
    /// The process `pid`, if it is a child of `parent`, and no detached process, which is to outlive its parent.
    fn child(pid: u32, parent: u32) -> Option<Self> {
        let number = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let pidfd = rustix::process::pidfd_open(number, PidfdFlags::empty()).ok()?;
        let is_child = stat_numbers(pid)?.first() == Some(&parent);
        (is_child && !is_detached(pid)).then_some(Self { pid, pidfd })
    }

    /// Reaps it if it has ended and is a child of this process. True if it is gone.
    fn try_reap(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let reaped = rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options);
        matches!(reaped, Ok(Some(_))) || stat_numbers(self.pid).is_none()
    }

    /// Fails only if it has ended, or is another user's.
    fn signal(&self, signal: Signal) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, signal);
    }
}

/// The processes below a child.
#[derive(Debug)]
pub(crate) struct ProcessTree {
    root: u32,
    /// Shows whether `root` is still the same process.
    stat: ProcStat,
    members: Vec<Member>,
    known: HashSet<u32>,
}

impl ProcessTree {
    /// The tree below `root`, a process that is not reaped yet.
    pub(crate) fn new(root: u32) -> Self {
        Self {
            root,
            stat: ProcStat::process(root),
            members: Vec::new(),
            known: HashSet::new(),
        }
    }

    /// Kills all that is below the root, which was stopped, so that it starts nothing meanwhile.
    pub(crate) fn kill_below(&mut self) {
        self.find(|member| member.signal(Signal::STOP));
        for member in &self.members {
            member.signal(Signal::KILL);
        }
    }

    /// Reaps the processes that were killed, as they become children of this process. Waits for that on the calling
    /// thread.
    pub(crate) fn reap(&mut self) {
        self.reap_for(MOST_REAPING_ASIDE);
    }

    fn reap_for(&mut self, most: Duration) {
        let begin = Instant::now();
        while !self.members.is_empty() && begin.elapsed() < most {
            self.members.retain(|member| !member.try_reap());
            std::thread::sleep(pause_after(begin.elapsed()));
        }
    }

    /// Finds processes until there are no more that were not found before.
    fn find(&mut self, on_found: impl Fn(&Member)) {
        let mut before = None;
        while before != Some(self.members.len()) && self.members.len() < MOST_PROCESSES {
            before = Some(self.members.len());
            self.add_children(self.root, &on_found);
            let mut next = 0;
            while next < self.members.len() {
                self.add_children(self.members[next].pid, &on_found);
                next += 1;
            }
        }
    }

    fn add_children(&mut self, parent: u32, on_found: impl Fn(&Member)) {
        for thread in threads(parent).unwrap_or_default() {
            for pid in children(parent, thread) {
                if self.known.contains(&pid) {
                    continue;
                }
                let child = Member::child(pid, parent);
                // `parent` could be another process with the number of the root, if that was reaped.
                if let Some(member) = child.filter(|_| self.stat.now().is_some()) {
                    on_found(&member);
                    self.known.insert(pid);
                    self.members.push(member);
                }
            }
        }
    }
}

/// Whether the orphans among its descendants become children of this process: it is the first of its namespace
/// (`pid_namespaces(7)`), or a subreaper (`prctl(2)`).
pub(crate) fn adopts_orphans() -> bool {
    std::process::id() == 1 || rustix::process::child_subreaper().is_ok_and(|set| set.is_some())
}

/// Whether the group has a process that was not reaped.
pub(crate) fn group_exists(group: u32) -> bool {
    let group = i32::try_from(group).ok().and_then(Pid::from_raw);
    group.is_some_and(|it| rustix::process::test_kill_process_group(it) != Err(Errno::SRCH))
}

/// Reaps what is left of a killed group whose leader was reaped, as it becomes children of this process. Waits for that
/// on the calling thread. A child with the leader's number is another process, which got the number since.
pub(crate) fn reap_group(group: u32) {
    let (own, begin) = (std::process::id(), Instant::now());
    while group_exists(group) && begin.elapsed() < MOST_REAPING_ASIDE {
        let threads = threads(own).unwrap_or_default();
        for pid in threads.into_iter().flat_map(|thread| children(own, thread)) {
            let is_left = pid != group && group_and_session(pid).is_some_and(|it| it.0 == group);
            if let Some(member) = Member::child(pid, own).filter(|_| is_left) {
                member.try_reap();
            }
        }
        std::thread::sleep(pause_after(begin.elapsed()));
    }
}

/// How long to wait before the next look, `since` the first: longer and longer.
fn pause_after(since: Duration) -> Duration {
    CHECK_PAUSE.max(since / 20)
}

fn threads(pid: u32) -> io::Result<Vec<u32>> {
    let names = std::fs::read_dir(format!("/proc/{pid}/task"))?;
    let numbers = names.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(numbers.collect())
}

/// The children that a thread has started or adopted.
fn children(pid: u32, thread: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/children"));
    let list = list.unwrap_or_default();
    list.split_whitespace()
        .filter_map(|it| it.parse().ok())
        .collect()
}

/// The numbers in `/proc/PID/stat` behind the state (`proc_pid_stat(5)`): parent, group, session.
fn stat_numbers(pid: u32) -> Option<Vec<u32>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may contain parentheses.
    let (_, behind) = stat.rsplit_once(") ")?;
    let fields = behind.split(' ').skip(1).take(3);
    fields.map(|field| field.parse().ok()).collect()
}

/// Whether a child that is not reaped has ended.
fn has_ended(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let behind = stat.rsplit_once(") ").map(|(_, behind)| behind);
    behind.is_some_and(|behind| behind.starts_with('Z'))
}

fn group_and_session(pid: u32) -> Option<(u32, u32)> {
    match stat_numbers(pid)?[..] {
        [_, group, session] => Some((group, session)),
        _ => None,
    }
}

/// Whether the process leads a session and has the title of a detached process.
fn is_detached(pid: u32) -> bool {
    let leads = group_and_session(pid).is_some_and(|(_, session)| session == pid);
    leads
        && std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.starts_with(title::DETACHED.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_of_this_process_names_its_parent() {
        let numbers = stat_numbers(std::process::id()).unwrap();
        assert_eq!(numbers[0], std::os::unix::process::parent_id());
        assert_eq!(numbers.len(), 3);
    }

    #[test]
    fn process_that_left_the_group_is_found() {
        use std::os::unix::process::CommandExt as _;
        let mut sleep = std::process::Command::new("sleep");
        let mut sleep = sleep.arg("1000").process_group(0).spawn().unwrap();
        let own = std::process::id();
        let mut tree = ProcessTree::new(own);
        tree.find(|_| ());
        assert!(tree.known.contains(&sleep.id()));
        sleep.kill().unwrap();
        sleep.wait().unwrap();
        assert!(Member::child(sleep.id(), own).is_none());
    }
}
