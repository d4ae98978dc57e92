"""What `joyfull --version` says."""

from __future__ import annotations

from joyfull.operations import API_VERSION
from joyfull.version import VERSION


def version_line() -> str:
    """The version of the package, and that of the API that it was made from."""
    return f"joyfull {VERSION} (API {API_VERSION})\n"
