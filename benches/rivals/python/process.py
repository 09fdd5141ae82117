"""multiprocessing.Process by one of its start methods: process.py fork|forkserver|spawn

The result comes back through a pipe, which is the least that Process offers.
"""

import multiprocessing
import sys

import measure


def answer(sender, x):
    sender.send(measure.increment(x))


def start(context):
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=answer, args=(sender, 1))
    process.start()
    sender.close()
    assert receiver.recv() == 2
    process.join()
    receiver.close()
    process.close()


if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    measure.report(measure.durations(lambda: start(context)))
