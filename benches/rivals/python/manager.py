"""multiprocessing.Manager: manager.py call"""

import multiprocessing

import measure


def main():
    with multiprocessing.Manager() as manager:
        numbers = manager.dict(n=1)
        measure.report(measure.durations(lambda: numbers.get("n")))


if __name__ == "__main__":
    main()
