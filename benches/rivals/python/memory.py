"""multiprocessing.shared_memory: memory.py argument|stream"""

import multiprocessing
import sys
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory

import measure

LARGE = bytes([1]) * (1 << 20)
DEPTH = 8


def length(name):
    memory = SharedMemory(name)
    found = measure.length(memory.buf)
    memory.close()
    return found


def argument(context):
    memory = SharedMemory(create=True, size=measure.BIG)
    memory.buf[:] = b"\1" * measure.BIG
    with context.Pool(measure.WORKERS) as pool:
        samples = measure.durations(lambda: pool.apply(length, (memory.name,)))
    memory.close()
    memory.unlink()
    return samples


def produce(queue, messages):
    for _ in range(messages):
        memory = SharedMemory(create=True, size=len(LARGE))
        memory.buf[:] = LARGE
        queue.put(memory.name)
        memory.close()


def stream(context):
    def run(messages):
        queue = context.Queue(DEPTH)
        producer = context.Process(target=produce, args=(queue, messages))
        producer.start()
        for _ in range(messages):
            memory = SharedMemory(queue.get())
            # `bytes` reads it all; a sum in Python would measure Python.
            assert len(bytes(memory.buf)) == len(LARGE)
            memory.close()
            memory.unlink()
        producer.join()
        queue.close()

    return run


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    # One tracker for all processes: one of a child's own would remove memory that others use.
    resource_tracker.ensure_running()
    if sys.argv[1] == "argument":
        measure.report(argument(context))
    else:
        measure.report(measure.rates(stream(context)))
