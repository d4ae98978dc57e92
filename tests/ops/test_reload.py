"""SIGHUP lets web take up what was installed beside it: nothing of ours stays in gunicorn's first process."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dev import platform as parts
from dev.ports import free_port
from tests.conftest import ROOT


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The code as the image has it."""
    for name in ("common", "web", "worker", "migrations"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "swagger-ui"))
    for name in ("wsgi.py", "celeryconfig.py"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.fixture
def web(installed: Path, environ: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port()
    metrics = installed / "metrics"
    metrics.mkdir()
    env = {**environ, "PORT": str(port), "PROMETHEUS_MULTIPROC_DIR": str(metrics), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "gunicorn", "--config", "web/gunicorn.conf.py", "wsgi:app"]
    with (installed / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=installed, env=env, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: parts.serving(f"{url}/ready"))
        yield process, url
    finally:
        process.terminate()
        process.wait(20)


def until(true: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 40
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.1)


def health(url: str) -> str:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return str(answer.headers.get("X-Release", ""))
    except urllib.error.URLError as error:
        return str(error.reason)
    except TimeoutError:  # it is heard once the new process has started
        return "no answer yet"


def test_a_reload_takes_up_new_code(web: tuple[subprocess.Popen[bytes], str], installed: Path) -> None:
    """A release that has something new in every room, which its own settings and hooks ask for; twice."""
    process, url = web
    for number in ("1", "2"):
        release(installed, number)
        process.send_signal(signal.SIGHUP)
        until(lambda number=number: process.poll() is not None or health(url) == number)  # type: ignore[misc]
        assert process.poll() is None, (installed / "log").read_text()[-2000:]


def release(installed: Path, number: str) -> None:
    for file in ("common/settings/__init__.py", "common/kit/metrics.py"):
        with (installed / file).open("a") as code:
            code.write(f"\nRELEASE_{number} = {number!r}\n")
    config = installed / "web" / "gunicorn.conf.py"
    with config.open("a") as code:
        code.write(f"\nfrom common.settings import RELEASE_{number}\n")
    (installed / "wsgi.py").write_text(
        f"{(ROOT / 'wsgi.py').read_text()}\n"
        f"from common.settings import RELEASE_{number}\n"
        f"from common.kit.metrics import RELEASE_{number} as also\n"
        f"app.after_request(lambda answer: answer.headers.set('X-Release', also) or answer)\n"
    )
