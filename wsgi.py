"""What a WSGI server and the `flask` command load: `gunicorn wsgi:app`, `flask --app wsgi db upgrade`."""

from __future__ import annotations

from common.settings import load_or_exit
from web.app import create_app

settings = load_or_exit()
app = create_app(settings)
