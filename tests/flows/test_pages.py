"""The commands of the pages about the API work as they are pasted, one after the other."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from common.identity import accounts, email_addresses
from dev.platform import Platform
from tests import factories

DOCS = Path(__file__).resolve().parents[2] / "docs"
#: A refused request ends the script; as a reader would notice.
STRICT = 'set -euo pipefail\ncurl() { command curl --fail-with-body "$@"; }\n'
ADDRESS = "http://localhost:8000"
EMAIL = "grace@example.com"
ADMIN = "admin@localhost"


@pytest.mark.parametrize("name", ["accounts.md", "api-keys.md", "statement.md"])
def test_commands_work_as_they_are_pasted(hub: Platform, offer: Callable[..., str], name: str) -> None:
    offer(slug="sentiment")
    page = (DOCS / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    pasted = "".join(blocks)
    assert (ADDRESS in pasted, EMAIL in pasted) == (True, True)
    customer, admin = (f"{uuid4().hex}@example.com" for _ in range(2))
    accounts.create(email_addresses.parse(admin), factories.PASSWORD, "Admin", role="admin")
    script = STRICT + pasted.replace(ADDRESS, hub.url).replace(EMAIL, customer).replace(ADMIN, admin)

    done = subprocess.run(
        ["bash", "-c", script],
        env={"PATH": os.environ["PATH"], "no_proxy": "*", "ADMIN_PASSWORD": factories.PASSWORD},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-1000:]
    assert "null" not in done.stdout.splitlines(), "jq found nothing where the page says that there is something"
