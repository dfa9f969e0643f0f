"""``chimera.node.*``: how a node does. Any node answers; a certain one on ``chimera.node.<node>.node.-.status``."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from ._message import Reply, Request
from ._operation import Http, Operation, Port
from ._types import Document


class NodeStatus(Reply, frozen=True, kw_only=True):
    """A node's state at one moment: counters and gauges, never rates.

    Attributes:
        durability: What an acknowledged write survives, with its promise in words.
        services: Name to where it is and how it does.
        snapshot: Actors, supervision tree, bus.
        alarms: What is wrong though requests can be served, and what to do.
    """

    node: str
    version: str
    profile: str
    uptime_s: float
    durability: str
    ready: dict[str, str]
    services: list[Document]
    snapshot: Document
    alarms: list[str] = []


class GetStatus(Request[NodeStatus], frozen=True, kw_only=True):
    """What runs where; at most ``actors`` rows of actors, the fullest mailboxes first."""

    actors: Annotated[int, Meta(ge=0, le=1000)] = 100


STATUS = Operation(
    "node", "status", GetStatus, NodeStatus, Port.AGENT, "What runs on this node, and how it does",
    http=(Http("GET", "/api/status"),), safe=True, example={"actors": 10},
)  # fmt: skip

OPERATIONS: tuple[Operation[Any, Any], ...] = (STATUS,)
