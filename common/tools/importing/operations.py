"""The operations of an OpenAPI document as tools of the adapter `http_json`, and what of them cannot be mapped.

That adapter puts the parameters of path and query into the address, and sends the rest of the input as the JSON body,
or as the query of a GET (`common/tools/url_templates.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urljoin, urlsplit

from common.kit import log
from common.models.tools import METHODS
from common.tools.importing import examples, parameters, servers
from common.tools.importing.converting import Converter
from common.tools.importing.document import Document, Part, Unmapped, mapping, refused
from common.tools.importing.parameters import Parameters

logger = log.get(__name__)

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
    #: What is appended to the address: `{?…}`, or nothing.
    query: str = ""

    @property
    def is_importable(self) -> bool:
        """Whether a tool can be made of it."""
        return not any(problem.blocking for problem in self.problems)

    def note(self, detail: str, *, blocking: bool = False) -> None:
        """Add a problem, once."""
        if (problem := Problem(detail, blocking)) not in self.problems:
            self.problems.append(problem)


def preview(
    root: object, *, url: str | None = None, base_url: str | None = None, most: int | None = None
) -> list[ImportedTool]:
    """Every operation of a document, in its order. Raises `Invalid` if it cannot be read.

    `url`: where it came from, for relative servers; `base_url`: instead of its servers; `most`: see `Document`.
    """
    document = Document(root, most)
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
            tool.endpoint_url = _address(url, base, path) + tool.query
        except Unmapped as error:
            tool.note(str(error), blocking=True)
        except (AttributeError, LookupError, TypeError, ValueError):
            logger.warning("operation not mapped", slug=tool.slug, exc_info=True)
            tool.note("A part of it has another type than OpenAPI says.", blocking=True)
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
    given = parameters.of(document, tool, item, operation)
    if tool.method == "GET" and mapping(operation.get("requestBody")).get("required") is True:
        raise Unmapped("A GET with a body cannot be sent.")
    if tool.method == "GET" or "requestBody" not in operation:
        tool.input_schema = taken.schema(given.schema())
        tool.example_input = examples.of_parameters(given.all)
        if tool.method != "GET":
            tool.note("An empty JSON object is sent, because the adapter always sends a body.")
    else:
        _body(document, tool, taken, operation, given)
    tool.query = given.appended
    answered = Converter(document, sent=False)
    tool.output_schema = _answer(document, answered, operation)
    for problem in (*taken.problems, *answered.problems):
        tool.note(problem)


def _body(document: Document, tool: ImportedTool, taken: Converter, operation: Part, given: Parameters) -> None:
    body = document.part(operation["requestBody"])
    content = mapping(body.get("content"))
    kind = _json_of(content)
    if kind is None:
        kinds = ", ".join(str(each)[:60] for each in content) or "nothing"
        raise Unmapped(f"The body is {kinds}: only JSON can be sent.")
    if kind.endswith("+json"):
        tool.headers["Content-Type"] = kind
    media = mapping(content[kind])
    node, example = media.get("schema", True), examples.of_media(document, media)
    tool.input_schema = taken.schema(given.beside(document, node) if given.all else node)
    tool.example_input = examples.beside(examples.of_parameters(given.all), example) if given.all else example


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


def _address(url: str | None, server: str, path: str) -> str:
    """Where an operation is; `url`: where the document came from. Raises `Unmapped`."""
    try:
        base = urljoin(url, server) if url else server
        urlsplit(base)
    except ValueError:
        raise Unmapped("The address of its server is not a valid URL.") from None
    if not base.startswith(("https://", "http://")):
        raise Unmapped("No server has an absolute address: send `base_url`.")
    return base.rstrip("/") + path if path.startswith("/") else f"{base.rstrip('/')}/{path}"
