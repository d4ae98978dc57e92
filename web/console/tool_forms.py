"""A tool as an admin types it, and the same as the API would be sent it.

Fields are named by where their value belongs: `price/base_tokens`. What is wrong with one is found by the schemas that
the API has too and by the verbs, and is said beside the field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NotRequired, TypedDict
from urllib.parse import unquote, urlsplit

from common import errors
from common.errors import FieldError
from common.models.tools import ADAPTERS, AUTH_TYPES, METHODS
from common.tools import ListedTool
from common.tools.drafts import DEFAULTS, DOCUMENTS, SHOWN
from web.console import json_texts
from web.console.forms import Typed
from web.console.repeats import RepeatableForm
from web.http import body, validation
from web.http.fields import Secret, Whole
from web.http.tool_drafts import ToolInSchema


def choices(names: Sequence[str], **about: str) -> list[tuple[str, str]]:
    """All the names as options, with what there is to say about some of them."""
    return [(name, f"{name}: {about[name]}" if name in about else name) for name in names]


TEXTS: Final = (
    *("slug", "name", "description", "category", "endpoint_url", "adapter", "method", "result_pointer", "fallback"),
)
NUMBERS: Final = ("timeout_seconds", "max_attempts", "idle_seconds")
FLAGS: Final = ("idempotent", "is_active", "streaming")
PRICE: Final = ("price/base_tokens", "price/max_tokens")
PER_UNIT: Final = ("price/per_unit/tokens", "price/per_unit/unit", "price/per_unit/pointer")
METERED: Final = ("price/metered/chars_per_unit", "price/metered/input")
AUTH: Final = ("auth/type", "auth/header_name", "auth/username", "auth/secret")
FIELDS: Final = frozenset(
    (*TEXTS, *NUMBERS, *FLAGS, *DOCUMENTS, *PRICE, *PER_UNIT, *METERED, *AUTH, "headers", "url", "document", "create")
)
#: What can be chosen, all of it: a tool whose choice is not offered would get another one.
ADAPTER_CHOICES: Final = choices(
    ADAPTERS,
    http_json="the input is the JSON body",
    chat_completion="OpenAI-compatible",
    embeddings="OpenAI-compatible",
)
METHOD_CHOICES: Final = choices(METHODS)
AUTH_CHOICES: Final = choices(
    AUTH_TYPES, bearer="Authorization: Bearer …", header="one of its own", basic="name and password"
)
#: A schema to begin with.
EXAMPLE: Final = """{
  "type": "object",
  "required": ["text"],
  "properties": {
    "text": {"type": "string", "description": "What is looked at."}
  }
}"""
_SLUG: Final = re.compile(r"[^a-z0-9]+")


class ToolForm(RepeatableForm):
    """What of the editor is not read by its name. `version`: the one that was shown."""

    version = Whole(1)
    secret = Secret(data_key="auth/secret")


class ToolSent(TypedDict):
    """What `ToolForm` loads."""

    version: NotRequired[int]
    secret: NotRequired[str]
    once: NotRequired[str]


# -- from a tool to what is typed ----------------------------------------------------------------------------------


def values(tool: ListedTool) -> dict[str, str]:
    """What the editor of a tool has in its fields. Secrets are not shown."""
    it, price = tool.current, tool.current.price
    found: dict[str, object] = {name: getattr(tool, name, None) or getattr(it, name, "") for name in TEXTS}
    found |= {name: getattr(it, name) for name in NUMBERS}
    found |= {f"auth/{name}": value for name, value in it.auth.items()}
    found |= {f"price/per_unit/{name}": value for name, value in (price.per_unit or {}).items()}
    if price.metered is not None:
        found["price/metered/chars_per_unit"] = price.metered["chars_per_unit"]
        found["price/metered/input"] = "true" if price.metered["input"] else ""
    found |= {"price/base_tokens": price.base_tokens, "price/max_tokens": price.max_tokens}
    found |= {name: json_texts.indented(value) for name in DOCUMENTS if (value := getattr(it, name)) is not None}
    found["headers"] = "\n".join(f"{name}: {value}" for name, value in it.headers.items())
    return {
        **_nothing(),
        **{name: str(value) for name, value in found.items() if value is not None},
        "idempotent": "true" if it.idempotent else "",
        "streaming": "true" if it.streaming else "",
        "is_active": "true" if tool.is_active else "",
    }


def beginning(url: str) -> dict[str, str]:
    """What the editor of a new tool has in its fields; name and slug are made of its URL."""
    last = _last_word(url)
    words = re.sub(r"[^\w]+|_+", " ", last).strip()[:100]
    told = {name: str(value) for name, value in DEFAULTS.items() if isinstance(value, str | int) and value is not True}
    given = {"endpoint_url": url, "name": words[:1].upper() + words[1:], "slug": slug_of(words)}
    return {
        **_nothing(),
        **told,
        **given,
        "idempotent": "",
        "streaming": "",
        "is_active": "true",
        "input_schema": EXAMPLE,
    }


def _last_word(url: str) -> str:
    """The end of a URL's path, or its host; empty if it is no URL."""
    try:
        parts = urlsplit(url)
        return unquote(parts.path.rstrip("/").rpartition("/")[2]) or (parts.hostname or "")
    except ValueError:
        return ""


def slug_of(name: str) -> str:
    """A slug for a tool of this name; it may be empty."""
    return _SLUG.sub("-", name.lower()).strip("-")[:63].strip("-")


def _nothing() -> dict[str, str]:
    return {**dict.fromkeys(FIELDS, ""), "auth/type": "none"}


# -- from what is typed to a tool ----------------------------------------------------------------------------------


def described(typed: Typed, secret: str | None) -> dict[str, object]:
    """The tool that was typed, as the API is sent one: whole, with defaults for what was left empty. Raises `Invalid`.

    A name without a slug gets one.
    """
    given = _given(typed)
    found: dict[str, object] = {**DEFAULTS, **{name: given[name] for name in TEXTS if name in given}}
    found |= {name: _number(given[name]) for name in NUMBERS if name in given}
    found |= {name: given.get(name) == "true" for name in FLAGS}
    found |= documents(given, DOCUMENTS)
    found |= {"headers": _headers(given.get("headers", "")), "auth": auth(typed, secret), "price": price(typed)}
    if slug := slug_of(given.get("name", "")):
        found.setdefault("slug", slug)
    loaded: dict[str, object] = validation.loaded(ToolInSchema(), found, "form")
    return loaded


def price(typed: Typed) -> dict[str, object]:
    """The price that was typed. Without a limit it is what every call costs."""
    given = _given(typed)
    found: dict[str, object] = {name[6:]: _number(given[name]) for name in PRICE if name in given}
    if METERED[0] in given:
        found["metered"] = {"chars_per_unit": _number(given[METERED[0]]), "input": given.get(METERED[1]) == "true"}
    per_unit = {name[15:]: given[name] for name in PER_UNIT if name in given}
    if not per_unit:
        return {"max_tokens": found["base_tokens"], **found} if "base_tokens" in found else found
    tokens = {"tokens": _number(per_unit["tokens"])} if "tokens" in per_unit else {}
    return {**found, "per_unit": {"pointer": "", **per_unit, **tokens}}


def auth(typed: Typed, secret: str | None) -> dict[str, str]:
    """The credential that was typed: what its type has; a secret that was left empty stays as it is stored."""
    given = _given(typed)
    kind = given.get("auth/type", "none")
    found = {name: given[f"auth/{name}"] for name in SHOWN.get(kind, ()) if f"auth/{name}" in given}
    return {"type": kind, **found, **({"secret": secret} if secret else {})}


def documents(typed: Typed, names: tuple[str, ...]) -> dict[str, object]:
    """Fields that are typed as JSON, without those that were left empty. Raises `Invalid`."""
    found: dict[str, object] = {}
    faults = []
    for name, text in _given(typed).items():
        if name in names:
            try:
                found[name] = body.parse(text.encode())
            except errors.PlatformError as error:
                faults.append(FieldError(f"/{name}", f"This is not valid JSON: {error.detail}"))
    if faults:
        raise errors.Invalid("The form is not valid.", errors=faults)
    return found


@contextmanager
def pointing() -> Iterator[None]:
    """Errors in the block point to fields of the form; where they point into one, the detail says where."""
    try:
        yield
    except errors.Invalid as error:
        raise type(error)(error.detail, errors=[_located(fault) for fault in error.errors]) from None


def _located(fault: FieldError) -> FieldError:
    path = fault.pointer.lstrip("/")
    while path and path not in FIELDS:
        path = path.rpartition("/")[0]
    rest = fault.pointer.lstrip("/").removeprefix(path).lstrip("/")
    known = path or fault.pointer.lstrip("/")
    return FieldError(f"/{known}", f"{rest}: {fault.detail}" if path and rest and not rest.isdigit() else fault.detail)


def _given(typed: Typed) -> dict[str, str]:
    return {name: value for name, value in typed.items() if isinstance(value, str) and value.strip()}


def _number(text: str) -> object:
    """The number, or the text, which the schema then refuses."""
    try:
        return body.parse(text.encode())
    except errors.PlatformError:
        return text


def _headers(text: str) -> dict[str, str]:
    pairs = [line.partition(":") for line in text.split("\n") if line.strip()]
    found = {name.strip(): value.strip() for name, _, value in pairs}
    if len(found) < len(pairs) or not all(colon for _, colon, _ in pairs):
        fault = FieldError("/headers", "Each line must be a name, a colon and a value, and no name may be there twice.")
        raise errors.Invalid("The form is not valid.", errors=[fault])
    return found
