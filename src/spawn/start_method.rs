//! How a process comes to be.

use std::sync::OnceLock;

/// The variable that says how processes come to be for which the program says nothing: `exec` or
/// `forkserver`.
const VARIABLE: &str = "PROCESSION_START_METHOD";

/// How a process comes to be.
///
/// The default is `ForkServer`, unless the environment variable `PROCESSION_START_METHOD` of the
/// application is `exec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[doc(alias = "set_start_method")]
#[doc(alias = "get_context")]
pub enum StartMethod {
    /// A small process with one thread, executed when it is first needed, forks itself: in a third of the time that
    /// executing takes, whatever the application's size in memory. What is forked is the application's own
    /// child and finds the environment, directory, output, limits, priority and processors that the application
    /// has at that moment. It does not find what else the application has changed about itself since the small
    /// process was started: its `umask` and ignored signals.
    ///
    /// While children are asked for in quick succession, a few are forked ahead and wait (`procession: spare` in lists of
    /// processes); each takes a third of a mebibyte. They go 20 milliseconds after the last start, or with the runtime that
    /// keeps them; in one that stands still they stay.
    ///
    /// The small process is a child of the application that stays as long as the application does: code that
    /// waits for any child until there is none (`wait` in a loop) waits for ever.
    ///
    /// Random numbers that C code has drawn before (`arc4random`, a seeded `rand`) go on alike in all that
    /// are forked. Rust's `HashMap` keys and whatever a program makes at first use do not.
    ///
    /// Where forking is not possible (a library of the program starts threads before `main`; a standard
    /// stream is given; the environment has news for the dynamic linker) the program is executed instead. Where
    /// nothing can ever be forked, an event of the feature `tracing` says so once, and why.
    #[doc(alias = "forkserver")]
    ForkServer,
    /// The program is executed afresh (`/proc/self/exe`), on the `posix_spawn` path: about two
    /// milliseconds, whatever the application's size in memory.
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
