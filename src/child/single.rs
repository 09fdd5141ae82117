//! What runs in a process of one task.
//!
//! It has one thread, which runs the task: nothing is to be said to it once the task has begun. The kernel watches
//! for the parent's end, and then kills this process and all it started.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use tokio::runtime::Handle;

use super::role::{self, FAILED, Heard, STACK};
use crate::call::envelope::SINGLE_RING_BYTES;
use crate::call::executor::{Executor, Next};
use crate::ring::Ring;
use crate::sys::parent_death::ParentDeathSignal;
use crate::sys::{exit, memory, signal};
use crate::transfer::control::{ControlSocket, exactly};
use crate::transfer::greeting::Greeting;

/// What such a process has beside its control socket.
#[derive(Debug)]
pub(super) struct SingleTask {
    rings: [Ring; 2],
    /// None if it is to outlive its parent.
    parent_death: Option<ParentDeathSignal>,
    /// What goes with the request, if all of it has come.
    heard: Option<Vec<Heard>>,
}

impl SingleTask {
    /// What a process makes of the descriptors it was given, memory and leash.
    pub(super) fn new(fds: Vec<OwnedFd>, detached: bool) -> io::Result<Self> {
        let [memory, parent_death] = exactly(fds)?;
        let parent_death = match detached {
            false => Some(ParentDeathSignal::new(&parent_death)?),
            true => None,
        };
        let rings = rings(&memory)?;
        Ok(Self {
            rings,
            parent_death,
            heard: None,
        })
    }

    /// With all that goes with the request.
    pub(super) fn complete(mut self, heard: Vec<Heard>) -> Self {
        self.heard = Some(heard);
        self
    }
}

/// Runs the one task in the ring, and never returns. The process may have its `kit` already.
pub(super) fn work(
    greeting: Greeting,
    fds: Vec<OwnedFd>,
    kit: Option<SingleTask>,
    control: ControlSocket,
) -> io::Result<std::convert::Infallible> {
    let kit = match kit {
        Some(kit) => kit,
        None => SingleTask::new(role::take_streams(&greeting, fds, 2)?, greeting.detached)?,
    };
    let SingleTask {
        rings,
        parent_death,
        heard,
    } = kit;
    // Until the end, also in what the program does then.
    if let Some(parent_death) = parent_death {
        parent_death.keep();
    }
    role::adapt(&greeting, &rings)?;
    let control = Arc::new(control);
    let requests = rings[0].clone();
    let execution = role::execution(rings, None, &control);
    let (limit, detached) = (greeting.memory_limit, greeting.detached);
    role::be(greeting);
    let complete = match heard {
        Some(all) => {
            all.into_iter()
                .for_each(|heard| role::heed(heard, &control, &execution));
            Ok(true)
        }
        None => role::hear_out(&control, &execution),
    };
    match complete {
        Ok(true) => {}
        // Nobody is at the other end, and the work is to be done all the same, if it has come.
        Ok(false) if detached && requests.frames() > 0 => {}
        // Or a message could not be received whole (a full descriptor table): what it carried will be missed.
        Ok(false) | Err(_) => signal::kill_own_group(),
    }
    // `init` was called inside a runtime, and none can be entered on a thread that drives another.
    if Handle::try_current().is_ok() {
        let elsewhere = thread::Builder::new().name("procession".to_owned());
        elsewhere.stack_size(STACK).spawn(move || {
            exit::prepare();
            run(execution, limit)
        })?;
        loop {
            thread::park();
        }
    }
    run(execution, limit)
}

fn run(mut execution: Executor, limit: Option<u64>) -> ! {
    role::limit_memory(limit);
    match execution.next() {
        Ok(Next::Run(enter)) => enter(&mut execution),
        Ok(Next::Stop) => {}
        Err(corrupt) => {
            eprintln!("procession: {corrupt}");
            std::process::exit(FAILED)
        }
    }
    exit::exit()
}

/// The rings of a process that runs one task.
fn rings(memory: &OwnedFd) -> io::Result<[Ring; 2]> {
    if memory::sealed_len(memory)? < 2 * Ring::flat_footprint(SINGLE_RING_BYTES) {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    Ring::flat(memory, SINGLE_RING_BYTES)
}
