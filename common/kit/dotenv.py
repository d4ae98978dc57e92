"""A `.env` file, and the real environment over it."""

from __future__ import annotations

from collections.abc import Mapping


def over(file: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """The real environment wins over the file, whichever of NAME and NAME_FILE either of them uses."""
    given = {name.removesuffix("_FILE") for name in environ}
    return {name: value for name, value in file.items() if name.removesuffix("_FILE") not in given} | dict(environ)


def read_dotenv(text: str) -> dict[str, str]:
    """`NAME=value` lines; blank lines and `#` comments are skipped, matching quotes around a value are dropped."""
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
