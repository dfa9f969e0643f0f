"""What a node gives the scheduler: its parts, and what the operator decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.queueing.admission import Capacity

from .core import Policy
from .disk import Disk
from .letters import LetterRules

if TYPE_CHECKING:
    from chimera.node.parts import Parts


def arguments_of(parts: Parts) -> dict[str, Any]:
    """The constructor's arguments on a node."""
    settings = parts.settings
    own = settings.scheduler
    most = settings.nats.max_file_bytes
    room = Capacity(own.queue_max, own.queue_bytes, own.disk_bytes, min(own.disk_bytes, most // 8))
    letters = LetterRules(own.dead_age_s, own.dead_max, own.dead_bytes)
    return {
        "bus": parts.need("bus"),
        "policy": Policy(room=room, keep_finished=own.keep_max, letters=letters, hold_bytes=most // 8),
        "store": parts.store,
        "guard": parts.guard,
        "metrics": parts.metrics,
        "disk": None if settings.nats.url else Disk(settings.node.data, most),
    }
