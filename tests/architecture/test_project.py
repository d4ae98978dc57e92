"""What the project says of itself in several places is the same everywhere: its licence."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from common.settings import Settings
from web.api.openapi import document
from web.app import create_app

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def image_labels() -> dict[str, str]:
    """The labels that the Dockerfile gives the image."""
    labels = re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]+)"', (ROOT / "Dockerfile").read_text())
    return dict(labels)


def test_the_licence_is_the_same_everywhere(settings: Settings) -> None:
    info = document.of(create_app(settings))["info"]

    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith(f"{PROJECT['license']} License\n")
    assert info["license"] == {"name": PROJECT["license"], "identifier": PROJECT["license"]}
    assert image_labels()["licenses"] == PROJECT["license"]
    assert image_labels()["description"] == PROJECT["description"]
