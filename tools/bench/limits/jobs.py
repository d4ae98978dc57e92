"""The tool's call as a job of procrastinate, on PostgreSQL: an async task, aiohttp with kept-alive connections.

It runs in an environment of its own (`procrastinate.in`): `procrastinate --app tools.bench.limits.jobs.app worker`.
Environment: `JOBS_DATABASE` (a URL), `BARE_TOOL` (a URL).
"""

from __future__ import annotations

import os
from functools import cache

import aiohttp
from procrastinate import App, PsycopgConnector

app = App(connector=PsycopgConnector(conninfo=os.environ["JOBS_DATABASE"]))


@cache
def session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession()


@app.task(name="run", queue="jobs")
async def run(text: str) -> None:
    async with session().post(os.environ["BARE_TOOL"], json={"text": text}) as answer:
        await answer.json()
