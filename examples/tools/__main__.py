"""`python -m examples.tools`: serve the tools on HOST:PORT (default 127.0.0.1:8100)."""

from __future__ import annotations

import os
import sys
import threading

from flask import Flask
from gunicorn.app.base import BaseApplication

from examples.tools import ngrams
from examples.tools.app import create_app
from examples.tools.catalogue import TOOLS

THREADS = 256
#: One JSON line per request; gunicorn escapes quotes and control characters in what clients send.
ACCESS_LOG = (
    '{"time":"%(t)s","method":"%(m)s","path":"%(U)s","status":%(s)s,"ms":%(M)s,'
    '"request_id":"%({x-request-id}i)s","idempotency_key":"%({idempotency-key}i)s"}'
)


class Service(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """One process with many threads: most calls take a millisecond, `/slow` only waits, and `/flaky` remembers keys."""

    def __init__(self, bind: str) -> None:
        self.bind = bind
        super().__init__()

    def load_config(self) -> None:
        options: dict[str, object] = {
            "bind": self.bind,
            "workers": 1,
            "worker_class": "gthread",
            "threads": THREADS,
            "keepalive": 75,
            "graceful_timeout": 5,
            "accesslog": "-",
            "access_log_format": ACCESS_LOG,
            "control_socket_disable": True,
            "proc_name": "example-tools",
            "post_worker_init": lambda _worker: threading.Thread(target=warm, daemon=True).start(),
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return create_app()


def warm() -> None:
    """Load every model once, in the background; early requests wait for their model."""
    for tool in TOOLS:
        if tool.category == "text":
            tool.answer(tool.example_input, "")
    ngrams.model()


def main() -> None:
    host, port = os.environ.get("HOST", "127.0.0.1"), os.environ.get("PORT", "8100")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        sys.exit(f"PORT must be a number from 1 to 65535, not {port!r}")
    Service(f"[{host}]:{port}" if ":" in host else f"{host}:{port}").run()


if __name__ == "__main__":
    main()
