"""What the stories have in common: where the platform is, a new account, a receiver of webhooks, and what is told."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue
from uuid import uuid4

from standardwebhooks import Webhook

HUB = os.environ.get("HUB_URL", "http://localhost:8000")
TOOL = os.environ.get("HUB_TOOL", "echo")
Received = tuple[bytes, dict[str, str]]


def account(story: str) -> dict[str, str]:
    return {"email": f"{story}-{uuid4()}@example.com", "password": "a quiet green river", "name": story}


@contextmanager
def receiver() -> Iterator[tuple[str, Queue[Received]]]:
    """The address of a receiver on this machine, and the webhooks that came."""
    arrived: Queue[Received] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()
            arrived.put((body, dict(self.headers.items())))

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the story tells what came."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook", arrived
        server.shutdown()


def verified(received: Received, secret: str) -> str:
    """The type of a webhook whose signature the reference library has verified."""
    body, headers = received
    return str(Webhook(secret).verify(body.decode(), headers)["type"])


def tell(story: str, *, status: str, output: object, tokens: int, webhook: str, refused: str) -> None:
    """What a story has seen, as a line of JSON for the test that runs it."""
    told = {"status": status, "output": output, "tokens": tokens, "webhook": webhook, "refused": refused}
    print(json.dumps({"story": story, **told}))
