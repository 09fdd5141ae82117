//! The public choice of how child processes are started.

use std::sync::OnceLock;

/// The environment variable with the default start method: `exec` or `forkserver`.
const VARIABLE: &str = "PROCESSION_START_METHOD";

/// How a child process is started.
///
/// The default is [`ForkServer`](Self::ForkServer), or [`Exec`](Self::Exec) if the application's environment variable
/// `PROCESSION_START_METHOD` is `exec`. The variable is read once.
///
/// **Signals.** With both methods a child begins with no signal blocked and with default actions, except that three
/// signals are ignored: `SIGPIPE`, as in every Rust program, and `SIGTTIN` and `SIGTTOU`. A child leads a process group
/// of its own, which a terminal treats as a background job. So a child prints to the terminal and sets its attributes,
/// also under `stty tostop`, and reading from it fails with `EIO`, where a background job would be stopped. This holds
/// for the programs that a child executes, too, unless they change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[doc(alias = "set_start_method")]
#[doc(alias = "get_context")]
pub enum StartMethod {
    /// Forks the child from a fork server: a small process with one thread, executed at the first start.
    ///
    /// Forking takes a third of the time of executing, and does not depend on how much memory the application has.
    /// The child is the application's own child.
    ///
    /// **Inherited state.** The child has the environment, working directory, stdout, stderr, resource limits, nice
    /// value and CPU affinity that the application has at the time of the start. The `umask` is the
    /// application's at the time when the fork server started.
    ///
    /// **Rights.** An application that gives up rights (user, groups, capabilities, root directory, mount, network or
    /// PID namespace, filters of system calls) has children without them: a new fork server is started. The rules of
    /// Landlock and the control group cannot be compared: an application that changes these later uses
    /// [`Exec`](Self::Exec).
    ///
    /// **Spares.** While processes are started in quick succession, the fork server forks up to 8 processes ahead.
    /// They are named `procession: spare` and take a third of a MiB each. Spare processes exit 20 ms after the last
    /// start, or when their runtime shuts down. A current-thread runtime that is not polled cannot end them.
    ///
    /// **Waiting for any child.** The fork server is a child of the application and lives as long as the application.
    /// Code that calls `wait` until no child is left never ends.
    ///
    /// **Copies.** All children are copies of one process. They have the same addresses and the same stack canary, so
    /// each crash of a task on hostile input tells an attacker something about the next: use [`Exec`](Self::Exec) for
    /// that.
    ///
    /// **Random numbers.** Generators that a thread has for itself are seeded in each child: `rand::rng`, `fastrand`,
    /// and the keys of `HashMap`. Generators of the whole process that were seeded before the fork, by a
    /// [`preload`](crate::PoolBuilder::preload) or by a constructor, give the same numbers in all children: those of C
    /// code (`rand`, `random`), those in a `static`, and the keys of a map that the preload made. The pool's
    /// [`initializer`](crate::PoolBuilder::initializer) runs after the fork, and can seed them again.
    ///
    /// **Fallback.** The program is executed instead if forking is not possible:
    ///
    /// - a library starts threads before `main`;
    /// - a filter of system calls refuses the fork, or kills the fork server;
    /// - a standard stream is given;
    /// - the environment is cleared, or changes a variable that is read before `main` (`LD_*`, `GLIBC_TUNABLES`,
    ///   `MALLOC_*`);
    /// - the application works in a directory that it may not enter.
    ///
    /// If no child can ever be forked, the feature `tracing` reports that once, with the reason.
    #[doc(alias = "forkserver")]
    ForkServer,
    /// Executes the program afresh (`/proc/self/exe`), without forking the application.
    ///
    /// This takes about two milliseconds, whatever the application's size in memory.
    #[doc(alias = "spawn")]
    Exec,
}

impl Default for StartMethod {
    fn default() -> Self {
        static DEFAULT: OnceLock<StartMethod> = OnceLock::new();
        *DEFAULT.get_or_init(|| match std::env::var(VARIABLE).as_deref() {
            Ok("exec") => Self::Exec,
            _ => Self::ForkServer,
        })
    }
}
