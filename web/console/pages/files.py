"""The console's own files. Their address has a digest of their content, so browsers keep them for good."""

from __future__ import annotations

from typing import Final

from flask import Response

from common.errors import NotFound
from web.console import assets
from web.console.blueprint import blp
from web.http import auth

#: For a page of another release: what it asks for is answered with what there is now.
FOR_NOW: Final = "no-cache"


@blp.get("/static/<digest>/<path:name>")
@auth.public
def asset(digest: str, name: str) -> Response:
    """A file, by the digest of them all."""
    if name not in assets.files():
        raise NotFound
    kept = assets.FOREVER if digest == assets.digest() else FOR_NOW
    return Response(assets.files()[name], content_type=assets.media_type(name), headers={"Cache-Control": kept})


asset.produces = ["text/css", "text/javascript", "image/svg+xml"]  # type: ignore[attr-defined]
