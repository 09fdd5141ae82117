"""multiprocessing's queues and pipes: channels.py one-to-one|two-to-two|large|round-trip"""

import multiprocessing
import sys

import measure

MESSAGE = bytes(64)
LARGE = bytes(1 << 20)
DEPTH = 1024


def produce(queue, messages, message):
    for _ in range(messages):
        queue.put(message)


def consume(queue, messages):
    for _ in range(messages):
        queue.get()


def through(context, sides, message, depth):
    def run(messages):
        queue = context.Queue(depth)
        share = messages // sides
        arguments = (queue, share, message)
        producers = [context.Process(target=produce, args=arguments) for _ in range(sides)]
        others = sides if sides > 1 else 0
        consumers = [context.Process(target=consume, args=(queue, share)) for _ in range(others)]
        for process in producers + consumers:
            process.start()
        if not others:
            consume(queue, messages)
        for process in producers + consumers:
            process.join()
        queue.close()

    return run


def echo(connection):
    while True:
        connection.send(connection.recv())


def round_trip(context):
    here, there = context.Pipe()
    process = context.Process(target=echo, args=(there,), daemon=True)
    process.start()

    def call():
        here.send(MESSAGE)
        here.recv()

    samples = measure.durations(call)
    process.kill()
    return samples


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    case = sys.argv[1]
    if case == "round-trip":
        measure.report(round_trip(context))
    elif case == "large":
        measure.report(measure.rates(through(context, 1, LARGE, 8)))
    else:
        sides = {"one-to-one": 1, "two-to-two": 2}[case]
        measure.report(measure.rates(through(context, sides, MESSAGE, DEPTH)))
