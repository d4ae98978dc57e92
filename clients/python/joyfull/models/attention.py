"""What the API answers about attention. Written by generate.py: do not edit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from joyfull.models.base import Decoders, Model, to_datetime, to_tuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern(Model):
    """Concern, as the API sends it."""

    id: str
    name: str
    what: Literal["failing", "gone", "disabled", "expires"] | str
    at: datetime

    _decoders: ClassVar[Decoders] = {"at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention(Model):
    """Attention, as the API sends it."""

    endpoints: tuple[Concern, ...]
    keys: tuple[Concern, ...]

    _decoders: ClassVar[Decoders] = {"endpoints": to_tuple(Concern.of), "keys": to_tuple(Concern.of)}
