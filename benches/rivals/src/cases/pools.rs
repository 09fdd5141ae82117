//! The cases of a pool: tasks, maps, arguments, memory, wake-ups.

use super::{BOTH, Case, Contender, OURS, Run, UNPINNED, here, median, percentile_99, python};
use crate::contenders::{in_process, ours, procspawn};
use crate::figure::Unit;

pub(super) const ONE_TASK: Case = median(
    "one-task",
    "one tiny task, awaited: p50",
    Unit::Seconds,
    BOTH,
    &[
        here(OURS, ours::one_task),
        here("procession, multi-thread", ours::one_task_on_many),
        here("spawn_blocking", in_process::one_task),
        here("spawn_blocking, multi-thread", in_process::one_task_on_many),
        here("procspawn", procspawn::one_task),
        python("ProcessPoolExecutor", &["executor.py", "one-task"]),
    ],
);

pub(super) const SUBMITTERS: Case = median(
    "submitters",
    "64 concurrent submitters, each awaiting its own tiny task: tasks/s",
    Unit::PerSecond,
    BOTH,
    &[
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
);

pub(super) const MAP_SINGLE: Case = median(
    "map-single",
    "map a trivial function, one item per message: items/s",
    Unit::PerSecond,
    BOTH,
    &[
        here(OURS, ours::map_single),
        here("procspawn", procspawn::map_single),
        python("mp.Pool(chunksize=1)", &["pool.py", "map-single"]),
        here("rayon (max_len 1)", in_process::map_single),
    ],
);

pub(super) const MAP_DEFAULT: Case = median(
    "map-default",
    "map a trivial function over 1 M integers, defaults: items/s",
    Unit::PerSecond,
    UNPINNED,
    &[
        here(OURS, ours::map_default),
        python("mp.Pool", &["pool.py", "map-default"]),
        here("rayon", in_process::map_default),
    ],
);

pub(super) const POOL_LIFE: Case = median(
    "pool-life",
    "a pool of 4: started, every worker used, shut down: p50",
    Unit::Seconds,
    UNPINNED,
    &[
        here(OURS, ours::pool_life),
        here("procspawn", procspawn::pool_life),
        python("ProcessPoolExecutor", &["executor.py", "pool-life"]),
        python("mp.Pool", &["pool.py", "pool-life"]),
    ],
);

pub(super) const BIG_ARGUMENT: Case = median(
    "big-argument",
    "64 MiB as argument, its length as result: p50",
    Unit::Seconds,
    UNPINNED,
    &[
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
);

pub(super) const SPEEDUP: Case = median(
    "speedup",
    "tasks of 5 ms of CPU: 2 workers against 1",
    Unit::Times,
    UNPINNED,
    &[
        here(OURS, ours::speedup),
        here("rayon", in_process::speedup),
        here("procspawn", procspawn::speedup),
        python("mp.Pool(chunksize=1)", &["pool.py", "speedup"]),
    ],
);

pub(super) const TIMER: Case = percentile_99(
    "timer",
    "how late a 1 ms timer of the runtime is, the pool saturated: p99",
    Unit::Seconds,
    UNPINNED,
    &[
        here(OURS, ours::timer),
        here("idle runtime", in_process::timer_idle),
        here("spawn_blocking x2", in_process::timer_saturated),
        here("procspawn", procspawn::timer),
    ],
);

pub(super) const MEMORY: Case = median(
    "memory",
    "an idle worker of 4, after its first task: PSS",
    Unit::Bytes,
    UNPINNED,
    &[
        here(OURS, ours::memory),
        here("procspawn", procspawn::memory),
        python("ProcessPoolExecutor", &["executor.py", "memory"]),
        python("mp.Pool", &["pool.py", "memory"]),
    ],
);

pub(super) const WAKE_UPS: Case = median(
    "wake-ups",
    "context switches of an idle pool of 2 in 2 s, all threads, parent and workers",
    Unit::Count,
    UNPINNED,
    &[
        here(OURS, ours::wake_ups),
        here("no pool, sleeping runtime", in_process::wake_ups),
        here("procspawn", procspawn::wake_ups),
        python("ProcessPoolExecutor", &["executor.py", "wake-ups"]),
        python("mp.Pool", &["pool.py", "wake-ups"]),
    ],
);
