"""The Blueprint of every resource: strict arguments, the response envelope, and complete OpenAPI documentation.

Each decorator both implements and documents its part, so the OpenAPI document cannot drift from the code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from functools import wraps
from inspect import signature

import flask_smorest
import marshmallow as ma
from flask import Response

from common import errors
from common.errors import PlatformError
from common.kit.paging import Page
from web.api import arguments
from web.api.openapi import operations
from web.api.openapi.components import Part
from web.api.openapi.operations import Documented
from web.http import auth, idempotency, large_reads, limits, pagination, preconditions, responses

View = Callable[..., object]
Decorator = Callable[[View], View]


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]
    """A flask-smorest blueprint with strict parsing, the envelope and full documentation."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._prepare_doc_cbks.append(operations.contract)

    # -- routes (typed here because flask-smorest is not) --------------------------------------------------------

    def get(self, rule: str, **options: object) -> Decorator:
        return self._on("GET", rule, **options)

    def post(self, rule: str, **options: object) -> Decorator:
        return self._on("POST", rule, **options)

    def patch(self, rule: str, **options: object) -> Decorator:
        return self._on("PATCH", rule, **options)

    def delete(self, rule: str, **options: object) -> Decorator:
        return self._on("DELETE", rule, **options)

    def _on(self, method: str, rule: str, **options: object) -> Decorator:
        register: Decorator = self.route(rule, methods=[method], **options)

        def decorate(view: View) -> View:
            contract = _note(view, "contract")
            contract["policy"] = getattr(view, "policy", auth.AccessPolicy("public"))
            contract["operation_id"] = f"{self.name}_{view.__name__}"
            contract["in_path"] = "<" in rule
            view.produces = operations.media_types(view)  # type: ignore[attr-defined]
            return register(view)

        return decorate

    # -- arguments -----------------------------------------------------------------------------------------------

    def arguments(
        self, schema: type[ma.Schema] | ma.Schema, *, location: str = "json", required: bool = True, **doc: object
    ) -> Decorator:
        """Load the body (or `location="query"`) with `schema` and pass it as a positional argument (a dict)."""
        loader = schema() if isinstance(schema, type) else schema
        load = arguments.of_query(loader) if location == "query" else arguments.of_body(loader, required)

        def decorate(view: View) -> View:
            @wraps(view)
            def wrapper(*args: object, **kwargs: object) -> object:
                return view(*args, load(), **kwargs)

            wrapper.takes = {*getattr(view, "takes", ()), location}  # type: ignore[attr-defined]
            parameter = {"in": location, "required": required, "schema": loader, **doc}
            _note(wrapper, "arguments").setdefault("parameters", []).append(parameter)
            return wrapper

        return decorate

    # -- responses -----------------------------------------------------------------------------------------------

    def response(
        self, status_code: int, schema: Documented = None, *, headers: Iterable[str] = (), **doc: object
    ) -> Decorator:
        """Render the result of the view with `schema` in the envelope; a `Response` is returned unchanged.

        `headers` names shared header components (`web/api/openapi/components.py`) of this response.
        """
        render: Decorator = super().response(status_code, schema, headers=_refs(headers), **doc)

        def decorate(view: View) -> View:
            @wraps(view)
            def checked(*args: object, **kwargs: object) -> object:
                arguments.refuse_undeclared()
                limits.count()
                result = view(*args, **kwargs)
                return Response(status=204) if status_code == 204 and result is None else result

            rendered = render(checked)
            _note_text(rendered, status_code, schema, doc)
            return rendered

        return decorate

    def alt_response(self, status_code: int, *, headers: Iterable[str] = (), **doc: object) -> Decorator:
        """Document another response of this operation (`schema`, `description`, `content_type`)."""
        documented: Decorator = super().alt_response(status_code, headers=_refs(headers), **doc)

        def decorate(view: View) -> View:
            noted = documented(view)
            _note_text(noted, status_code, doc.get("schema"), doc)
            return noted

        return decorate

    def page(self, schema: type[ma.Schema], *, headers: Iterable[str] = ("Link",), **doc: object) -> Decorator:
        """Render the `Page` returned by the view as a list with `meta` and `Link`. See `web/http/pagination.py`."""
        items = schema(many=True)

        def decorate(view: View) -> View:
            @wraps(view)
            def wrapper(*args: object, **kwargs: object) -> object:
                large_reads.begin()
                result = view(*args, **kwargs)
                if not isinstance(result, Page):
                    return result
                large_reads.count(len(result.items))
                return pagination.render(result, items)

            return self.response(200, operations.ListOf(schema), headers=headers, **doc)(wrapper)

        return decorate

    def raises(self, *kinds: type[PlatformError]) -> Decorator:
        """Document the errors that are specific to this operation; the common ones are documented everywhere."""

        def decorate(view: View) -> View:
            @wraps(view)
            def wrapper(*args: object, **kwargs: object) -> object:
                return view(*args, **kwargs)

            _note(wrapper, "contract").setdefault("raises", []).extend(kinds)
            return wrapper

        return decorate

    def idempotent(self, view: View) -> View:
        """Take `Idempotency-Key`: the view hands its argument `once` on to a verb that claims it; innermost.

        For every POST that creates, grants or spends. See `common/identity/idempotency.py`.
        """

        @wraps(view)
        def wrapper(*args: object, **kwargs: object) -> object:
            given = args[0] if args else None
            return idempotency.answered_once(given, lambda once: view(*args, once=once, **kwargs))

        _note(wrapper, "contract")["replays"] = True
        return self.raises(errors.IdempotencyKeyReused, errors.Conflict)(self.headers("Idempotency-Key")(wrapper))

    def tagged(self, schema: type[ma.Schema], *, only: Sequence[str] | None = None) -> Decorator:
        """Give what the view returns an `ETag`: of its representation by `schema`, or of the fields `only`; innermost.

        A PATCH takes `If-Match` then: the view hands its argument `expect` on to the verb, which calls it with the
        object to be changed, under its lock. See `web/http/preconditions.py`.
        """
        show = schema(only=only).dump

        def decorate(view: View) -> View:
            changes = "expect" in signature(view).parameters

            @wraps(view)
            def wrapper(*args: object, **kwargs: object) -> object:
                result = view(*args, **kwargs, **({"expect": preconditions.expected(show)} if changes else {}))
                preconditions.tagged(show(result[0] if type(result) is tuple else result))  # a row is one too
                return result

            _note(wrapper, "contract")["tagged"] = True
            return self.raises(errors.PreconditionFailed)(self.headers("If-Match")(wrapper)) if changes else wrapper

        return decorate

    def matched(self, schema: type[ma.Schema], *, only: Sequence[str] | None = None) -> Decorator:
        """A DELETE takes `If-Match` with the tag that `tagged` gives: the view hands on `expect`; innermost."""
        show = schema(only=only).dump

        def decorate(view: View) -> View:
            @wraps(view)
            def wrapper(*args: object, **kwargs: object) -> object:
                return view(*args, **kwargs, expect=preconditions.expected(show))

            return self.raises(errors.PreconditionFailed)(self.headers("If-Match")(wrapper))

        return decorate

    def headers(self, *names: str) -> Decorator:
        """Document request headers by the names of parameter components (`web/api/openapi/components.py`)."""

        def decorate(view: View) -> View:
            @wraps(view)
            def wrapper(*args: object, **kwargs: object) -> object:
                return view(*args, **kwargs)

            wrapper.takes_headers = {*getattr(view, "takes_headers", ()), *names}  # type: ignore[attr-defined]
            _note(wrapper, "contract").setdefault("headers", []).extend(names)
            return wrapper

        return decorate

    @staticmethod
    def _prepare_response_content(data: object) -> object:
        return data if isinstance(data, responses.Enveloped) else {"data": data}

    @staticmethod
    def _make_doc_response_schema(schema: Documented) -> Part | None:
        return operations.envelope(schema)


def _refs(headers: Iterable[str]) -> dict[str, dict[str, str]] | None:
    return {name: operations.header_ref(name) for name in headers} or None


# -- helpers -------------------------------------------------------------------------------------------------------


def _note(view: View, section: str) -> Part:
    """This view's own copy of one section of the metadata that flask-smorest documents later."""
    own: dict[str, Part] = deepcopy(getattr(view, "_apidoc", {}))
    view._apidoc = own  # type: ignore[attr-defined]
    return own.setdefault(section, {})


def _note_text(view: View, status_code: int, schema: object, doc: Mapping[str, object]) -> None:
    """Document a response with a media type but no schema as text."""
    if schema is None and "content_type" in doc:
        _note(view, "contract").setdefault("texts", {}).setdefault(status_code, []).append(doc["content_type"])
