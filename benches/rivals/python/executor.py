"""concurrent.futures.ProcessPoolExecutor, or loky's: executor.py CASE [loky]"""

import asyncio
import sys

import measure
from measure import CROWD, WORKERS, increment

SUBMITTERS = 64


def executor(workers):
    if "loky" in sys.argv[2:]:
        from loky import ProcessPoolExecutor
    else:
        from concurrent.futures import ProcessPoolExecutor
    return ProcessPoolExecutor(max_workers=workers)


def use_all(pool, workers):
    seen = set()
    while len(seen) < workers:
        tasks = [pool.submit(measure.whoami, turn) for turn in range(workers)]
        seen.update(task.result() for task in tasks)


def one_task():
    with executor(WORKERS) as pool:
        return measure.durations(lambda: pool.submit(increment, 1).result())


def submitters():
    """Coroutines: faster than as many threads, and what a server would do."""
    return asyncio.run(submitters_awaited())


async def submitters_awaited():
    loop = asyncio.get_running_loop()
    with executor(WORKERS) as pool:

        async def submit(tasks):
            for x in range(tasks):
                await loop.run_in_executor(pool, increment, x)

        async def run(tasks):
            await asyncio.gather(*[submit(tasks // SUBMITTERS) for _ in range(SUBMITTERS)])

        return await measure.rates_awaited(run)


def pool_life():
    def live():
        with executor(CROWD) as pool:
            use_all(pool, CROWD)

    return measure.durations(live)


def big_argument():
    data = b"\1" * measure.BIG
    with executor(WORKERS) as pool:
        return measure.durations(lambda: pool.submit(measure.length, data).result())


def memory():
    with executor(CROWD) as pool:
        use_all(pool, CROWD)
        return measure.pss_of_descendants()


def wake_ups():
    with executor(WORKERS) as pool:
        use_all(pool, WORKERS)
        return measure.switches_while_idle()


CASES = {
    "one-task": one_task,
    "submitters": submitters,
    "pool-life": pool_life,
    "big-argument": big_argument,
    "memory": memory,
    "wake-ups": wake_ups,
}

if __name__ == "__main__":
    measure.report(CASES[sys.argv[1]]())
