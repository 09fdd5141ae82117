//! The cases of queues and pipes.

use super::{BOTH, Case, OURS, UNPINNED, here, median, python};
use crate::contenders::{channels, in_process, ipc_channel, unix_ipc};
use crate::figure::Unit;

pub(super) const QUEUE_ONE: Case = median(
    "queue-1-1",
    "64-byte messages, one process to another, as a stream: messages/s",
    Unit::PerSecond,
    UNPINNED,
    &[
        here(OURS, channels::one_to_one),
        here("tokio mpsc", channels::tokio_one_to_one),
        here("flume", channels::flume_one_to_one),
        here("ipc-channel", ipc_channel::one_to_one),
        here("tokio-unix-ipc", unix_ipc::one_to_one),
        python("mp.Queue", &["channels.py", "one-to-one"]),
    ],
);

pub(super) const QUEUE_TWO: Case = median(
    "queue-2-2",
    "64-byte messages, two processes to two others: messages/s",
    Unit::PerSecond,
    UNPINNED,
    &[
        here(OURS, channels::two_to_two),
        here("flume", channels::flume_two_to_two),
        python("mp.Queue", &["channels.py", "two-to-two"]),
    ],
);

pub(super) const QUEUE_LARGE: Case = median(
    "queue-large",
    "messages of 1 MiB, one process to another: messages/s",
    Unit::PerSecond,
    UNPINNED,
    &[
        here(OURS, channels::large),
        here("ipc-channel", ipc_channel::large),
        here("tokio-unix-ipc", unix_ipc::large),
        python("mp.Queue", &["channels.py", "large"]),
    ],
);

pub(super) const PIPE: Case = median(
    "pipe",
    "64 bytes there and back through a pipe, async on both sides: p50",
    Unit::Seconds,
    BOTH,
    &[
        here(OURS, channels::round_trip),
        here("tokio-unix-ipc", unix_ipc::round_trip),
    ],
);

pub(super) const PIPE_BLOCKING: Case = median(
    "pipe-blocking",
    "64 bytes there and back through a pipe, blocking on both sides: p50",
    Unit::Seconds,
    BOTH,
    &[
        here(OURS, channels::round_trip_blocking),
        here("ipc-channel", ipc_channel::round_trip),
        python("mp.Pipe", &["channels.py", "round-trip"]),
    ],
);

pub(super) const QUEUE_IDLE: Case = median(
    "queue-idle",
    "context switches of an idle queue with a receiver that waits, in 2 s, both processes",
    Unit::Count,
    UNPINNED,
    &[
        here(OURS, channels::idle),
        here("no queue, sleeping runtime", in_process::wake_ups),
    ],
);
