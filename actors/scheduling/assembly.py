"""What a node gives the scheduler: its parts, and what the operator decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.queueing.admission import Capacity

from .core import Policy
from .letters import LetterRules

if TYPE_CHECKING:
    from chimera.node.parts import Parts


def arguments_of(parts: Parts) -> dict[str, Any]:
    """The constructor's arguments on a node."""
    settings = parts.settings
    own = settings.scheduler
    room = Capacity(own.queue_max, own.queue_bytes, own.disk_bytes)
    letters = LetterRules(own.dead_age_s, own.dead_max, own.dead_bytes)
    hold = settings.nats.max_file_bytes // 8
    return {
        "bus": parts.need("bus"),
        "policy": Policy(room=room, keep_finished=own.keep_max, letters=letters, hold_bytes=hold),
        "store": parts.store,
        "guard": parts.guard,
        "metrics": parts.metrics,
        "disk": None if settings.nats.url else settings.node.data,
    }
