"""multiprocessing.Pool: pool.py CASE"""

import multiprocessing
import sys

import measure
from measure import CROWD, ITEMS, WORKERS, increment


def use_all(pool, workers):
    seen = set()
    while len(seen) < workers:
        seen.update(pool.map(measure.whoami, range(workers), chunksize=1))


def map_single():
    with multiprocessing.Pool(WORKERS) as pool:

        def run(items):
            results = pool.map(increment, range(items), chunksize=1)
            assert results[-1] == items

        return measure.rates(run)


def map_default():
    with multiprocessing.Pool(WORKERS) as pool:

        def run():
            results = pool.map(increment, range(ITEMS))
            assert results[-1] == ITEMS

        return [ITEMS / seconds for seconds in measure.durations(run)]


def pool_life():
    def live():
        with multiprocessing.Pool(CROWD) as pool:
            use_all(pool, CROWD)
            pool.close()
            pool.join()

    return measure.durations(live)


def speedup():
    def through(pool):
        return lambda tasks: pool.map(measure.burn, [measure.LONG_TASK] * tasks, chunksize=1)

    with multiprocessing.Pool(1) as one, multiprocessing.Pool(2) as two:
        return measure.speedups(through(one), through(two))


def memory():
    with multiprocessing.Pool(CROWD) as pool:
        use_all(pool, CROWD)
        return measure.pss_of_descendants()


def wake_ups():
    with multiprocessing.Pool(WORKERS) as pool:
        use_all(pool, WORKERS)
        return measure.switches_while_idle()


CASES = {
    "map-single": map_single,
    "map-default": map_default,
    "pool-life": pool_life,
    "speedup": speedup,
    "memory": memory,
    "wake-ups": wake_ups,
}

if __name__ == "__main__":
    measure.report(CASES[sys.argv[1]]())
