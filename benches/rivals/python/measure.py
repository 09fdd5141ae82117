"""What every contender written in Python measures with: the twin of stopwatch.rs and tree.rs.

Samples are in SI units. The constants are those of the Rust side, which says why they are so.
"""

import os
import time

WORKERS = 2
CROWD = 4
ITEMS = 1_000_000
BIG = 64 << 20
LONG_TASKS = 100
LONG_TASK = 0.005
REST = 0.5
WATCH = 2.0

WARM_UP = 0.2
BUDGET = 1.0
MOST = 5_000
LEAST = 3
RATE_RUN = 0.25
RATES = 3
FIRST_SIZE = 1 << 10


def increment(x):
    return x + 1


def whoami(_):
    time.sleep(0.001)
    return os.getpid()


def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def length(data):
    assert data[0] == data[-1] == 1
    return len(data)


def durations(call):
    """How long `call` takes; the first call and those of the warm-up are not counted."""
    call()
    warm_at = time.perf_counter() + WARM_UP
    while time.perf_counter() < warm_at:
        call()
    samples = []
    end = time.perf_counter() + BUDGET
    while len(samples) < LEAST or (len(samples) < MOST and time.perf_counter() < end):
        start = time.perf_counter()
        call()
        samples.append(time.perf_counter() - start)
    return samples


def rates(run):
    """Items a second of `run(size)`, with a size that makes it long enough."""
    size = FIRST_SIZE
    while timed(run, size) < RATE_RUN:
        size *= 2
    return [size / timed(run, size) for _ in range(RATES)]


async def rates_awaited(run):
    """The same for a coroutine."""
    size = FIRST_SIZE
    while await timed_awaited(run, size) < RATE_RUN:
        size *= 2
    return [size / await timed_awaited(run, size) for _ in range(RATES)]


def speedups(one, two):
    return [timed(one, LONG_TASKS) / timed(two, LONG_TASKS) for _ in range(LEAST)]


def timed(run, size):
    start = time.perf_counter()
    run(size)
    return time.perf_counter() - start


async def timed_awaited(run, size):
    start = time.perf_counter()
    await run(size)
    return time.perf_counter() - start


def pss_of_descendants():
    time.sleep(REST)
    return [pss(pid) for pid in descendants()]


def switches_while_idle():
    time.sleep(REST)
    before = switches()
    time.sleep(WATCH)
    after = switches()
    return [sum(now - before.get(task, 0) for task, now in after.items())]


def descendants():
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        parent = field(f"/proc/{name}/status", "PPid:")
        if parent is not None:
            parents[int(name)] = parent
    found = [os.getpid()]
    for parent in found:
        found.extend(pid for pid, of in parents.items() if of == parent)
    return found[1:]


def pss(pid):
    return field(f"/proc/{pid}/smaps_rollup", "Pss:") * 1024


def switches():
    counts = {}
    for pid in [os.getpid(), *descendants()]:
        try:
            tasks = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for task in tasks:
            path = f"/proc/{pid}/task/{task}/status"
            counts[path] = sum(
                field(path, name) or 0
                for name in ("voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:")
            )
    return counts


def field(path, name):
    """The number after `name`, or None when the process is gone."""
    try:
        with open(path) as lines:
            for line in lines:
                if line.startswith(name):
                    return int(line.split()[1])
    except OSError:
        pass
    return None


def report(samples):
    print("samples", *samples, flush=True)
