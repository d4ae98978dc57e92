"""Bare post: a loop of `requests.post` over kept-alive connections, in so many threads.

`python -m tools.bench.limits.post URL COUNT THREADS` prints how many a second were delivered.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import requests

BODY = b'{"type":"invocation.succeeded","timestamp":"2027-01-31T12:00:00Z","data":{"filler":"%s"}}' % (b"x" * 800)


def loop(url: str, count: int) -> None:
    session = requests.Session()
    for _ in range(count):
        session.post(url, data=BODY, headers={"Content-Type": "application/json"}, timeout=15).raise_for_status()


def rate(url: str, count: int, threads: int) -> float:
    begun = perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda _: loop(url, count // threads), range(threads)))
    return count // threads * threads / (perf_counter() - begun)


if __name__ == "__main__":
    print(rate(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
