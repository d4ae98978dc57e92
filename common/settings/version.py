"""The version of the platform: shown by `/health`, the API document and the User-Agent of every call outwards.

`docs/releasing.md` names the other files that carry it; `tests/architecture/test_project.py` holds them to it.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = "1.0.0"
