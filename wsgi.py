"""What a WSGI server and the `flask` command load: `gunicorn wsgi:app`, `flask --app wsgi db upgrade`."""

from __future__ import annotations

import sys

from common.settings import SettingsError, load
from web.app import create_app

try:
    settings = load()
except SettingsError as error:
    sys.exit(str(error))

app = create_app(settings)
