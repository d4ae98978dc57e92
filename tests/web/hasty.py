"""The product's application with a send deadline of one second."""

from __future__ import annotations

from common.settings import load
from web.app import create_app
from web.http import connections

connections.SEND_SECONDS = 1.0
app = create_app(load())
