"""Wake-ups: a worker thread that has run out of work waits a moment for more, without a Celery message for each call.

It registers in the broker's Redis and blocks on a list of its own. `notify.lua` takes the thread that began to wait
last off the register and pushes onto its list, or else publishes a message, in one step. So each notification reaches
either one thread or the queue; and a thread that stops waiting first takes itself off the register and then looks
whether it was woken in the meantime. What is sent to a thread that has died is lost: the sweep finds the work, and
after the time that the thread would have waited, nothing more is sent to it.
"""

from __future__ import annotations

from typing import Final

from common.kit import redis

_WORK: Final = "work"
_STOP: Final = "stop"
_STOP_SECONDS: Final = 5


def register(queue: str) -> str:
    """The sorted set of the threads that wait, in the slot of the queue's own list."""
    return f"{{{queue}}}:waiting"


def _list(queue: str, thread: str) -> str:
    return f"{{{queue}}}:wake-up:{thread}"


def wait(broker: redis.Client, queue: str, thread: str, seconds: float) -> bool:
    """Wait until there is work, for at most so many seconds (more than 0). Returns whether there is.

    Not while messages lie in the queue: somebody has to be free for them.

    Raises:
        RedisUnreachable: the broker is away, and perhaps this thread was woken.
    """
    own = _list(queue, thread)
    text, _ = redis.source("wait")
    with redis.reachable():
        with broker.pipeline(transaction=False) as pipeline:
            pipeline.eval(text, 3, register(queue), queue, own, thread, int(1000 * seconds))
            pipeline.blpop([own], seconds)
            popped = pipeline.execute()[1]
        return (popped is not None and popped[1] == _WORK) or _leave(broker, queue, thread)


def _leave(broker: redis.Client, queue: str, thread: str) -> bool:
    """Nobody wakes this thread any more. Returns whether somebody has."""
    with broker.pipeline(transaction=False) as pipeline:
        pipeline.zrem(register(queue), thread)
        pipeline.lpop(_list(queue, thread))
        return bool(pipeline.execute()[1] == _WORK)


def stop(broker: redis.Client, queue: str, thread: str) -> None:
    """End the wait of a thread of this process, also one that is about to begin. Raises `RedisUnreachable`."""
    own = _list(queue, thread)
    with redis.reachable(), broker.pipeline(transaction=False) as pipeline:
        pipeline.rpush(own, _STOP)  # behind a wake-up, which is to be seen first
        pipeline.expire(own, _STOP_SECONDS)
        pipeline.execute()
