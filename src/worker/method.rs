//! How a process comes to be.

/// How a process comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
#[doc(alias = "set_start_method")]
#[doc(alias = "get_context")]
pub enum StartMethod {
    /// The program is executed afresh (`/proc/self/exe`), on the `posix_spawn` path: about a
    /// millisecond, whatever the application's size in memory.
    #[default]
    #[doc(alias = "spawn")]
    Exec,
}
