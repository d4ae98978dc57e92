"""`python -m tests.webhooks.deliverer`: delivers until it is killed, by the worker's own loop without the broker."""

from __future__ import annotations

import contextlib
import threading
import time

from common import boot
from common.kit import db
from common.settings import load
from worker.delivery import Sender

THREADS = 8


def main() -> None:
    boot.connect(load(), process="webhooks", pool_size=THREADS)
    sender = Sender(boot.outbound(), THREADS)
    for _ in range(THREADS):
        threading.Thread(target=_loop, args=(sender,), daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()


def _loop(sender: Sender) -> None:
    while True:
        with contextlib.suppress(db.Unreachable):
            sender.run()
        time.sleep(0.02)


if __name__ == "__main__":
    main()
