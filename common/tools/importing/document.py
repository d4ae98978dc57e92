"""An OpenAPI document, read within bounds: steps, seconds, and the length of a chain of references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from common.errors import FieldError, Invalid
from common.kit import clock, strict_json

#: What a document behind a URL may have.
MAX_BYTES: Final = 8 * 1024 * 1024
MAX_DEPTH: Final = 64
MAX_KEYS: Final = 20_000
#: Parts of the document that are looked at, in all, and the time for it.
MAX_STEPS: Final = 400_000
MAX_SECONDS: Final = 8.0
MAX_CHAIN: Final = 20

Part = Mapping[str, object]


class Unmapped(Exception):
    """A part of the document that has no counterpart here. The message is a sentence."""


class TooManyParts(Exception):
    """More parts have to be looked at than the caller wants to wait for."""


def refused(why: str) -> Invalid:
    """The whole document cannot be read."""
    return Invalid("The document cannot be imported.", errors=[FieldError("/document", why)])


def read(body: bytes) -> object:
    """The JSON of a document that was fetched. Raises `Invalid`."""
    try:
        return strict_json.JsonReader(depth=MAX_DEPTH, keys=MAX_KEYS).read(body)
    except strict_json.UnacceptableJson as error:
        raise refused(f"It {error} (YAML has to be converted to JSON first.)") from None


class Document:
    """The document and what is left of its bounds."""

    def __init__(self, root: object, most: int | None = None) -> None:
        """`most`: look at so many parts (default: `MAX_STEPS`); more raise `TooManyParts`."""
        if not isinstance(root, Mapping):
            raise refused("It is not an object.")
        self.root: Part = root
        self.version = str(root.get("openapi", ""))
        if not self.version.startswith(("3.0", "3.1")):
            raise refused("It is not an OpenAPI 3.0 or 3.1 document: `openapi` says something else.")
        self._steps, self._most, self._until = 0, most, clock.monotonic() + MAX_SECONDS

    @property
    def is_3_0(self) -> bool:
        """Whether schemas are those of OpenAPI 3.0, and not JSON Schema."""
        return self.version.startswith("3.0")

    def step(self) -> None:
        """Count one part that is looked at. Raises `Invalid` past the bounds, `TooManyParts`."""
        self._steps += 1
        if self._most is not None and self._steps > self._most:
            raise TooManyParts
        if self._steps > MAX_STEPS or (self._steps % 1_000 == 0 and clock.monotonic() > self._until):
            raise refused("It is too large to be read as a whole. Cut it down to the operations that you want.")

    def part(self, node: object) -> Part:
        """The object that a part is or refers to. Raises `Unmapped`."""
        for _ in range(MAX_CHAIN):
            self.step()
            if not isinstance(node, Mapping):
                raise Unmapped("A part of it is not an object.")
            if "$ref" not in node:
                return node
            node = self.at(node["$ref"])
        raise Unmapped("References are circular.")

    def at(self, ref: object) -> object:
        """What a reference within the document leads to. Raises `Unmapped`."""
        if not isinstance(ref, str) or not ref.startswith("#"):
            raise Unmapped(f"The reference {str(ref)[:100]} points outside the document.")
        found: object = self.root
        for token in ref.lstrip("#").split("/")[1:]:
            name = unquote(token).replace("~1", "/").replace("~0", "~")
            if isinstance(found, Mapping) and name in found:
                found = found[name]
            elif isinstance(found, list) and name.isdecimal() and int(name[:6]) < len(found):
                found = found[int(name[:6])]
            else:
                raise Unmapped(f"The reference {ref[:100]} points to nothing.")
        return found


def mapping(value: object) -> Part:
    """An object, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def listing(value: object) -> list[object]:
    """An array, or an empty one."""
    return value if isinstance(value, list) else []
