"""What the API answers about receipts. Written by generate.py: do not edit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from joyfull.models.base import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt(Model):
    """Receipt, as the API sends it."""

    receipt: str
    claims: dict[str, Any]
