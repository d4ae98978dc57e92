"""A face is a blueprint and a policy: it can be added without a change to the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import flask
import orjson
import pytest
from flask import Blueprint, Flask, Response, g, request
from flask.testing import FlaskClient

from common.errors import PlatformError, Unauthenticated
from common.identity.authorization import Caller
from common.settings import Settings
from web import app as application
from web.api.face import REST
from web.http import auth, body, faces, limits, problems
from web.http.faces import Face
from web.http.fields import Whole
from web.http.quotas import RateLimit
from web.http.schemas import Body

SOMEBODY = Caller(UUID(int=7), "user", frozenset({"tools:read"}), UUID(int=8), None, True)


def by_name() -> Callable[[], Caller]:
    """Another way to read a credential than that of REST."""
    if request.headers.get("X-Name") != "somebody":
        raise Unauthenticated
    return lambda: SOMEBODY


def as_openai(error: PlatformError) -> Response:
    """Another shape of errors than that of REST."""
    said = {"error": {"message": error.detail, "type": "invalid_request_error", "code": error.code}}
    return Response(orjson.dumps(said), problems.status_of(type(error)), content_type="application/json")


class TwoADay:
    """Another quota than that of REST; keeps no count."""

    def take(self, account: UUID, now: float) -> tuple[RateLimit, bool]:
        return RateLimit("daily", 2, 86_400, 1, 60), account == SOMEBODY.user_id

    def state(self, account: UUID, now: float) -> RateLimit:
        return self.take(account, now)[0]


TOLD = Face(
    name="told",
    prefix="/told/v1",
    credential=by_name,
    headers={"Content-Security-Policy": "default-src 'self'", "Referrer-Policy": "same-origin"},
    error=as_openai,
    quota=TwoADay(),
    unknown_fields="ignored",
)
blp = Blueprint("told", __name__, url_prefix=TOLD.prefix)


class Count(Body):
    count = Whole(0, 9, required=True)


@blp.post("/counts")
@auth.needs("tools:read")
def count() -> Any:
    limits.count()
    asked = body.load(request, Count())
    return {"asked": asked, "caller": str(g.caller.user_id)}


@pytest.fixture
def client(settings: Settings) -> FlaskClient:
    app = application.create_app(settings)
    faces.assign(app, TOLD, blp)
    app.register_blueprint(blp)
    application.require_policies(app)
    return app.test_client()


def post(client: FlaskClient, sent: bytes = b'{"count": 3}', name: str = "somebody") -> Any:
    headers = {"X-Name": name, "Content-Type": "application/json"}
    return client.post("/told/v1/counts", data=sent, headers=headers)


def test_a_face_reads_credentials_and_counts_in_its_own_way(client: FlaskClient) -> None:
    response = post(client)
    assert response.json == {"asked": {"count": 3}, "caller": str(SOMEBODY.user_id)}
    assert response.headers["RateLimit"] == '"daily";r=1;t=60'
    assert post(client, name="nobody").status_code == 401
    bearer = client.post("/told/v1/counts", json={"count": 3}, headers={"Authorization": "Bearer jh_x"})
    assert bearer.status_code == 401
    assert client.get("/api/v1/users/me", headers={"X-Name": "somebody"}).status_code == 401


def test_a_face_sends_its_own_security_headers(client: FlaskClient) -> None:
    told, rest = post(client).headers, client.get("/api/v1/users/me").headers
    assert (told["Content-Security-Policy"], told["Referrer-Policy"]) == ("default-src 'self'", "same-origin")
    assert {name: rest[name] for name in REST.headers} == faces.CLOSED
    for headers in (told, rest):
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Request-ID"]


def test_a_face_may_ignore_unknown_fields(client: FlaskClient) -> None:
    assert post(client, b'{"count": 3, "more": 1}').json["asked"] == {"count": 3}
    wrong = post(client, b'{"count": "three"}')
    assert (wrong.status_code, wrong.json["error"]["code"]) == (422, "validation_failed")
    login = {"email": "a@example.com", "password": "x", "more": 1}
    strict = client.post("/api/v1/auth/login", json=login)
    assert strict.json
    assert strict.json["errors"] == [{"pointer": "/more", "detail": "Unknown field."}]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/told/v1/nothing", 404, "not_found"),
        ("GET", "/told/v1", 404, "not_found"),
        ("GET", "/told/v1/counts", 405, "method_not_allowed"),
        ("POST", "/told/v1/nothing", 413, "payload_too_large"),
        ("POST", "/told/v1/counts", 413, "payload_too_large"),
        ("POST", "/told/v1/counts", 401, "unauthenticated"),
    ],
)
def test_errors_before_a_view_is_known_have_the_shape_of_the_face(
    client: FlaskClient, method: str, path: str, status: int, code: str
) -> None:
    sent = b"x" * (2 * 1024 * 1024) if status == 413 else None
    for prefix, is_told in (("", True), ("/elsewhere", False)):
        response: Any = client.open(prefix + path, method=method, data=sent)
        assert (response.mimetype == "application/json") == is_told
        if is_told:
            assert (response.status_code, response.json["error"]["code"]) == (status, code)
            assert response.headers["Referrer-Policy"] == "same-origin"
        else:
            assert response.mimetype == problems.MEDIA_TYPE
            assert response.headers["Referrer-Policy"] == "no-referrer"


def test_a_longer_word_is_not_below_a_prefix(client: FlaskClient) -> None:
    assert client.get("/told/v10").mimetype == problems.MEDIA_TYPE
    assert client.get("/api/v1/nothing").mimetype == problems.MEDIA_TYPE


def test_a_view_of_no_face_keeps_the_app_from_starting(settings: Settings) -> None:
    app = application.create_app(settings)
    stray = Blueprint("stray", __name__)
    stray.get("/stray")(auth.public(lambda: "open to all"))
    app.register_blueprint(stray)
    app.add_url_rule("/alone", "alone", auth.public(lambda: "neither"))
    with pytest.raises(RuntimeError, match=r"belong to no face.*: alone, stray\."):
        application.require_policies(app)


def test_every_view_of_the_product_belongs_to_a_face(settings: Settings) -> None:
    app: Flask = application.create_app(settings)
    assert list(faces.undecided(app)) == []
    with app.test_request_context("/api/v1/nothing"):
        assert faces.current() is REST
    for path, name in {"/health": "operations", "/docs": "documentation", "/api/v1/tools": "rest"}.items():
        with app.test_request_context(path):
            assert flask.request.blueprint
            assert faces.current().name == name
