"""Bare run: one Celery task that calls the tool with requests and stores nothing.

`celery -A tools.bench.limits.worker worker -P threads -c N -Q bare`. Environment: `BARE_BROKER`, `BARE_TOOL` (a URL).
"""

from __future__ import annotations

import os
import threading

import requests
from celery import Celery

app = Celery(broker=os.environ["BARE_BROKER"])
app.conf.update(task_ignore_result=True, worker_hijack_root_logger=False)
_mine = threading.local()


@app.task(name="bare.run")
def run(_id: str) -> None:
    if not hasattr(_mine, "session"):
        _mine.session = requests.Session()
    _mine.session.post(os.environ["BARE_TOOL"], json={"text": "some words"}, timeout=30).json()
