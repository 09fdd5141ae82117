//! The greeting of a child, made from what is known about it.

use super::spec::ChildSpec;
use crate::sys::{image, sched, text};
use crate::transfer::greeting::{Greeting, Role};

/// The longest name that a child is told, in bytes.
const LONGEST_NAME: usize = 10_000;

/// The greeting of a child in this role. The descriptors of `stdio_slots` go with it.
pub(super) fn greeting(spec: &ChildSpec, role: Role, stdio_slots: &[u32]) -> Greeting {
    Greeting {
        fingerprint: image::fingerprint(),
        role,
        parent: std::process::id(),
        name: spec.name.as_deref().map(shortened),
        pool: spec.pool.as_deref().map(shortened),
        number: spec.number,
        nice: sched::nice_below(spec.nice),
        processors: spec.processors.clone().unwrap_or_else(sched::affinity),
        memory_limit: spec.memory_limit,
        limits: spec.limits.clone(),
        detached: spec.detached,
        stdio_slots: stdio_slots.to_vec(),
    }
}

/// The greeting of a fork server.
pub(super) fn fork_server_greeting() -> Greeting {
    greeting(&ChildSpec::default(), Role::ForkServer, &[])
}

/// A name that leaves room for the rest of a message.
fn shortened(name: &str) -> String {
    text::prefix(name, LONGEST_NAME).to_owned()
}
