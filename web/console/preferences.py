"""What a browser remembers of its reader's wishes, in cookies: theme, density, shortcuts, time zone.

Nothing of it is private or trusted; a value that is not known counts as not given.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from flask import Response, current_app, g, request

THEMES: Final = ("system", "light", "dark")
DENSITIES: Final = ("compact", "comfortable")
SHORTCUTS: Final = ("on", "off")
#: The choices by the name of the form's field; the first of each is the default.
CHOICES: Final = {"theme": THEMES, "density": DENSITIES, "shortcuts": SHORTCUTS}
ZONE: Final = "hub-zone"
#: A zone that was chosen; without it, the one that the browser tells counts.
CHOSEN_ZONE: Final = "zone-chosen"
_YEAR: Final = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Preferences:
    """The wishes of a reader; `zone_name`: an IANA name that we know."""

    theme: str
    density: str
    shortcuts: str
    zone_name: str

    @property
    def zone(self) -> tzinfo:
        """The time zone in which times are shown."""
        return _zone(self.zone_name) or ZoneInfo("UTC")


def current() -> Preferences:
    """Those of the current request."""
    if "preferences" not in g:
        given = {name: request.cookies.get(f"hub-{name}", "") for name in CHOICES}
        chosen = {name: given[name] if given[name] in known else known[0] for name, known in CHOICES.items()}
        zones = (chosen_zone(), request.cookies.get(ZONE, ""))
        g.preferences = Preferences(**chosen, zone_name=next((zone for zone in zones if is_zone(zone)), "UTC"))
    found: Preferences = g.preferences
    return found


def chosen_zone() -> str:
    """The zone that was chosen; empty: none, the browser's counts."""
    return request.cookies.get(f"hub-{CHOSEN_ZONE}", "")


def is_zone(name: str) -> bool:
    """Whether it is the name of a time zone that we know."""
    return _zone(name) is not None


def keep(response: Response, name: str, value: str) -> None:
    """Remember a wish in the reader's browser."""
    secure = str(current_app.config["PUBLIC_URL"]).startswith("https:")
    response.set_cookie(f"hub-{name}", value, max_age=_YEAR, path="/console", secure=secure, samesite="Lax")


@lru_cache(maxsize=1_000)
def _zone(name: str) -> tzinfo | None:
    if not name or len(name) > 64 or name.startswith((".", "/")):
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not found, not a name, a directory
        return None
