"""`make check`: all static checks. Every check runs, and the output of failed ones is shown."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dev import servers, supervisor

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
Outcome = tuple[int, str]
#: Not quiet: what is not logged is not counted either, and a broken link would pass.
SITE = ("properdocs", "build", "--strict")


def main() -> int:
    """Run the checks two at a time, the longest first. Returns 1 if any fails."""
    supervisor.raise_on_signals()  # so that temporary directories are removed
    checks: dict[str, Callable[[], Outcome]] = {
        "types": lambda: tool("mypy"),
        "migrations": migrations,
        "documentation": documentation,
        "layers": lambda: tool("lint-imports", "--no-logo"),
        "client": client,
        "dead code": dead_code,
        "proportions": lambda: tool("python", "-m", "tools.proportions", "--check"),
        "dependencies": lambda: tool("deptry", "."),
        "kubernetes": kubernetes,
        "format": lambda: tool("ruff", "format", "--check", "--output-format=concise", "."),
        "lint": lambda: tool("ruff", "check", "--output-format=concise", "."),
    }
    with ThreadPoolExecutor(2) as pool:
        running = {name: pool.submit(timed, check) for name, check in checks.items()}
        return max([report(name, *future.result()) for name, future in running.items()])


def timed(check: Callable[[], Outcome]) -> tuple[Outcome, float]:
    began = time.monotonic()
    return check(), time.monotonic() - began


def report(name: str, outcome: Outcome, seconds: float) -> int:
    status, output = outcome
    print(f"{'ok    ' if status == 0 else 'FAILED'} {name} ({seconds:.1f} s)", flush=True)
    if status:
        print("\n".join(f"       {line}" for line in output.splitlines()), flush=True)
    return 1 if status else 0


def tool(name: str, *arguments: str, cwd: Path = ROOT, environ: Mapping[str, str] | None = None) -> Outcome:
    """Run a tool of the virtual environment. Returns its exit status and output."""
    done = subprocess.run(
        [BIN / name, *arguments],
        cwd=cwd,
        env={**os.environ, **(environ or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def client() -> Outcome:
    """The Python client: its own layers and dependencies, and what is generated of it is as the API document has it."""
    directory = ROOT / "clients" / "python"
    checks = (("lint-imports", "--no-logo"), ("deptry", "."), ("python", "generate.py", "--check"))
    done = [
        tool(name, *arguments, cwd=directory, environ={"PYTHONPATH": str(directory)}) for name, *arguments in checks
    ]
    return max(status for status, _ in done), "".join(output for status, output in done if status)


def dead_code() -> Outcome:
    """Unused functions and classes. (Not attributes: frameworks read most of them by name.)"""
    _, output = tool("vulture")
    found = [line for line in output.splitlines() if "unused attribute" not in line and "unused variable" not in line]
    return len(found), "\n".join(found)


def documentation() -> Outcome:
    """The site can be built: links lead somewhere, every page is in a menu, every docstring can be shown."""
    with tempfile.TemporaryDirectory(prefix="joyfull-site-") as directory:
        return tool(*SITE, "--site-dir", directory)


def kubernetes() -> Outcome:
    """The manifests are what the API of Kubernetes accepts, in its newest version that the validator has."""
    directory = ROOT / "ops" / "kubernetes"
    others = {"kustomization.yaml", "prometheus-adapter.yaml"}
    files = [str(file) for file in sorted(directory.rglob("*.yaml")) if file.name not in others]
    return tool("kubernetes-validate", "--strict", "--quiet", *files)


def migrations() -> Outcome:
    """Upgrade, check for missing migrations, downgrade to base, and upgrade again, on a temporary database."""
    output = ""
    with (
        tempfile.TemporaryDirectory(prefix="joyfull-check-") as directory,
        servers.running(Path(directory), {}, durable=False) as urls,
    ):
        environ = {"ENV": "development", "LOG_FORMAT": "console", **urls.environment()}
        for step in (["upgrade"], ["check"], ["downgrade", "base"], ["upgrade"]):
            status, more = tool("flask", "--app", "wsgi", "db", *step, environ=environ)
            output += more
            if status:
                return status, output
    return 0, output


if __name__ == "__main__":
    sys.exit(main())
