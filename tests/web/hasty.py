"""The product's application, whose clients have a second to take a piece of their answer."""

from __future__ import annotations

from common.settings import load
from web.app import create_app
from web.http import connections

connections.SEND_SECONDS = 1.0
app = create_app(load())
