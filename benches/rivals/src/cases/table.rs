//! The table itself. Ours stands first in each case: the ratios are against it.

use super::services;
use super::{BOTH, Case, Contender, OURS, Run, UNPINNED, here, python};
use crate::contenders::channels;
use crate::contenders::in_process;
use crate::contenders::ipc_channel;
use crate::contenders::locks;
use crate::contenders::ours;
use crate::contenders::procspawn;
use crate::contenders::shared_memory;
use crate::contenders::starting;
use crate::contenders::state;
use crate::contenders::unix_ipc;
use crate::figure::Unit;

/// Every case, in the order in which it is run.
pub(crate) static CASES: &[Case] = &[
    ONE_TASK,
    SUBMITTERS,
    MAP_SINGLE,
    MAP_DEFAULT,
    START,
    START_APART,
    START_LARGE,
    START_RATE,
    START_HOLDS,
    REPLACE,
    POOL_LIFE,
    BIG_ARGUMENT,
    SPEEDUP,
    TIMER,
    MEMORY,
    PRELOAD_MEMORY,
    PRELOAD_START,
    WAKE_UPS,
    QUEUE_ONE,
    QUEUE_TWO,
    QUEUE_LARGE,
    PIPE,
    PIPE_BLOCKING,
    QUEUE_IDLE,
    MANAGED_CALL,
    STATE_RUN,
    SHARED_ARGUMENT,
    SHARED_STREAM,
    LOCK,
    LOCK_TWO,
    LOCK_HAND_OVER,
    services::CANCELLED_LOOP,
    services::REFUSAL,
    services::QUEUED_MEMORY,
    services::QUEUED_SUBMIT,
    services::STREAMED_ITEM,
    services::CACHED_ARGUMENT,
    services::METRICS,
    services::METRICS_LOAD,
];

const LOCK: Case = Case {
    name: "lock",
    title: "an uncontended lock, locked and unlocked: per second",
    unit: Unit::PerSecond,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[
        here(OURS, locks::uncontended),
        here("procession, awaited", locks::uncontended_awaited),
        here("pthread mutex", locks::raw_uncontended),
        python("mp.Lock", &["locks.py", "uncontended"]),
    ],
};

const LOCK_TWO: Case = Case {
    name: "lock-two",
    title: "two processes at one lock, blocking: per second",
    unit: Unit::PerSecond,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[
        here(OURS, locks::two_processes),
        here("pthread mutex", locks::raw_two_processes),
        python("mp.Lock", &["locks.py", "two"]),
    ],
};

const LOCK_HAND_OVER: Case = Case {
    name: "lock-hand-over",
    title: "a lock that a process unlocks and another awaits: p50",
    unit: Unit::Seconds,
    percentile: 50.0,
    pins: BOTH,
    contenders: &[here(OURS, locks::hand_over)],
};

const ONE_TASK: Case = Case {
    name: "one-task",
    title: "one tiny task, awaited: p50",
    unit: Unit::Seconds,
    percentile: 50.0,
    pins: BOTH,
    contenders: &[
        here(OURS, ours::one_task),
        here("procession, multi-thread", ours::one_task_on_many),
        here("spawn_blocking", in_process::one_task),
        here("spawn_blocking, multi-thread", in_process::one_task_on_many),
        here("procspawn", procspawn::one_task),
        python("ProcessPoolExecutor", &["executor.py", "one-task"]),
    ],
};

const SUBMITTERS: Case = Case {
    name: "submitters",
    title: "64 concurrent submitters, each awaiting its own tiny task: tasks/s",
    unit: Unit::PerSecond,
    percentile: 50.0,
    pins: BOTH,
    contenders: &[
        here(OURS, ours::submitters),
        here("procession, multi-thread", ours::submitters_on_many),
        here("spawn_blocking", in_process::submitters),
        here(
            "spawn_blocking, multi-thread",
            in_process::submitters_on_many,
        ),
        here(
            "spawn_blocking, limited to 2",
            in_process::submitters_on_many_with_few_blocking,
        ),
        here("procspawn", procspawn::submitters),
        python("ProcessPoolExecutor", &["executor.py", "submitters"]),
    ],
};

const MAP_SINGLE: Case = Case {
    name: "map-single",
    title: "map a trivial function, one item per message: items/s",
    unit: Unit::PerSecond,
    percentile: 50.0,
    pins: BOTH,
    contenders: &[
        here(OURS, ours::map_single),
        here("procspawn", procspawn::map_single),
        python("mp.Pool(chunksize=1)", &["pool.py", "map-single"]),
        here("rayon (max_len 1)", in_process::map_single),
    ],
};

const MAP_DEFAULT: Case = Case {
    name: "map-default",
    title: "map a trivial function over 1 M integers, defaults: items/s",
    unit: Unit::PerSecond,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[
        here(OURS, ours::map_default),
        python("mp.Pool", &["pool.py", "map-default"]),
        here("rayon", in_process::map_default),
    ],
};

const START: Case = Case {
    name: "start",
    title: "start a process, run a tiny function, join: p50",
    unit: Unit::Seconds,
    percentile: 50.0,
    pins: BOTH,
    contenders: &[
        here(OURS, starting::fork),
        here("procession, exec", starting::exec),
        here("procspawn", procspawn::start),
        python("mp fork", &["process.py", "fork"]),
        python("mp forkserver", &["process.py", "forkserver"]),
        python("mp spawn", &["process.py", "spawn"]),
    ],
};

const START_APART: Case = Case {
    name: "start-apart",
    title: "the same, 50 ms after the one before: p50",
    unit: Unit::Seconds,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[
        here(OURS, starting::fork_apart),
        here("procspawn", procspawn::start_apart),
    ],
};

const START_LARGE: Case = Case {
    name: "start-large",
    title: "start, run, join, from a parent with 1 GiB of heap and 64 threads: p50",
    unit: Unit::Seconds,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[
        here(OURS, starting::fork_from_large),
        here("procession, exec", starting::exec_from_large),
        here("procspawn", procspawn::start_from_large),
    ],
};

const START_RATE: Case = Case {
    name: "start-rate",
    title: "processes started, run and joined a second, 16 at a time",
    unit: Unit::PerSecond,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[
        here(OURS, starting::fork_many),
        here("procession, exec", starting::exec_many),
    ],
};

const START_HOLDS: Case = Case {
    name: "start-holds",
    title: "how long a process's life holds the runtime's thread at a time, in its CPU time: p99",
    unit: Unit::Seconds,
    percentile: 99.0,
    pins: UNPINNED,
    contenders: &[
        here(OURS, starting::fork_holds),
        here("procession, exec", starting::exec_holds),
    ],
};

const REPLACE: Case = Case {
    name: "replace",
    title: "from the kill of a pool's only worker to its successor's first result: p50",
    unit: Unit::Seconds,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[
        here(OURS, starting::fork_replacement),
        here("procession, exec", starting::exec_replacement),
    ],
};

const POOL_LIFE: Case = Case {
    name: "pool-life",
    title: "a pool of 4: started, every worker used, shut down: p50",
    unit: Unit::Seconds,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[
        here(OURS, ours::pool_life),
        here("procspawn", procspawn::pool_life),
        python("ProcessPoolExecutor", &["executor.py", "pool-life"]),
        python("mp.Pool", &["pool.py", "pool-life"]),
    ],
};

const BIG_ARGUMENT: Case = Case {
    name: "big-argument",
    title: "64 MiB as argument, its length as result: p50",
    unit: Unit::Seconds,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[
        here(OURS, ours::big_argument),
        here("procspawn (serde_bytes)", procspawn::big_argument),
        Contender {
            name: "loky",
            run: Run::Python {
                arguments: &["executor.py", "big-argument", "loky"],
                needs: Some("loky"),
            },
        },
        python("ProcessPoolExecutor", &["executor.py", "big-argument"]),
    ],
};

const SPEEDUP: Case = Case {
    name: "speedup",
    title: "tasks of 5 ms of CPU: 2 workers against 1",
    unit: Unit::Times,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[
        here(OURS, ours::speedup),
        here("rayon", in_process::speedup),
        here("procspawn", procspawn::speedup),
        python("mp.Pool(chunksize=1)", &["pool.py", "speedup"]),
    ],
};

const TIMER: Case = Case {
    name: "timer",
    title: "how late a 1 ms timer of the runtime is, the pool saturated: p99",
    unit: Unit::Seconds,
    percentile: 99.0,
    pins: UNPINNED,
    contenders: &[
        here(OURS, ours::timer),
        here("idle runtime", in_process::timer_idle),
        here("spawn_blocking x2", in_process::timer_saturated),
        here("procspawn", procspawn::timer),
    ],
};

const MEMORY: Case = Case {
    name: "memory",
    title: "an idle worker of 4, after its first task: PSS",
    unit: Unit::Bytes,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[
        here(OURS, ours::memory),
        here("procspawn", procspawn::memory),
        python("ProcessPoolExecutor", &["executor.py", "memory"]),
        python("mp.Pool", &["pool.py", "memory"]),
    ],
};

const PRELOAD_MEMORY: Case = Case {
    name: "preload-memory",
    title: "1 GiB loaded once, 4 workers that have read it all, and their server: sum of PSS",
    unit: Unit::Bytes,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[here(OURS, starting::loaded_memory)],
};

const PRELOAD_START: Case = Case {
    name: "preload-start",
    title: "1 GiB loaded once: from the kill of the only worker to its successor's first result: p50",
    unit: Unit::Seconds,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[here(OURS, starting::loaded_replacement)],
};

const WAKE_UPS: Case = Case {
    name: "wake-ups",
    title: "context switches of an idle pool of 2 in 2 s, all threads, parent and workers",
    unit: Unit::Count,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[
        here(OURS, ours::wake_ups),
        here("no pool, sleeping runtime", in_process::wake_ups),
        here("procspawn", procspawn::wake_ups),
        python("ProcessPoolExecutor", &["executor.py", "wake-ups"]),
        python("mp.Pool", &["pool.py", "wake-ups"]),
    ],
};

const QUEUE_ONE: Case = Case {
    name: "queue-1-1",
    title: "64-byte messages, one process to another, as a stream: messages/s",
    unit: Unit::PerSecond,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[
        here(OURS, channels::one_to_one),
        here("tokio mpsc", channels::tokio_one_to_one),
        here("flume", channels::flume_one_to_one),
        here("ipc-channel", ipc_channel::one_to_one),
        here("tokio-unix-ipc", unix_ipc::one_to_one),
        python("mp.Queue", &["channels.py", "one-to-one"]),
    ],
};

const QUEUE_TWO: Case = Case {
    name: "queue-2-2",
    title: "64-byte messages, two processes to two others: messages/s",
    unit: Unit::PerSecond,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[
        here(OURS, channels::two_to_two),
        here("flume", channels::flume_two_to_two),
        python("mp.Queue", &["channels.py", "two-to-two"]),
    ],
};

const QUEUE_LARGE: Case = Case {
    name: "queue-large",
    title: "messages of 1 MiB, one process to another: messages/s",
    unit: Unit::PerSecond,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[
        here(OURS, channels::large),
        here("ipc-channel", ipc_channel::large),
        here("tokio-unix-ipc", unix_ipc::large),
        python("mp.Queue", &["channels.py", "large"]),
    ],
};

const PIPE: Case = Case {
    name: "pipe",
    title: "64 bytes there and back through a pipe, async on both sides: p50",
    unit: Unit::Seconds,
    percentile: 50.0,
    pins: BOTH,
    contenders: &[
        here(OURS, channels::round_trip),
        here("tokio-unix-ipc", unix_ipc::round_trip),
    ],
};

const PIPE_BLOCKING: Case = Case {
    name: "pipe-blocking",
    title: "64 bytes there and back through a pipe, blocking on both sides: p50",
    unit: Unit::Seconds,
    percentile: 50.0,
    pins: BOTH,
    contenders: &[
        here(OURS, channels::round_trip_blocking),
        here("ipc-channel", ipc_channel::round_trip),
        python("mp.Pipe", &["channels.py", "round-trip"]),
    ],
};

const QUEUE_IDLE: Case = Case {
    name: "queue-idle",
    title: "context switches of an idle queue with a receiver that waits, in 2 s, both processes",
    unit: Unit::Count,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[
        here(OURS, channels::idle),
        here("no queue, sleeping runtime", in_process::wake_ups),
    ],
};

const MANAGED_CALL: Case = Case {
    name: "managed-call",
    title: "one call of a state in a process of its own, awaited: p50",
    unit: Unit::Seconds,
    percentile: 50.0,
    pins: BOTH,
    contenders: &[
        here(OURS, state::managed_call),
        here(
            "eventfd there and back, blocking",
            state::eventfd_round_trip,
        ),
        python("mp.Manager", &["manager.py", "call"]),
    ],
};

const STATE_RUN: Case = Case {
    name: "state-run",
    title: "one tiny task in a worker that holds a state, awaited: p50",
    unit: Unit::Seconds,
    percentile: 50.0,
    pins: BOTH,
    contenders: &[
        here(OURS, state::state_run),
        here("procession, without a state", ours::one_task),
    ],
};

const SHARED_ARGUMENT: Case = Case {
    name: "shared-argument",
    title: "64 MiB of shared memory as argument, its length as result: p50",
    unit: Unit::Seconds,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[
        here(OURS, shared_memory::argument),
        python("mp.shared_memory", &["memory.py", "argument"]),
    ],
};

const SHARED_STREAM: Case = Case {
    name: "shared-stream",
    title: "1 MiB of shared memory made, filled, sent and read, one process to another: messages/s",
    unit: Unit::PerSecond,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[
        here(OURS, shared_memory::stream),
        here("memcpy and read, one thread", shared_memory::copy),
        python("mp.shared_memory", &["memory.py", "stream"]),
    ],
};
