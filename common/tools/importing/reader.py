"""Reading a document beside the event loop: a large one takes seconds of computing, and may be made to take more.

A small one is read at once, if few parts of it have to be looked at. Any other is read by a child process with a low
priority and limits of time and memory, which gets the document and answers with what is to be shown and made.
"""

from __future__ import annotations

import json
import os
import resource
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any, Final

import orjson

import common
from common.errors import DependencyUnavailable, FieldError, Invalid
from common.kit import jsonschemas, log
from common.kit.children import FD, Child
from common.tools.importing.document import TooManyParts, read, refused
from common.tools.importing.operations import ImportedTool, Problem, preview

#: A document of so many bytes at most, of which so many parts are looked at, is read in place.
SMALL: Final = 64 * 1024
FEW: Final = 2_000
#: Schemas and examples of a preview, in bytes; those of further tools are left out.
MAX_SHOWN: Final = 1024 * 1024
#: Of computing, in the child; and of waiting for it on a busy machine.
CPU_SECONDS: Final = 15
WAIT_SECONDS: Final = 30.0
MEMORY: Final = 1024 * 1024 * 1024
ROOT: Final = Path(common.__file__).resolve().parent.parent

logger = log.get(__name__)
#: Children of a process at once.
_turns = BoundedSemaphore(1)


@dataclass(frozen=True, slots=True)
class Asked:
    """A document as JSON, and what of it is wanted. `show`: slugs to be shown (empty: all); `create`: to be made."""

    document: bytes
    url: str | None = None
    base_url: str | None = None
    show: Sequence[str] = ()
    create: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """What is shown, of how many without schemas; and what is to be made, by slug, as far as the document has it."""

    shown: list[ImportedTool]
    omitted: int
    wanted: dict[str, ImportedTool]


def found(asked: Asked) -> ReadDocument:
    """Read the document. Raises `Invalid`, and `DependencyUnavailable` if another one is being read for long."""
    if len(asked.document) <= SMALL:
        try:
            return _read(asked, most=FEW)
        except TooManyParts:
            pass
    if not _turns.acquire(timeout=WAIT_SECONDS):
        raise DependencyUnavailable("Another document is being imported. Nothing was created; retry.", retry_after=10)
    try:
        return _by_child(asked)
    finally:
        _turns.release()


def _read(asked: Asked, most: int | None = None) -> ReadDocument:
    tools = preview(read(asked.document), url=asked.url, base_url=asked.base_url, most=most)
    wanted = {tool.slug: tool for tool in tools if tool.slug in asked.create}
    shown = [tool for tool in tools if not asked.show or tool.slug in asked.show]
    kept = {slug: ImportedTool(**_fields(asdict(tool))) for slug, tool in wanted.items()}
    return ReadDocument(shown, _shorten(shown), kept)


def _shorten(tools: Sequence[ImportedTool]) -> int:
    """Leave out schemas beyond `MAX_SHOWN`; returns for how many tools."""
    left, omitted = MAX_SHOWN, 0
    for tool in tools:
        left -= len(json.dumps([tool.input_schema, tool.output_schema, tool.example_input]))
        if left < 0:
            omitted += 1
            tool.input_schema = tool.output_schema = tool.example_input = None
    return omitted


# -- by a child ------------------------------------------------------------------------------------------------------


def _by_child(asked: Asked) -> ReadDocument:
    head = {"url": asked.url, "base_url": asked.base_url, "show": [*asked.show], "create": [*asked.create]}
    try:
        answer: dict[str, Any] = json.loads(_answer(orjson.dumps(head) + b"\n" + asked.document))
    except (EOFError, OSError) as error:
        logger.warning("document not read: the child exceeded its limits", reason=type(error).__name__)
        raise refused("It takes too long to be read. Cut it down to the operations that you want.") from error
    return _answered(answer)


def _answer(question: bytes) -> bytes:
    child = Child(["-P", "-c", f"from {__name__} import main; main()"], {"PYTHONPATH": str(ROOT)})
    try:
        child.socket.settimeout(WAIT_SECONDS)
        jsonschemas.send(child.socket, question)
        return jsonschemas.receive(child.socket)
    finally:
        child.end()


def _answered(answer: dict[str, Any]) -> ReadDocument:  # Any: what `main` has written
    if "refused" in answer:
        detail, faults = answer["refused"]
        raise Invalid(detail, errors=[FieldError(*fault) for fault in faults])
    shown = [ImportedTool(**_fields(tool)) for tool in answer["shown"]]
    wanted = {slug: ImportedTool(**_fields(tool)) for slug, tool in answer["wanted"].items()}
    return ReadDocument(shown, answer["omitted"], wanted)


def _fields(tool: Mapping[str, Any]) -> dict[str, Any]:
    return {**tool, "problems": [Problem(**problem) for problem in tool["problems"]]}


def main() -> None:
    """Read a question from the parent's socket, and answer it."""
    os.closerange(FD + 1, os.sysconf("SC_OPEN_MAX"))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    parent = socket.socket(fileno=FD)
    parent.setblocking(True)  # a gevent parent leaves it non-blocking
    head, _, document = jsonschemas.receive(parent).partition(b"\n")
    try:
        read_ = _read(Asked(document, **orjson.loads(head)))
        answer: dict[str, object] = {
            "shown": [asdict(tool) for tool in read_.shown],
            "omitted": read_.omitted,
            "wanted": {slug: asdict(tool) for slug, tool in read_.wanted.items()},
        }
    except Invalid as error:
        answer = {"refused": [error.detail, [[fault.pointer, fault.detail] for fault in error.errors]]}
    jsonschemas.send(parent, json.dumps(answer).encode())
