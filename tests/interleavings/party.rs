//! What the models of the objects in `sync` have in common: processes with one party each, the table of parties, and
//! how requests are served. Each file of an object says what its word means and what is decided.
//!
//! A step is one access to shared memory or one system call. Accesses that commute with what stands between them are
//! one step: the counts and the lock, two counters of one process, the question who is alive and the read before it. A
//! count is compared with an earlier one only, so the model remembers whether it has changed since.

mod process;
mod serve;
mod state;
mod symmetry;

pub(crate) use process::{Party, PartyState, Round, Step};
pub(crate) use state::{Next, Object, State, start};
pub(crate) use symmetry::permuted;

use crate::Modelled;

pub(crate) const MODELS: &[Modelled] = &[
    (
        "enrol, RaiseAndTakeTicket, SetWaiting",
        "src/sync/object_memory.rs",
        "enrol",
    ),
    ("Count, Lock, CountAgain", "src/sync/server.rs", "serve"),
    ("Decide to Unlock", "src/sync/server.rs", "serve_once"),
    ("Read", "src/sync/serving.rs", "begin"),
    ("Read of a second time", "src/sync/serving.rs", "read_again"),
    (
        "Read of a second time that checks liveness",
        "src/sync/serving.rs",
        "check_liveness",
    ),
    ("exchange", "src/sync/serving.rs", "set"),
    ("FreeTheDead", "src/sync/serving.rs", "free_the_dead"),
    ("trim, LookAgain", "src/sync/object_memory.rs", "trim"),
    (
        "SeeAll",
        "src/sync/object_memory.rs",
        "expect_records_anywhere",
    ),
    ("Wake", "src/sync/local_side.rs", "wake"),
    ("Attempt", "src/sync/waiting.rs", "poll_slowly"),
    ("Register, Check", "src/sync/enrolment.rs", "poll_change"),
    ("Attach", "src/sync/enrolment.rs", "find_dead_parties"),
    ("Leave", "src/sync/enrolment.rs", "free"),
    ("Sleep with a notice", "src/sync/watcher.rs", "watch"),
];

/// The rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    None,
    ServesOnce,
    IgnoresDeaths,
    WakesOnlyItself,
    LeavesSilently,
    AttachesWithoutLivenessCheck,
    SleepsWithoutCheck,
    TrimsWithoutSecondLook,
    TrustsTableOfTheDead,
    FreesTheDeadFirst,
    GrantsByStore,
    PassesOnAfterLeaving,
    KeepsNotification,
    ReleasesWithoutDecision,
    MeetsTheDead,
    LeaderFirst,
    UnlocksBeforeEnrolling,
}
