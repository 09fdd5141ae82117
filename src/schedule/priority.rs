//! The priority of a task.

/// Which waiting tasks are sent first. Tasks of the same priority are sent in the order of their submission.
///
/// No priority starves: while tasks of a lower priority wait, at least one of 16 tasks that are sent is one of them. A
/// task with a [`key`](crate::Run::key) has its turn by its priority, and then waits for its worker. A task that runs
/// again goes before all others of its priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Priority {
    /// After the others.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Before the others.
    High,
}
