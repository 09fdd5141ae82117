//! Workers cannot be started for want of processes, descriptors or memory: what waits fails with the reason, and the
//! pool heals when there is room again.

#![allow(unsafe_code, reason = "the C library changes the user in all threads")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use futures::StreamExt as _;
use procession::{Pool, PoolEvent, PoolEvents, Process, StartMethod};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::deadline::{until, within};
use crate::tasks::pid;

/// What there is none of.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Lack {
    /// `RLIMIT_NPROC`, which holds for a user that is not root.
    Processes,
    /// `RLIMIT_NOFILE`.
    Descriptors,
    /// `RLIMIT_AS`.
    Addresses,
    /// `pids.max` of this control group.
    Pids(PathBuf),
}

/// What ends the shortage when it is dropped.
struct Shortage {
    _taken: Vec<File>,
    cgroup: Option<PathBuf>,
    limit: Option<(Resource, Rlimit)>,
}

impl Lack {
    /// How errors name it.
    fn reason(&self) -> &'static str {
        match self {
            Self::Processes | Self::Pids(_) => "Resource temporarily unavailable",
            Self::Descriptors => "Too many open files",
            Self::Addresses => "Cannot allocate memory",
        }
    }

    /// What must be done before anything is started.
    fn prepare(&self) {
        match self {
            Self::Processes => become_a_user(),
            Self::Pids(group) => fs::write(group.join("cgroup.procs"), pid().to_string()).unwrap(),
            Self::Descriptors | Self::Addresses => {}
        }
    }

    /// Takes all there is.
    fn begin(&self) -> Shortage {
        let mut shortage = Shortage {
            _taken: Vec::new(),
            cgroup: None,
            limit: None,
        };
        match self {
            Self::Processes => shortage.limit = Some(lower(Resource::Nproc, 1)),
            Self::Addresses => shortage.limit = Some(lower(Resource::As, address_space())),
            Self::Descriptors => {
                let open = || File::open("/dev/null").ok();
                shortage._taken = std::iter::from_fn(open).collect();
            }
            Self::Pids(group) => {
                fs::write(group.join("pids.max"), "1").unwrap();
                shortage.cgroup = Some(group.join("pids.max"));
            }
        }
        shortage
    }
}

impl Drop for Shortage {
    fn drop(&mut self) {
        if let Some((resource, before)) = self.limit.take() {
            setrlimit(resource, before).unwrap();
        }
        if let Some(limit) = &self.cgroup {
            fs::write(limit, "max").unwrap();
        }
    }
}

/// Becomes a user that has no other processes.
fn become_a_user() {
    let user = 100_000 + pid();
    // SAFETY: takes integers.
    let changed = unsafe { libc::setresuid(user, user, user) };
    assert_eq!(changed, 0);
}

/// Sets a limit. Returns what it was.
fn lower(resource: Resource, limit: u64) -> (Resource, Rlimit) {
    let before = getrlimit(resource);
    let lower = Rlimit {
        current: Some(limit),
        ..before
    };
    setrlimit(resource, lower).unwrap();
    (resource, before)
}

/// How much this process has mapped, and a little for the allocator.
fn address_space() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
    pages * 4096 + (256 << 10)
}

/// The next event that says that the breaker has opened or closed: its cause, or `None`.
async fn breaker(events: &mut PoolEvents) -> Option<String> {
    loop {
        match within(events.next()).await.unwrap() {
            PoolEvent::BreakerOpened { cause } => return Some(cause.to_string()),
            PoolEvent::BreakerClosed => return None,
            _ => {}
        }
    }
}

/// An application that runs out of something, and has it again.
async fn starve(lack: Lack, executes: bool) {
    lack.prepare();
    let method = [StartMethod::ForkServer, StartMethod::Exec][usize::from(executes)];
    if !executes && !matches!(lack, Lack::Processes) {
        within(procession::warm_up()).await.unwrap();
    }
    let pool = Pool::builder().min_workers(0).max_workers(2);
    let pool = pool.start_method(method).build().unwrap();
    let mut events = pool.events();
    let shortage = lack.begin();
    for _ in 0..3 {
        let waits = pool.spawn(pid, ());
        let items = pool.map(|n: u32| n, 0..10).collect_all();
        let (one, items) = within(futures::future::join(waits, items)).await;
        let mut errors: Vec<_> = items.into_iter().map(Result::unwrap_err).collect();
        errors.push(one.unwrap_err());
        for error in errors {
            assert!(error.is_spawn() && !error.started(), "{error:?}");
            assert!(error.to_string().contains(lack.reason()), "{error}");
        }
        assert!(pool.metrics().breaker_open());
    }
    let cause = breaker(&mut events).await.unwrap();
    assert!(cause.contains(lack.reason()), "{cause}");
    drop(shortage);
    within(pool.run(pid, ())).await.unwrap();
    until(|| !pool.metrics().breaker_open()).await;
    assert_eq!(breaker(&mut events).await, None);
    assert_eq!(
        (pool.metrics().completed(), pool.metrics().failed()),
        (1, 33)
    );
    within(pool.shutdown()).await;
}

async fn starves_and_heals(lack: Lack) {
    // What executing needs, the application allocates: without memory it would abort.
    let may_execute = !matches!(lack, Lack::Addresses);
    for executes in [false, true].into_iter().filter(|it| !it || may_execute) {
        let application = Process::builder().start_method(StartMethod::Exec);
        let application = application.descriptor_limit(200);
        let outcome = within(application.spawn(starve, (lack.clone(), executes))).await;
        outcome.unwrap_or_else(|error| panic!("{lack:?}, {executes}: {error}"));
    }
}

#[procession::test]
async fn start_without_processes_fails_what_waits_and_heals() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: this test needs root, to become another user");
    }
    starves_and_heals(Lack::Processes).await;
}

#[procession::test]
async fn start_without_descriptors_fails_what_waits_and_heals() {
    starves_and_heals(Lack::Descriptors).await;
}

#[procession::test]
async fn start_without_memory_fails_what_waits_and_heals() {
    starves_and_heals(Lack::Addresses).await;
}

/// A control group that limits the number of processes, below the group of this process.
struct Group(PathBuf);

impl Group {
    fn new() -> Result<Self, String> {
        let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let mut tried = Vec::new();
        for line in own.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
                continue;
            };
            let root = match controllers {
                "" => "/sys/fs/cgroup",
                "pids" => "/sys/fs/cgroup/pids",
                _ => continue,
            };
            let group = Path::new(root).join(path.trim_start_matches('/'));
            let group = group.join(format!("procession-test-{}", pid()));
            let made = fs::create_dir(&group).map(|()| Self(group.clone()));
            match made.and_then(|it| fs::write(group.join("pids.max"), "max").map(|()| it)) {
                Ok(made) => return Ok(made),
                Err(error) => tried.push(format!("{}: {error}", group.display())),
            }
        }
        Err(tried.join(", "))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[procession::test]
async fn start_over_the_limit_of_a_cgroup_fails_what_waits_and_heals() {
    match Group::new() {
        Ok(group) => starves_and_heals(Lack::Pids(group.0.clone())).await,
        Err(why) => eprintln!("skipped: no control group for processes can be made: {why}"),
    }
}
