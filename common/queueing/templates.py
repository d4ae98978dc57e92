"""Message templates: Celery messages for a list in Redis, serialized once by Celery; then only id and argument vary.

Serializing a message with `send_task` costs 0.6 ms of CPU, filling in a template a hundredth of that. Since Celery and
kombu produce the template, it is always in their format (Celery message protocol version 2 in kombu's envelope).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Final, TypedDict
from uuid import uuid4

from kombu.connection import Connection
from kombu.messaging import Producer

_SUBJECT: Final = "11111111-1111-4111-8111-111111111111"
#: Sends one message with the given arguments through the producer.
Send = Callable[[list[str], Producer], object]


class _Envelope(TypedDict):
    """A message in kombu's envelope."""

    body: str
    headers: dict[str, object]
    properties: dict[str, object]


class MessageTemplate:
    """A message that starts one task, to be sent many times. Calls `send` twice, on an in-memory broker."""

    def __init__(self, send: Send, queue: str) -> None:
        self._without = _Form(send, queue, [])
        self._with = _Form(send, queue, [_SUBJECT])

    def write(self, subject: str | None) -> str:
        """The message with a new id, and `subject` as its only argument (None: no argument)."""
        return self._without.fill("") if subject is None else self._with.fill(subject)


class _Form:
    def __init__(self, send: Send, queue: str, args: list[str]) -> None:
        message = _sample(send, queue, args)
        self._arguments = base64.b64decode(message["body"]).decode()
        self._id = str(message["headers"]["id"])
        message["headers"] |= {"root_id": self._id, "parent_id": None}  # otherwise those of a surrounding task
        message["body"] = "BODY"
        message["properties"]["delivery_tag"] = self._id
        self._text = json.dumps(message)

    def fill(self, subject: str) -> str:
        body = base64.b64encode(self._arguments.replace(_SUBJECT, subject).encode()).decode()
        text = self._text.replace('"BODY"', f'"{body}"').replace(_SUBJECT, subject)
        return text.replace(self._id, str(uuid4()))


def _sample(send: Send, queue: str, args: list[str]) -> _Envelope:
    """The message as serialized by kombu's virtual transports, which all use the same envelope."""
    with Connection("memory://") as connection, connection.channel() as channel:
        send(args, Producer(channel))
        message: _Envelope = channel._get(queue)
    return message
