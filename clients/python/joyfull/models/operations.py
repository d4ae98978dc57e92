"""What the API answers about operations. Written by generate.py: do not edit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from joyfull.models.base import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Health(Model):
    """Health, as the API sends it."""

    status: Literal["ok"] | str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness(Model):
    """Readiness, as the API sends it."""

    status: Literal["ready"] | str
