"""The operations of an OpenAPI document as tools of the adapter `http_json`, and what of them cannot be mapped.

That adapter sends the input as the query of a GET, and as the JSON body of any other method, to one fixed address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urljoin

from common.models.tools import METHODS
from common.tools.importing import examples, servers
from common.tools.importing.converting import Converter
from common.tools.importing.document import Document, Part, Unmapped, listing, mapping, refused

MAX_OPERATIONS: Final = 1_500
_SLUG: Final = re.compile(r"[^a-z0-9]+")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Problem:
    """What could not be mapped. `blocking`: without it the tool cannot be made."""

    detail: str
    blocking: bool


@dataclass(slots=True)
class ImportedTool:
    """An operation as a tool. `auth`: the kind of credential that it needs, with `header_name` where that has one."""

    slug: str
    name: str
    description: str | None
    method: str
    path: str
    endpoint_url: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    input_schema: dict[str, object] | None = None
    output_schema: dict[str, object] | None = None
    example_input: object = None
    auth: dict[str, str] = field(default_factory=lambda: {"type": "none"})
    problems: list[Problem] = field(default_factory=list)

    @property
    def is_importable(self) -> bool:
        """Whether a tool can be made of it."""
        return not any(problem.blocking for problem in self.problems)

    def note(self, detail: str, *, blocking: bool = False) -> None:
        """Add a problem, once."""
        if (problem := Problem(detail, blocking)) not in self.problems:
            self.problems.append(problem)


def preview(root: object, *, url: str | None = None, base_url: str | None = None) -> list[ImportedTool]:
    """Every operation of a document, in its order. Raises `Invalid` if it cannot be read.

    `url`: where it came from, for relative servers; `base_url`: instead of its servers.
    """
    document = Document(root)
    slugs: set[str] = set()
    found: list[ImportedTool] = []
    for path, item, method, node in _operations(document):
        if len(found) == MAX_OPERATIONS:
            raise refused(f"It has more than {MAX_OPERATIONS:,} operations.")
        tool = _named(node, method, path, slugs)
        try:
            operation = document.part(node)
            _fill(document, tool, item, operation)
            base = base_url or servers.of(document, item, operation)
            tool.endpoint_url = _address(urljoin(url, base) if url else base, path)
        except Unmapped as error:
            tool.note(str(error), blocking=True)
        found.append(tool)
    return found


def _operations(document: Document) -> Iterator[tuple[str, Part, str, Part]]:
    for path, node in mapping(document.root.get("paths")).items():
        try:
            item = document.part(node)
        except Unmapped:
            continue
        for method, operation in item.items():
            if method.upper() in (*METHODS, "HEAD", "OPTIONS", "TRACE") and isinstance(operation, dict):
                document.step()
                yield path, item, method.upper(), operation


def _named(operation: Part, method: str, path: str, slugs: set[str]) -> ImportedTool:
    given = str(operation.get("operationId") or f"{method} {path}")
    slug = wanted = _SLUG.sub("-", _CAMEL.sub("-", given).lower()).strip("-")[:55].strip("-") or "tool"
    number = 1
    while slug in slugs:
        number += 1
        slug = f"{wanted}-{number}"
    slugs.add(slug)
    name = " ".join(str(operation.get("summary") or given).split())[:200]
    description = str(operation.get("description") or "").replace("\0", "")[:10_000] or None
    return ImportedTool(slug, name or slug, description, method, path)


def _fill(document: Document, tool: ImportedTool, item: Part, operation: Part) -> None:
    if tool.method not in METHODS:
        raise Unmapped(f"The method {tool.method} is not supported.")
    tool.auth = servers.auth(document, operation)
    if "callbacks" in operation:
        tool.note("Callbacks are not received.")
    taken = Converter(document, sent=True)
    query = _parameters(document, tool, item, operation)
    if "{" in tool.path and tool.is_importable:
        tool.note("The path has parameters, which cannot be filled: the address of a tool is fixed.", blocking=True)
    if tool.method == "GET":
        if "requestBody" in operation and mapping(operation["requestBody"]).get("required") is True:
            raise Unmapped("A GET with a body cannot be sent.")
        tool.input_schema = taken.schema(_of_query(query))
        tool.example_input = examples.of_parameters(query)
    else:
        _body(document, tool, taken, operation)
    answered = Converter(document, sent=False)
    tool.output_schema = _answer(document, answered, operation)
    for problem in (*taken.problems, *answered.problems):
        tool.note(problem)


def _parameters(document: Document, tool: ImportedTool, item: Part, operation: Part) -> list[Part]:
    """The parameters that are sent as the query of a GET. Notes the others."""
    nodes = [*listing(item.get("parameters")), *listing(operation.get("parameters"))]
    merged: dict[tuple[object, object], Part] = {}
    for node in nodes:
        part = document.part(node)
        merged[part.get("in"), part.get("name")] = part
    return [part for part in merged.values() if _is_sent(document, tool, part)]


def _is_sent(document: Document, tool: ImportedTool, part: Part) -> bool:
    where, name = part.get("in"), str(part.get("name"))[:100]
    if where == "header" and name.lower() in ("accept", "content-type", "authorization"):
        return False
    if where == "query" and tool.method == "GET":
        if (why := _unsendable(document, part)) is None:
            return True
        tool.note(f"The query parameter {name} {why}.", blocking=part.get("required") is True)
    elif where == "path":
        tool.note(f"The path parameter {name} cannot be filled: the address of a tool is fixed.", blocking=True)
    else:
        tool.note(f"The {where} parameter {name} cannot be sent.", blocking=part.get("required") is True)
    return False


def _unsendable(document: Document, part: Part) -> str | None:
    """Why a query parameter cannot be sent: lists repeat the name, objects are JSON."""
    if "content" in part:
        return None if "application/json" in mapping(part["content"]) else "is not sent as JSON"
    schema = document.part(part.get("schema", {}))
    style = str(part.get("style", "form"))
    if style != "form":
        return f"has the style {style[:50]}"
    if schema.get("type") == "array" and part.get("explode") is False:
        return "is a list in one value"
    return "is an object" if schema.get("type") == "object" else None


def _of_query(parameters: list[Part]) -> dict[str, object]:
    properties: dict[str, object] = {}
    for part in parameters:
        content = mapping(mapping(part.get("content")).get("application/json"))
        schema = content.get("schema") if content else part.get("schema")
        properties[str(part.get("name"))] = schema if isinstance(schema, dict | bool) else {}
    required = [str(part.get("name")) for part in parameters if part.get("required") is True]
    found: dict[str, object] = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**found, "required": required} if required else found


def _body(document: Document, tool: ImportedTool, taken: Converter, operation: Part) -> None:
    if "requestBody" not in operation:
        tool.input_schema = {"type": "object", "additionalProperties": False}
        tool.example_input = {}
        tool.note("An empty JSON object is sent, because the adapter always sends a body.")
        return
    body = document.part(operation["requestBody"])
    content = mapping(body.get("content"))
    kind = _json_of(content)
    if kind is None:
        kinds = ", ".join(str(each)[:60] for each in content) or "nothing"
        raise Unmapped(f"The body is {kinds}: only JSON can be sent.")
    if kind.endswith("+json"):
        tool.headers["Content-Type"] = kind
    media = mapping(content[kind])
    tool.input_schema = taken.schema(media.get("schema", True))
    tool.example_input = examples.of_media(document, media)


def _answer(document: Document, answered: Converter, operation: Part) -> dict[str, object] | None:
    """The schema of the first success. Raises `Unmapped` if no success is JSON."""
    responses = mapping(operation.get("responses"))
    good = [code for code in responses if str(code).startswith("2")] or [c for c in responses if c == "default"]
    if not good:
        return None
    found = [mapping(document.part(responses[code]).get("content")) for code in sorted(good)]
    content = next((each for each in found if _json_of(each) is not None), None)
    if content is None:
        kinds = ", ".join(str(each)[:60] for each in found[0]) or "empty"
        raise Unmapped(f"The response is {kinds}: only JSON can be read.")
    schema = mapping(content[_json_of(content) or ""]).get("schema")
    return None if schema is None else answered.schema(schema)


def _json_of(content: Part) -> str | None:
    """The media type of a content that is JSON, or may be."""
    essences = {str(kind): str(kind).partition(";")[0].strip().lower() for kind in content}
    plain = [kind for kind, essence in essences.items() if essence == "application/json"]
    more = [kind for kind, essence in essences.items() if essence.endswith("+json")]
    anything = [kind for kind, essence in essences.items() if essence in ("*/*", "application/*")]
    return next(iter([*plain, *more, *anything]), None)


def _address(base: str, path: str) -> str:
    if not base.startswith(("https://", "http://")):
        raise Unmapped("No server has an absolute address: send `base_url`.")
    return base.rstrip("/") + path if path.startswith("/") else f"{base.rstrip('/')}/{path}"
