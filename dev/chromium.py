"""A Chromium that is installed here, if there is one."""

from __future__ import annotations

import os
import shutil
from typing import Final

#: Nothing of its own in the background; without a sandbox where it is run by root, which has none.
ARGUMENTS: Final = [
    *("--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run", *(["--no-sandbox"] if os.geteuid() == 0 else [])),
]


def executable() -> str | None:
    """The program that CHROMIUM names, `chromium`, or `google-chrome`."""
    names = (os.environ.get("CHROMIUM", ""), "chromium", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)
