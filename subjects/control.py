"""What nodes tell each other: heartbeats, death notices, cancellation. Core NATS, never captured by a stream."""

from __future__ import annotations

from ._message import Command, Event
from ._operation import PREFIX

HEARTBEAT = f"{PREFIX}.control.heartbeat"
CANCEL = f"{PREFIX}.control.cancel"
DOWN = f"{PREFIX}.control.down"
BEAT = f"{PREFIX}.control.beat"


def node_subject(node: str) -> str:
    """Prefix under which the actors of one node are addressed: ``chimera.node.<node>.<actor>.<key>.<verb>``."""
    return f"{PREFIX}.node.{node}"


class Heartbeat(Event, frozen=True, kw_only=True):
    """A node is alive. It is taken for dead after three intervals of silence."""

    node: str
    interval_s: float
    actors: int
    epoch: int


class Cancel(Command, frozen=True, kw_only=True):
    """The caller of ask ``id`` went away: whoever runs it stops."""

    id: str


class ActorDown(Event, frozen=True, kw_only=True):
    """An actor ended. ``reason`` is ``stopped``, ``crashed``, ``gave-up`` or ``node``."""

    node: str
    address: str
    reason: str


class Beat(Event, frozen=True, kw_only=True):
    """These jobs are being worked on, and of those in ``done`` the answers are kept.

    Sent every few seconds by the agents' own loop, which no guest can block.
    """

    node: str
    jobs: list[str]
    done: list[str] = []
