"""multiprocessing's lock: locks.py uncontended|two"""

import multiprocessing
import sys

import measure


def add(lock, times):
    for _ in range(times):
        with lock:
            pass


def two(context):
    lock = context.Lock()

    def run(times):
        other = context.Process(target=add, args=(lock, times // 2))
        other.start()
        add(lock, times // 2)
        other.join()

    return run


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    if sys.argv[1] == "two":
        measure.report(measure.rates(two(context)))
    else:
        lock = context.Lock()
        measure.report(measure.rates(lambda times: add(lock, times)))
