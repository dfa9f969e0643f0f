"""The layers by the names of their actors, and how one is asked for the way to another."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ._message import Request
from .agent import LayerCheck

LAYERS = ("agent", "scheduler", "optimizer", "evolver", "gpu_broker")
"""Every layer; which ones run is known by asking."""

LayerName = Annotated[str, Meta(pattern=rf"^({'|'.join(LAYERS)})$(?!\n)")]


class CheckLayer(Request[LayerCheck], frozen=True, kw_only=True):
    """A round trip from the asked layer to another, behind its own breaker. Any layer answers ``check_layer``."""

    layer: LayerName
    timeout_s: Annotated[float, Meta(gt=0, le=5)] = 2.0
