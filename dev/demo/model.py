"""The language model of `make demo-llm`: a process of its own, in a virtual environment of its own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dev import process
from dev.platform import ROOT, local_url, serving
from dev.ports import free_port
from dev.servers import ServerError

SERVE = ROOT / "examples" / "llm" / "serve.py"
NAME = "smollm2-135m"
#: The interpreter that has what it needs.
PYTHON = "LLM_PYTHON"
START_SECONDS = 60.0


@contextmanager
def running(environ: Mapping[str, str], log: Path) -> Iterator[dict[str, str]]:
    """The environment in which the platform knows the model, if there is one. Raises `ServerError`."""
    python = environ.get(PYTHON)
    if not python:
        yield dict(environ)
        return
    port = free_port()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        child = process.spawn([python, SERVE, str(port)], cwd=ROOT, log=out)
    try:
        _wait(child, local_url("127.0.0.1", port), log)
        yield {**environ, "OPENAI_BASE_URL": f"{local_url('127.0.0.1', port)}/v1", "OPENAI_MODEL": NAME}
    finally:
        process.stop(child)


def _wait(child: subprocess.Popen[bytes], url: str, log: Path) -> None:
    give_up = time.monotonic() + START_SECONDS
    while not serving(f"{url}/health"):
        if child.poll() is not None or time.monotonic() > give_up:
            raise ServerError(f"the language model did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)
