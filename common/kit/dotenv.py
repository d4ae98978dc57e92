"""Read a `.env` file and merge it with the process environment."""

from __future__ import annotations

from collections.abc import Mapping


def over(file: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Merge, with the environment taking precedence over the file, whether either uses NAME or NAME_FILE."""
    given = {name.removesuffix("_FILE") for name in environ}
    return {name: value for name, value in file.items() if name.removesuffix("_FILE") not in given} | dict(environ)


def read_dotenv(text: str) -> dict[str, str]:
    """Parse `NAME=value` lines; skip blank lines and `#` comments, and remove matching quotes around a value."""
    values: dict[str, str] = {}
    for raw in text.splitlines():
        line = raw.strip().removeprefix("export ").strip()
        if not line or line.startswith("#") or "=" not in line:
            continue
        name, _, value = line.partition("=")
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        values[name.strip()] = value
    return values
