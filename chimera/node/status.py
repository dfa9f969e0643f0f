"""The actor that answers how its node does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chimera._version import __version__
from chimera.actor import Actor, handles
from chimera.snapshot import snapshot
from subjects.node import GetStatus, NodeStatus

if TYPE_CHECKING:
    from .node import Node

PROMISES = {
    "power": "acknowledged writes survive a power cut (fsync before the acknowledgement)",
    "process": "acknowledged writes survive kill -9; a power cut can lose the last two minutes",
    "wear": "acknowledged writes survive kill -9; a power cut can lose the last second",
}
"""What each durability profile promises of an acknowledged write on a single server."""


class NodeActor(Actor, name="node", concurrency=4):
    """Tells what runs on this node."""

    def __init__(self, *, owner: Node) -> None:
        self._node = owner

    @handles
    async def status(self, message: GetStatus) -> NodeStatus:
        """Everything at one moment."""
        node = self._node
        settings = node.settings
        return NodeStatus(
            node=node.system.node,
            version=__version__,
            profile=settings.node.profile,
            uptime_s=round(node.system.clock.time() - node.system.started_at, 3),
            durability=f"{settings.nats.durability}: {PROMISES[settings.nats.durability]}"
            if not settings.nats.url
            else "as the server at nats.url is set up",
            ready=await node.readiness(),
            services=node.rows(),
            alarms=list(node.alarms().values()),
            snapshot=snapshot(node.system, most=message.actors),
        )
