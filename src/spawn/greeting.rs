//! The greeting of a child, made from what is known about it.

use super::spec::ChildSpec;
use crate::sys::{cgroup, image, limits, sched, text};
use crate::transfer::greeting::{Greeting, GroupToEnter, Role};

/// The longest name that a child is told, in bytes.
const LONGEST_NAME: usize = 10_000;

/// The greeting of a child in this role. The descriptors of `stdio_slots` go with it.
pub(super) fn greeting(spec: &ChildSpec, role: Role, stdio_slots: &[u32]) -> Greeting {
    let surroundings = &spec.surroundings;
    let mut limits = surroundings.limits.clone();
    if role != Role::Worker {
        let seconds = surroundings.cpu_seconds();
        limits.extend(seconds.map(|seconds| (limits::CPU_TIME, seconds)));
    }
    Greeting {
        fingerprint: image::fingerprint(),
        role,
        parent: std::process::id(),
        name: spec.name.as_deref().map(shortened),
        pool: spec.pool.as_deref().map(shortened),
        number: spec.number,
        other_lanes: spec.other_lanes,
        seed: spec.seed,
        scratch: spec.scratch.clone(),
        cgroup: group_to_enter(spec),
        nice: sched::nice_below(surroundings.nice),
        processors: surroundings
            .processors
            .clone()
            .unwrap_or_else(sched::affinity),
        memory_limit: surroundings.memory_limit,
        task_cpu_time: surroundings.cpu_time.filter(|_| role == Role::Worker),
        limits,
        detached: spec.detached,
        stdio_slots: stdio_slots.to_vec(),
    }
}

/// The control group of a child. A detached child leaves that of the worker that starts it, because it is to outlive
/// it.
fn group_to_enter(spec: &ChildSpec) -> Option<GroupToEnter> {
    if let Some(own) = &spec.cgroup {
        return Some(GroupToEnter {
            path: own.group.path().into(),
            required: own.required,
        });
    }
    let outer = spec.detached.then(cgroup::outer).flatten()?;
    Some(GroupToEnter {
        path: outer.into(),
        required: false,
    })
}

pub(super) fn fork_server_greeting() -> Greeting {
    greeting(&ChildSpec::default(), Role::ForkServer, &[])
}

/// A name that leaves room for the rest of a message.
fn shortened(name: &str) -> String {
    text::prefix(name, LONGEST_NAME).to_owned()
}
