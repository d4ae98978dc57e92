"""The service: one POST route per tool, strict input validation, JSON for every response (a stream has events)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from flask import Flask, Response, jsonify, request
from flask.json.provider import DefaultJSONProvider
from jsonschema_rs import Draft202012Validator, ValidationError
from werkzeug.exceptions import HTTPException

from examples.tools import storyteller
from examples.tools.catalogue import TOOLS
from examples.tools.tool import Json, Refusal, Tool

MAX_BODY_BYTES = 256 * 1024

log = logging.getLogger("gunicorn.error")


def create_app() -> Flask:
    app = Flask("examples.tools", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.json = DefaultJSONProvider(app)
    app.json.sort_keys = False
    app.add_url_rule("/health", view_func=health)
    for tool in TOOLS:
        app.add_url_rule(tool.route, tool.slug, _view(tool), methods=["POST"])
    app.add_url_rule(storyteller.PATH, storyteller.NAME, _storyteller(), methods=["POST"])
    app.register_error_handler(Refusal, _refused)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _broken)
    return app


def health() -> Response:
    return jsonify(status="ok", tools=[tool.slug for tool in TOOLS])


def _view(tool: Tool) -> Callable[[], Response]:
    validator = Draft202012Validator(tool.input_schema)

    def view() -> Response:
        answer = tool.answer(_valid(validator), request.headers.get("Idempotency-Key", ""))
        return jsonify(result=answer.result, usage=dict(answer.usage))

    return view


def _storyteller() -> Callable[[], Response]:
    validator = Draft202012Validator(storyteller.REQUEST_SCHEMA)

    def view() -> Response:
        body = _valid(validator)
        if body.get("stream"):
            return Response(_events(storyteller.chunks(body)), content_type="text/event-stream")
        return jsonify(storyteller.completion(body))

    return view


def _events(chunks: Iterator[Json]) -> Iterator[str]:
    """Server-sent events as OpenAI sends them."""
    for chunk in chunks:
        yield f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"
    yield "data: [DONE]\n\n"


# -- parsing -------------------------------------------------------------------------------------------------


def _body() -> object:
    """The JSON body. For use from a shell, `?seconds=3` without a body reads as `{"seconds": 3}`."""
    raw = request.get_data()
    if not raw and request.args:
        return {name: _plain(value) for name, value in request.args.items()}
    if request.mimetype != "application/json":
        raise Refusal(415, "unsupported_media_type", "Send application/json.")
    return _parse(raw)


def _valid(validator: Draft202012Validator) -> Json:
    """The body, once it fits the schema."""
    body: Any = _body()  # Any: whatever was sent, until it fits
    if (fault := next(validator.iter_errors(body), None)) is not None:
        raise _invalid(fault)
    return dict(body)


def _plain(value: str) -> object:
    try:
        return json.loads(value, parse_constant=_no_constant)
    except ValueError:
        return value


def _parse(raw: bytes) -> object:
    """Strict JSON in UTF-8: no NaN, bounded nesting, no lone surrogates."""
    try:
        body: object = json.loads(raw.decode(), parse_constant=_no_constant)
        json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise Refusal(400, "malformed_json", "The body is not valid JSON in UTF-8.") from None
    return body


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# -- errors -------------------------------------------------------------------------------------------------


def _invalid(fault: ValidationError) -> Refusal:
    where = "".join(f"/{part}" for part in fault.instance_path) or "the body"
    return Refusal(422, "invalid_input", f"{where}: {fault.message[:300]}")


def _error(status: int, code: str, detail: str) -> Response:
    content: Json = {"error": {"code": code, "detail": detail}}
    response = jsonify(content)
    response.status_code = status
    return response


def _refused(refusal: Refusal) -> Response:
    response = _error(refusal.status, refusal.code, refusal.detail)
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = str(refusal.retry_after)
    return response


def _http_error(error: HTTPException) -> Response:
    response = _error(error.code or 500, error.name.lower().replace(" ", "_"), error.description or error.name)
    response.headers.update({k: v for k, v in error.get_headers() if k in ("Allow", "Retry-After")})
    return response


def _broken(error: Exception) -> Response:
    log.error("tool failed on request %s", request.headers.get("X-Request-ID", "-"), exc_info=error)
    return _error(500, "internal_error", "The tool failed unexpectedly; see its log.")
