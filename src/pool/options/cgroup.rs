//! Whether each worker has a control group of its own.
//!
//! Runs in the application.

use std::io;
use std::sync::Arc;

use crate::spawn::OwnCgroup;
use crate::sys::cgroup::Delegation;

/// Whether each worker of a pool has a control group of its own, see
/// [`PoolBuilder::cgroup`](crate::PoolBuilder::cgroup).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cgroup {
    /// No worker has.
    #[default]
    Off,
    /// Each has, where that is possible.
    IfDelegated,
    /// Each has; where that is not possible, the pool cannot be built.
    Required,
}

/// Makes the control groups of a pool's workers.
#[derive(Debug, Clone)]
pub(in crate::pool) struct WorkerCgroups {
    delegation: Delegation,
    required: bool,
}

impl WorkerCgroups {
    /// `None` if the workers have none.
    pub(in crate::pool) fn of(choice: Cgroup) -> io::Result<Option<Self>> {
        let required = choice == Cgroup::Required;
        let found = match choice {
            Cgroup::Off => return Ok(None),
            Cgroup::IfDelegated | Cgroup::Required => Delegation::find(),
        };
        match found {
            Ok(delegation) => Ok(Some(Self {
                delegation,
                required,
            })),
            Err(error) if required => Err(named(&error)),
            Err(_) => Ok(None),
        }
    }

    /// Makes the group of a worker. May wait for changes of other groups.
    pub(in crate::pool) fn make(&self) -> io::Result<Option<OwnCgroup>> {
        match self.delegation.make() {
            Ok(group) => Ok(Some(OwnCgroup {
                group: Arc::new(group),
                required: self.required,
            })),
            Err(error) if self.required => Err(named(&error)),
            Err(_) => Ok(None),
        }
    }
}

fn named(error: &io::Error) -> io::Error {
    let why = format!("a worker cannot have a control group: {error}");
    io::Error::new(error.kind(), why)
}
