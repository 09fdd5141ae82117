//! What runs in a fork server.
//!
//! One thread, which waits for a request, copies itself and answers. It holds nothing but its control
//! socket, so a copy has nothing to get rid of. Whatever fails is said to whoever asked; when nobody can
//! ask any more, it ends.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::hint::black_box;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::thread;

use super::role::FAILED;
use super::single::SingleTask;
use crate::call::envelope::WORKER_RING_BYTES;
use crate::call::panic_capture;
use crate::ring::Ring;
use crate::sys::clock::Moment;
use crate::sys::fork;
use crate::sys::fork::{MainThread, Sibling};
use crate::sys::prefault::Pages;
use crate::sys::{identity, limits, memory, signal, stdio, title};
use crate::transfer::control::{ControlSocket, Either};
use crate::transfer::env_block::EnvBlock;
use crate::transfer::fork_spec::{EnvSource, ForkSpec};
use crate::transfer::greeting::Greeting;
use crate::transfer::messages::{FromChild, FromForkServer, Refusal, ToForkServer, ToSpare};

/// What it is called in lists of processes.
const NAME: &str = "procession-fork";
const TITLE: &str = "procession: fork server";
const SPARE_NAME: &str = "procession-spare";
const SPARE_TITLE: &str = "procession: spare";

/// So many messages in a row that cannot be received mean that none can be.
const UNREADABLE: usize = 100;

/// Makes a prepared process ready to be copied, and says so, or that it cannot be.
pub(super) fn settle(control: &ControlSocket) {
    // What is written later is not written once by every copy.
    let _ = io::stdout().flush();
    fork::flush_c_streams();
    let answer = match fork::is_alone() {
        true => {
            rehearse();
            panic_capture::install();
            fork::gather_pages();
            title::prepare();
            let environment = EnvBlock::of_this_process();
            FromForkServer::Settled(environment.fits_message().then_some(environment))
        }
        false => FromForkServer::Unfit(THREADS.to_owned()),
    };
    // Whoever cannot be told is gone, which is seen next.
    let _ = control.send(&answer, &[]);
}

/// Starts a thread like the one that a worker starts first, and sees it end: its stack is there for all copies.
///
/// It allocates nothing. A second arena of the C library's allocator would cost each copy more than it saves workers.
fn rehearse() {
    if let Ok(thread) = thread::Builder::new().spawn(|| ()) {
        let _ = thread.join();
    }
    // These look up what a process is given by the kernel, once.
    black_box((Ring::footprint(WORKER_RING_BYTES), Moment::now()));
}

const THREADS: &str = "it has started threads, which would be missing in every copy of its process";

/// What a copy of a fork server has.
#[derive(Debug)]
pub(super) enum Child {
    /// Its control socket, at which it will be greeted.
    PendingChild(ControlSocket),
    /// It was made before it was asked for, and has been greeted.
    Spare {
        control: ControlSocket,
        kit: SingleTask,
        greeting: Box<Greeting>,
        fds: Vec<OwnedFd>,
    },
}

/// Forks on request. Returns only in the children.
pub(super) fn tend(control: ControlSocket) -> io::Result<Child> {
    identity::set_thread_name(NAME);
    title::set_title(TITLE);
    // Whoever reads what the application writes must see its end without this process's.
    for slot in [1, 2] {
        stdio::put_slot(slot, stdio::standard(0))?;
    }
    // Not freed by every copy: that writes to pages which they would go on sharing.
    let own: &Own = Box::leak(Box::new(Own {
        environment: EnvBlock::of_this_process(),
        limits: limits::all(),
        thread: MainThread::ask(),
        written: Pages::find(),
    }));
    let mut unreadable = 0;
    loop {
        match control.recv() {
            Ok(Some((ToForkServer::Fork(birth), fds))) => {
                if let Some(newborn) = bear(*birth, fds, own) {
                    return Ok(Child::PendingChild(newborn));
                }
            }
            Ok(Some((ToForkServer::Spare, mut fds))) => {
                if let Some(newborn) = bear_spare(&mut fds, own) {
                    // Whoever asks a server that is gone is to learn it, also from those that wait here.
                    drop(control);
                    return be_ready(newborn, fds, own);
                }
            }
            Ok(None) => fork::quit(0),
            // What it carried is closed, which tells whoever sent it.
            Err(_) if unreadable < UNREADABLE => unreadable += 1,
            Err(error) => return Err(error),
        }
    }
}

/// What this process has, and so its copies.
#[derive(Debug)]
struct Own {
    environment: EnvBlock,
    limits: Vec<(u64, u64)>,
    thread: MainThread,
    /// What every copy writes to.
    written: Pages,
}

/// Forks a child. Its control socket, in the child; nothing in the server.
fn bear(birth: ForkSpec, mut fds: Vec<OwnedFd>, own: &Own) -> Option<ControlSocket> {
    if fds.is_empty() {
        return None; // nobody to answer to
    }
    let newborn = ControlSocket::new(fds.remove(0));
    let sibling =
        Find::place(birth, &mut fds).and_then(|find| Ok((fork::sibling(&own.thread)?, find)));
    match sibling {
        Err(error) => {
            refuse(&newborn, refusal(&error));
            None
        }
        Ok((Sibling::Original { pid, pidfd }, _)) => {
            announce(&newborn, pid, &pidfd);
            None
        }
        Ok((Sibling::Copy, find)) => {
            // Fails only for a process that leads a session, and this is a new one.
            let _ = match find.detached {
                true => identity::lead_session(),
                false => identity::lead_group(),
            };
            find.take_over(&own.environment, &own.limits);
            cry(&newborn);
            Some(newborn)
        }
    }
}

/// Forks a child that is to wait until it is told what it is to be. Its control socket, in the child; nothing in the
/// server.
fn bear_spare(fds: &mut Vec<OwnedFd>, own: &Own) -> Option<ControlSocket> {
    let newborn = ControlSocket::new(fds.pop()?);
    match fork::sibling(&own.thread) {
        Err(error) => {
            refuse(&newborn, refusal(&error));
            None
        }
        Ok(Sibling::Original { pid, pidfd }) => {
            announce(&newborn, pid, &pidfd);
            None
        }
        Ok(Sibling::Copy) => {
            let _ = identity::lead_group();
            cry(&newborn);
            Some(newborn)
        }
    }
}

/// Makes what a process of one task needs, waits to be told what to be, and becomes so.
fn be_ready(newborn: ControlSocket, fds: Vec<OwnedFd>, own: &Own) -> io::Result<Child> {
    identity::set_thread_name(SPARE_NAME);
    title::set_title(SPARE_TITLE);
    let Ok(kit) = SingleTask::new(fds, false) else {
        fork::quit(FAILED); // another will be made, or do without
    };
    own.written.copy();
    // What comes with its request may be more than the server may have, and less than what it is to be may.
    let limits = limits::raise_descriptor_limit(&own.limits);
    let mut heard = Vec::new();
    let (birth, greeting, mut fds) = loop {
        match newborn.recv() {
            Ok(Some((Either::Left(ToSpare::Become(birth, greeting)), fds))) => {
                break (*birth, greeting, fds);
            }
            Ok(Some((Either::Right(before), fds))) => heard.push((before, fds)),
            // Nobody needs it any more.
            Ok(None) => fork::quit(0),
            // It cannot be told, which whoever tried sees by its end.
            Err(_) => signal::kill_own_group(),
        }
    };
    match Find::place(birth, &mut fds) {
        Ok(find) => find.take_over(&own.environment, &limits),
        Err(error) => {
            refuse(&newborn, refusal(&error));
            fork::quit(FAILED)
        }
    }
    Ok(Child::Spare {
        control: newborn,
        kit: kit.complete(heard),
        greeting,
        fds,
    })
}

/// Tells whoever asked for a child that there is one. If this fails, the child itself says it.
fn announce(newborn: &ControlSocket, pid: u32, pidfd: &OwnedFd) {
    let _ = newborn.send(&FromChild::Forked { pid }, &[pidfd.as_fd()]);
}

/// In the child: says that it is there, in case its server did not live to.
fn cry(newborn: &ControlSocket) {
    let pid = std::process::id();
    let _ = newborn.send(&FromChild::Forked { pid }, &[]);
}

fn refuse(newborn: &ControlSocket, refusal: Refusal) {
    // Whoever cannot be told sees the end of the socket.
    let _ = newborn.send(&FromChild::Refused(refusal), &[]);
}

fn refusal(error: &io::Error) -> Refusal {
    match error.raw_os_error() {
        // A kernel or a filter that knows or allows no such call will not tomorrow.
        Some(libc::ENOSYS | libc::EPERM | libc::EINVAL) | None => {
            Refusal::Unfit(format!("this process could not be copied: {error}"))
        }
        Some(errno) => Refusal::Failed { errno },
    }
}

/// What a child finds, made ready before it is there.
#[derive(Debug)]
struct Find {
    /// Unless it is the fork server's.
    environment: Option<EnvBlock>,
    streams: Vec<OwnedFd>,
    limits: Vec<(u64, u64)>,
    detached: bool,
}

impl Find {
    /// Goes where the child is to begin, and takes what it is to find from the front of `fds`. Before the copy, so that a
    /// place that is none is a failed start.
    fn place(birth: ForkSpec, fds: &mut Vec<OwnedFd>) -> io::Result<Self> {
        let count = 3 + usize::from(matches!(birth.environment, EnvSource::Memory(_)));
        if fds.len() < count {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let mut fds: Vec<_> = fds.drain(..count).collect();
        let beside = fds.drain(3..).next();
        let directory = fds.remove(0);
        let moved = identity::change_directory(directory).and_then(|()| match &birth.directory {
            Some(directory) => std::env::set_current_dir(directory),
            None => Ok(()),
        });
        // Whatever it is, it is the place that is at fault.
        moved.map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM | libc::EINVAL) | None => io::Error::from_raw_os_error(libc::EACCES),
            _ => error,
        })?;
        Ok(Self {
            environment: environment(birth.environment, beside)?,
            streams: fds,
            limits: birth.limits,
            detached: birth.detached,
        })
    }

    /// Makes the copy, which has this environment and these limits, a process that finds what an executed one would find.
    fn take_over(&self, environment: &EnvBlock, limits: &[(u64, u64)]) {
        for (slot, stream) in [1, 2].into_iter().zip(&self.streams) {
            // Fails only for a closed descriptor.
            let _ = stdio::put_slot(slot, stream.as_fd());
        }
        limits::set_all(&self.limits, limits);
        match &self.environment {
            Some(block) if block != environment => adopt_environment(block),
            _ => {}
        }
    }
}

/// The environment of the child, unless it is the fork server's own.
fn environment(environment: EnvSource, beside: Option<OwnedFd>) -> io::Result<Option<EnvBlock>> {
    match (environment, beside) {
        (EnvSource::OfForkServer, _) => Ok(None),
        (EnvSource::Inline(block), _) => Ok(Some(block)),
        (EnvSource::Memory(len), Some(memory)) => {
            if len > memory::sealed_len(&memory)? {
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            let mut block = Vec::new();
            memory::Mapping::whole(&memory, len)?.read(0, len, &mut block);
            Ok(Some(EnvBlock::from_bytes(block)))
        }
        (EnvSource::Memory(_), None) => Err(io::Error::from_raw_os_error(libc::EIO)),
    }
}

fn variables() -> BTreeMap<OsString, OsString> {
    std::env::vars_os().collect()
}

fn adopt_environment(block: &EnvBlock) {
    let wanted: BTreeMap<&OsStr, &OsStr> = block.variables().collect();
    let own = variables();
    let removed = own
        .keys()
        .filter(|key| !wanted.contains_key(key.as_os_str()))
        .map(|key| (key.as_os_str(), None));
    let set = wanted
        .iter()
        .filter(|(key, value)| own.get(**key).map(OsString::as_os_str) != Some(**value))
        .map(|(key, value)| (*key, Some(*value)));
    fork::change_environment(removed.chain(set));
}
