"""Where a client finds its server and its key: arguments, then the environment, then a profile."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from joyfull.credentials import ApiKey, Credentials, Session
from joyfull.errors import ConfigurationError
from joyfull.private_files import read_private

DEFAULT_URL = "http://localhost:8000"


def directory(environ: Mapping[str, str] = os.environ) -> Path:
    """`$XDG_CONFIG_HOME/joyfull` (XDG Base Directory Specification)."""
    return Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "joyfull"


@dataclass(frozen=True, slots=True)
class Profile:
    """One section of `config.toml`, and its secret."""

    name: str
    base_url: str | None = None
    api_key: str | None = None
    credential_command: str | None = None


def profile(name: str | None, environ: Mapping[str, str] = os.environ) -> Profile:
    """The profile of that name, of `JOYFULL_PROFILE`, or `default`. Raises ConfigurationError if it does not exist."""
    chosen = name or environ.get("JOYFULL_PROFILE") or "default"
    home = directory(environ)
    if name and not exists(name, environ):
        raise ConfigurationError(f"there is no profile {name!r} in {home / 'config.toml'}")
    secret = entries(home / "credentials.json").get(chosen, {}).get("api_key")
    found = sections(home / "config.toml").get(chosen, {})
    return Profile(chosen, found.get("base_url"), secret, found.get("credential_command"))


def exists(name: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether there is a profile of that name."""
    home = directory(environ)
    return name in sections(home / "config.toml") or name in entries(home / "credentials.json")


def sections(path: Path) -> dict[str, dict[str, str]]:
    """The profiles of a configuration file."""
    try:
        text = path.read_text(encoding="utf-8")
        found: dict[str, object] = import_module("tomllib").loads(text)  # loaded only where there is such a file
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    return {name: section for name, section in found.items() if isinstance(section, dict)}


def entries(path: Path) -> dict[str, dict[str, str]]:
    """What is kept by profile. Raises ConfigurationError when others can read the file."""
    text = read_private(path)
    try:
        found = json.loads("{}" if text is None else text)
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    return {name: {key: str(value) for key, value in entry.items()} for name, entry in found.items()}


def credentials(api_key: str | None, session: Session | None, chosen: Profile) -> Credentials:
    """The first that is there. Raises ConfigurationError for two at once."""
    if api_key and session:
        raise ConfigurationError("give an API key or a session, not both")
    if session is not None:
        return session
    key = api_key or os.environ.get("JOYFULL_API_KEY") or chosen.api_key or _fetched(chosen)
    return ApiKey(key) if key else Credentials()


def _fetched(chosen: Profile) -> str | None:
    """What the profile's `credential_command` prints: any keychain's own command."""
    if chosen.credential_command is None:
        return None
    shlex, subprocess = map(import_module, ("shlex", "subprocess"))
    done = subprocess.run(shlex.split(chosen.credential_command), stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ConfigurationError(f"credential_command of profile {chosen.name!r} ended with {done.returncode}")
    return str(done.stdout).strip()


def server(base_url: str | None, chosen: Profile) -> str:
    """The address, without a slash at its end and without `/api/v1`."""
    url = base_url or os.environ.get("JOYFULL_BASE_URL") or chosen.base_url or DEFAULT_URL
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"{url!r} is not the address of a platform: it begins with https:// or http://")
    return url.rstrip("/").removesuffix("/api/v1")
