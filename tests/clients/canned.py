"""A platform of canned answers on a real socket, for the command line."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.clients.scripted import Reply, invocation

ID = "01a222e4-d107-7c3e-9a51-4a1f60c7b9d2"
DONE = invocation(
    id=ID, started_at="2026-11-29T07:00:01Z", finished_at="2026-11-29T07:00:02.400Z", end_user=None,
    output={"label": "positive", "score": 0.9997}, waiting=None,
)  # fmt: skip
FAILED = {**DONE, "id": ID[:-1] + "3", "status": "failed", "output": None, "attempts": 3}
FAILED["error"] = {"code": "tool_timeout", "detail": "The tool did not answer within 30 seconds."}
QUEUED = {**DONE, "id": ID[:-1] + "4", "status": "queued", "attempts": 0, "finished_at": None, "output": None}


class Canned:
    """Answers by method and path, in order; the last one again and again."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.answers: defaultdict[str, list[Reply]] = defaultdict(list)
        #: Seconds before each answer.
        self.slow = 0.0
        self.asked: list[tuple[str, dict[str, str], bytes]] = []

    def on(self, what: str, *replies: Reply) -> Canned:
        """`on("GET /api/v1/tools", ok([…]))`."""
        self.answers[what] += replies
        return self

    def reply(self, what: str) -> Reply:
        known = self.answers[what.partition("?")[0]]
        if not known:
            return Reply(
                404, {"code": "not_found", "status": 404, "detail": f"no answer to {what}", "request_id": "r-1"}
            )
        return known.pop(0) if len(known) > 1 else known[0]


@contextmanager
def serving() -> Iterator[Canned]:
    """On a free port of the loopback, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            what = f"{self.command} {self.path}"
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            canned.asked.append((what, {name.lower(): value for name, value in self.headers.items()}, body))
            time.sleep(canned.slow)  # a server that is slow to answer
            reply = canned.reply(what)
            content = b"".join(reply.parts) if reply.parts is not None else _encoded(reply.body)
            self.send_response(reply.status)
            for name, value in {**reply.headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = do_PATCH = _answer  # noqa: N815 - as the library names them

        def log_message(self, *_args: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    canned = Canned(server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield canned
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _encoded(body: object) -> bytes:
    return b"" if body is None else json.dumps(body).encode()
