"""What the pages for operators say of Kubernetes is so: each command of the first start, and every port."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from common import settings
from tests.conftest import ROOT
from tests.dev.test_kubernetes import kinds, settings_env

PAGES = ROOT / "docs" / "operations"
#: In place of `docker` and `kubectl`: is given paths that exist, and keeps the secrets.
KUBECTL = """#!/bin/sh
for each; do
    case $each in
        ops/*) [ -e "$each" ] || { echo "$each does not exist in $PWD"; exit 1; };;
        --from-file=.) cp * "$KEPT";;
    esac
done
"""


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not here")
def test_the_commands_of_the_page_make_the_secrets_of_a_production(tmp_path: Path) -> None:
    """Each in the directory where the one before has left the shell."""
    page = (PAGES / "kubernetes.md").read_text()
    steps = page.partition("## From nothing to running")[2].partition("\n## ")[0]
    script = "\n".join(line for line in steps.splitlines() if line.startswith(" " * 8))
    kept, commands = tmp_path / "secrets", tmp_path / "bin"
    kept.mkdir()
    commands.mkdir()
    for name in ("kubectl", "docker"):
        (commands / name).write_text(KUBECTL)
        (commands / name).chmod(0o755)
    environ = {"PATH": f"{commands}:{os.environ['PATH']}", "KEPT": str(kept), "TMPDIR": str(tmp_path)}
    done = subprocess.run(["sh", "-ec", script], cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    given = {name: value.replace("/run/secrets/joyfull", str(kept)) for name, value in settings_env().items()}
    assert {Path(value).name for name, value in given.items() if name.endswith("_FILE")} == {
        file.name for file in kept.iterdir()
    }
    assert settings.load({**given, "ENV": "production"}).admin_email == "admin@example.com"


def test_servers_are_reached_at_the_ports_that_the_documentation_names() -> None:
    pages = [
        (ROOT / "docs" / "operations" / f"{name}.md").read_text() for name in ("redis", "scaling-out", "pgbouncer")
    ]
    named = {int(port) for page in pages for port in re.findall(r"://[^ \n]*?(?:-\d|127\.0\.0\.1):(\d+)", page)}
    assert named >= {5432, 6432, 6379, 26379, 5672}
    (servers,) = (each for each in kinds("NetworkPolicy") if each["metadata"]["name"] == "servers")
    assert named <= {port["port"] for port in servers["spec"]["egress"][0]["ports"]}
