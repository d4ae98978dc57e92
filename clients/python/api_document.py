"""The API document, and the Python that is made of it: classes of what responses hold and requests take, operations."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Iterator
from typing import Any

METHODS = ("get", "post", "put", "patch", "delete")
Schema = dict[str, Any]
BANNER = '"""{}. Written by generate.py: do not edit."""\n\nfrom __future__ import annotations\n\n'
SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
#: POSTs that change nothing, or that a repeat leaves as they are: the document has no word for these.
REPEATABLE = {
    "tools_quote", "invocations_cancel", "invocations_batch", "auth_login", "auth_refresh", "auth_logout",
    "sessions_revoke_others", "statements_check", "admin_tools_reset_breaker",
}  # fmt: skip


def attribute(name: str) -> str:
    """The Python name of a member: `from` is a keyword and becomes `from_`."""
    return f"{name}_" if keyword.iskeyword(name) else name


def module_of(tag: str) -> str:
    """The module for the schemas of a tag of the document."""
    return re.sub(r"\W+", "_", tag.lower()) if not tag.startswith("Admin") else "admin"


def nullable(schema: Schema) -> tuple[Schema, bool]:
    """A schema without its null, and whether it had one."""
    if "anyOf" in schema:
        others = [each for each in schema["anyOf"] if each.get("type") != "null"]
        return (others[0] if len(others) == 1 else {}), len(others) < len(schema["anyOf"])
    if isinstance(schema.get("type"), list):
        kinds = [kind for kind in schema["type"] if kind != "null"]
        enum = {"enum": [each for each in schema["enum"] if each is not None]} if "enum" in schema else {}
        return ({**schema, "type": kinds[0], **enum} if len(kinds) == 1 else {}), "null" in schema["type"]
    return schema, False


#: Operations in the shape of another API or protocol have clients of their own.
ELSEWHERE = ("openai_", "mcp_", "resource_metadata_")


class Writer:
    """The document, and what was made of it so far."""

    def __init__(self, document: Schema) -> None:
        self.document = document
        self.schemas: dict[str, Schema] = dict(document["components"]["schemas"])
        self.operations = dict(self._operations())

    def _operations(self) -> Iterator[tuple[str, Schema]]:
        for path, item in self.document["paths"].items():
            for method in METHODS:
                if method in item and not item[method]["operationId"].startswith(ELSEWHERE):
                    shared = item.get("parameters", [])
                    given = [self._parameter(each) for each in (*shared, *item[method].get("parameters", []))]
                    operation = {**item[method], "method": method.upper(), "path": path, "parameters": given}
                    yield operation["operationId"], operation

    def _parameter(self, parameter: Schema) -> Schema:
        reference = parameter.get("$ref")
        if reference is None:
            return parameter
        return dict(self.document["components"]["parameters"][reference.rpartition("/")[2]])

    # -- types --------------------------------------------------------------------------------------------------

    def type_of(self, schema: Schema, owner: str, *, body: bool = False) -> str:
        """The annotation of a member. `owner` names the class of an object that has no name."""
        inner, none = nullable(schema)
        found = self._type_of(inner, owner, body=body)
        return f"{found} | None" if none and found != "Any" else found

    def _type_of(self, schema: Schema, owner: str, *, body: bool) -> str:
        if "allOf" in schema:
            schema = schema["allOf"][0]
        schema = self._spelled_out(schema)
        if "$ref" in schema:
            return self.named(schema["$ref"].rpartition("/")[2])
        if "enum" in schema:
            values = ", ".join(json.dumps(each) for each in schema["enum"])
            return f"Literal[{values}]" + ("" if body or schema["type"] != "string" else " | str")
        kind = schema.get("type")
        if kind == "array":
            items = self.type_of(schema.get("items", {}), owner, body=body)
            return f"Sequence[{items}]" if body else f"tuple[{items}, ...]"
        if kind == "object":
            return self._object(schema, owner, body=body)
        if kind == "string":
            return {"date-time": "datetime", "date": "date"}.get(schema.get("format", ""), "str")
        return SCALARS.get(str(kind), "Any")

    def _object(self, schema: Schema, owner: str, *, body: bool) -> str:
        if schema.get("properties"):
            name = str(schema.get("title") or owner)
            self.schemas.setdefault(name, schema)
            return name
        more = schema.get("additionalProperties")
        inner = self.type_of(more, owner, body=body) if isinstance(more, dict) else "Any"
        return f"{'Mapping' if body else 'dict'}[str, {inner}]"

    def _spelled_out(self, schema: Schema) -> Schema:
        """An enumeration in the place of a reference to it: the classes here spell its values out."""
        found = self.schemas.get(schema.get("$ref", "").rpartition("/")[2], {})
        return found if "enum" in found else schema

    def named(self, name: str) -> str:
        """The class of a schema of the document."""
        return name

    def references(self, name: str) -> list[str]:
        """The schemas that this one's members are made of, in order."""
        found: list[str] = []
        for member, schema in self.schemas[name].get("properties", {}).items():
            self._walk(schema, f"{name}{member.title().replace('_', '')}", found)
        return found

    def _walk(self, schema: Schema, owner: str, found: list[str]) -> None:
        schema = self._spelled_out(schema)
        if "$ref" in schema:
            found.append(schema["$ref"].rpartition("/")[2])
        elif schema.get("properties"):
            found.append(self._object(schema, owner, body=False))
        for each in (*schema.get("anyOf", ()), *schema.get("allOf", ()), schema.get("items", {})):
            if isinstance(each, dict) and each:
                self._walk(each, owner, found)

    # -- what responses hold ------------------------------------------------------------------------------------

    def answers(self) -> dict[str, list[str]]:
        """By module: the schemas of responses, each in the module of the first tag that has it, in order of use."""
        modules: dict[str, list[str]] = {}
        seen: set[str] = set()
        for operation in (*self.operations.values(), *self._events()):
            tag = module_of(operation["tags"][0])
            for schema in responses(operation):
                name = schema.get("$ref", "").rpartition("/")[2]
                if name:
                    self._collect(name, modules.setdefault(tag, []), seen)
        return {tag: names for tag, names in modules.items() if names}

    def _events(self) -> Iterator[Schema]:
        """What webhooks bring, as if it were answered."""
        for item in self.document["webhooks"].values():
            content = item["post"]["requestBody"]["content"]["application/json"]
            for schema in event_data(content["schema"], self.schemas):
                yield {"tags": ["Events"], "responses": {"200": {"content": {"application/json": {"schema": schema}}}}}

    def _collect(self, name: str, into: list[str], seen: set[str]) -> None:
        if name in seen or name == "Event":  # models/event.py has it, as a union
            return
        seen.add(name)
        for each in self.references(name):
            self._collect(each, into, seen)
        if not name.endswith(("Answer", "Page", "AnswerList")) or name == "BatchAnswer":
            into.append(name)

    def model(self, name: str) -> str:
        """One dataclass."""
        schema = self.schemas[name]
        required = set(schema.get("required", ()))
        members: list[str] = []
        decoders: list[str] = []
        ordered = sorted(schema.get("properties", {}).items(), key=lambda each: each[0] not in required)
        for member, inner in ordered:
            owner = f"{name}{member.title().replace('_', '')}"
            kind = self.type_of(inner, owner)
            if member not in required and not kind.endswith("None") and kind != "Any":
                kind += " | None"
            members.append(f"    {attribute(member)}: {kind}{'' if member in required else ' = None'}")
            decoder = decoding(kind)
            if decoder:
                decoders.append(f"{json.dumps(attribute(member))}: {decoder}")
        description = (schema.get("description") or f"{name}, as the API sends it.").splitlines()[0]
        lines = [
            "@dataclass(frozen=True, slots=True, kw_only=True)",
            f"class {name}(Model):",
            f'    """{description}"""',
            "",
        ]
        lines += members
        if decoders:
            lines += ["", f"    _decoders: ClassVar[Decoders] = {{{', '.join(decoders)}}}"]
        return "\n".join(lines)

    # -- what requests take -------------------------------------------------------------------------------------

    def bodies(self) -> Iterator[str]:
        """A TypedDict for each body, for what it is made of, and for the query of each operation that has one."""
        order: list[str] = []
        for operation in self.operations.values():
            content = operation.get("requestBody", {}).get("content", {})
            for each in content.values():
                self._collect_body(each["schema"]["$ref"].rpartition("/")[2], order)
        for name in order:
            schema = self.schemas[name]
            if name == "SubmitIn":
                options = {member: each for member, each in schema["properties"].items() if member != "input"}
                yield self._typed("SubmitOptions", options, set())
            yield self._typed(name, schema.get("properties", {}), set(schema.get("required", ())))
        for name, operation in self.operations.items():
            query = {each["name"]: each["schema"] for each in operation["parameters"] if each["in"] == "query"}
            query.pop("cursor", None)
            if query:
                required = {each["name"] for each in operation["parameters"] if each.get("required")}
                yield self._typed(f"{name.title().replace('_', '')}Query", query, required & set(query))

    def _collect_body(self, name: str, order: list[str]) -> None:
        for each in self.references(name):
            self._collect_body(each, order)
        if name not in order:
            order.append(name)

    def _typed(self, name: str, members: dict[str, Schema], required: set[str]) -> str:
        lines = [f"class {name}(TypedDict, total=False):", f'    """{name}, as the API takes it."""', ""]
        for member, schema in members.items():
            kind = self.type_of(schema, name, body=True)
            if "array" in str(schema.get("type")) and name.endswith("Query"):
                kind = f"{kind} | {kind.removeprefix('Sequence[').removesuffix(']')}"
            lines.append(f"    {attribute(member)}: {f'Required[{kind}]' if member in required else kind}")
        return "\n".join(lines)

    # -- operations ---------------------------------------------------------------------------------------------

    def table(self) -> Iterator[str]:
        """The lines of `operations.py`."""
        yield BANNER.format("Every operation of the API, and the codes of its errors")
        yield "from typing import NamedTuple\n\n"
        yield f"API_VERSION = {json.dumps(self.document['info']['version'])}\n\n\n"
        yield "class Operation(NamedTuple):\n"
        yield '    """Where a call goes. `repeatable`: it is sent again when its answer is lost."""\n\n'
        yield "    method: str\n    path: str\n    keyed: bool = False\n    repeatable: bool = True\n"
        yield "    public: bool = False\n\n\nOPERATIONS = {\n"
        for name, operation in self.operations.items():
            keyed = any(each["name"] == "Idempotency-Key" for each in operation["parameters"])
            repeatable = operation["method"] != "POST" or keyed or name in REPEATABLE
            public = operation.get("security") == []
            parts = [json.dumps(operation["method"]), json.dumps(operation["path"])]
            parts += ["keyed=True"] * keyed + ["repeatable=False"] * (not repeatable) + ["public=True"] * public
            yield f"    {json.dumps(name)}: Operation({', '.join(parts)}),\n"
        yield "}\n#: Problem codes, by status.\nCODES = {\n"
        for code, status in sorted(self.codes().items(), key=lambda each: (each[1], each[0])):
            yield f"    {json.dumps(code)}: {status},\n"
        yield "}\n#: Why an invocation can have failed.\nINVOCATION_ERRORS = (\n"
        for code in self.schemas["InvocationErrorCode"]["enum"]:
            yield f"    {json.dumps(code)},\n"
        yield ")\n"

    def codes(self) -> dict[str, int]:
        """Each code of a problem and its status."""
        found: dict[str, int] = {}
        for operation in self.operations.values():
            for status, response in operation["responses"].items():
                for code in self._codes_of(response):
                    found[code] = int(status)
        return found

    def _codes_of(self, response: Schema) -> list[str]:
        if "$ref" in response:
            response = self.document["components"]["responses"][response["$ref"].rpartition("/")[2]]
        return list(response.get("content", {}).get("application/problem+json", {}).get("examples", ()))


def responses(operation: Schema) -> Iterator[Schema]:
    """The schemas of what succeeds."""
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            for media_type, content in response.get("content", {}).items():
                if media_type != "text/event-stream":
                    yield content.get("schema", {})


def event_data(schema: Schema, schemas: dict[str, Schema]) -> Iterator[Schema]:
    """What `data` of an event can be."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    data = schema.get("properties", {}).get("data", {})
    yield from data.get("anyOf", data.get("oneOf", [data]))


def decoding(kind: str) -> str:
    """The decoder of a type, or nothing where JSON already is what it should be."""
    plain = kind.removesuffix(" | None")
    if plain in {"datetime", "date"}:
        return f"to_{plain}"
    if plain.startswith("tuple["):
        inner = decoding(plain.removeprefix("tuple[").removesuffix(", ...]"))
        return f"to_tuple({inner})" if inner else "tuple"
    simple = plain in {"str", "int", "float", "bool", "Any"} or plain.startswith(("dict", "Literal"))
    return "" if simple else f"{plain}.of"
