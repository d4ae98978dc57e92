"""Faces: ways into the platform over HTTP, each with a policy of its own. The whole policy is one `Face`.

    REST = Face(
        name="rest", prefix="/api/v1", credential=credentials.bearer_or_api_key, headers=CLOSED,
        error=problems.response_to, quota=quotas.reads, unknown_fields="refused",
    )
    faces.assign(app, REST, *blueprints)

What all faces share (hooks, authorization, waiting, limits) asks `current()` where they differ. A blueprint of no face
keeps the application from starting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol
from uuid import UUID

from flask import Flask, Response, current_app, request

from common.errors import PlatformError
from common.identity.authorization import Caller
from web.http.quotas import RateLimit

#: Security headers of answers that are data: a browser that shows one loads nothing, and tells nobody where it was.
CLOSED: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


class Quota(Protocol):
    """Counts the requests of an account."""

    def take(self, account: UUID, now: float) -> tuple[RateLimit, bool]:
        """Count one at `now` (seconds since 1970); the limit, and whether it is allowed."""

    def state(self, account: UUID, now: float) -> RateLimit:
        """The limit; counts nothing."""


@dataclass(frozen=True, slots=True)
class Face:
    """The policy of one way in.

    Attributes:
        prefix: of its URLs; errors that arise before a view is known have the shape of the face with the longest match.
        credential: reads the request's credential and returns a function that looks up its caller, again and again.
            Raises `Unauthenticated`, `InvalidHeader`.
        headers: security headers of every response whose view did not set them (at least those of `CLOSED`).
        error: the response to an error, in this face's shape.
        quota: of the requests that are not submits; None: they are neither counted nor shown.
        unknown_fields: what happens to fields of a body that its schema does not have.
        independent: served whatever servers the process has found; for health checks.
    """

    name: str
    prefix: str
    credential: Callable[[], Callable[[], Caller]]
    headers: Mapping[str, str]
    error: Callable[[PlatformError], Response]
    quota: Quota | None
    unknown_fields: Literal["refused", "ignored"]
    independent: bool = False

    def covers(self, path: str) -> bool:
        """Whether a path is below its prefix."""
        return f"{path}/".startswith(f"{self.prefix.rstrip('/')}/")


class Named(Protocol):
    """A blueprint."""

    name: str


@dataclass(slots=True)
class _Faces:
    """The faces of one application, those with longer prefixes first, and whose each blueprint is."""

    all: list[Face] = field(default_factory=list)
    of: dict[str, Face] = field(default_factory=dict)


def assign(app: Flask, face: Face, *blueprints: Named) -> None:
    """Give these blueprints the policy of `face`; registering them remains to the caller."""
    faces: _Faces = app.extensions.setdefault("faces", _Faces())
    if face not in faces.all:
        faces.all.append(face)
        faces.all.sort(key=lambda each: len(each.prefix), reverse=True)
    faces.of.update({blueprint.name: face for blueprint in blueprints})


def current() -> Face:
    """The face of the current request: that of its view, or else the one with the longest matching prefix."""
    faces: _Faces = current_app.extensions["faces"]
    known = faces.of.get(request.blueprint or "")
    return known or next((face for face in faces.all if face.covers(request.path)), faces.all[-1])


def undecided(app: Flask) -> Iterator[str]:
    """The endpoints whose blueprint belongs to no face."""
    faces: _Faces = app.extensions.setdefault("faces", _Faces())
    return (name for name in sorted(app.view_functions) if name.rpartition(".")[0] not in faces.of)
