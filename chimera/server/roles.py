"""Who may say what to the embedded server: least privilege, derived from the declared operations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from subjects import OPERATIONS, Operation
from subjects.control import CANCEL

RoleName = Literal["runtime", "client", "operator", "observer"]

FACTS = {"EVENTS": "chimera.event.>", "KPI": "chimera.kpi.>"}
"""Streams of facts, and what they capture."""

PLAIN_INBOX = "_INBOX"
"""Where clients that were not told otherwise take their answers."""

_DISCOVERY = tuple(f"$SRV.{verb}{rest}" for verb in ("PING", "INFO", "STATS") for rest in ("", ".>"))

LIVE = "chimera.live.>"
"""Facts that are told and not kept: what becomes of tasks, as it happens."""


@dataclass(frozen=True, slots=True)
class Role:
    """One user of the server, and the subjects it may publish and subscribe."""

    name: RoleName
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    description: str

    @property
    def inbox_prefix(self) -> str:
        """Prefix of this role's reply subjects; no other role may subscribe there, so none reads its answers."""
        return f"{PLAIN_INBOX}_{self.name}"


def roles(operations: Iterable[Operation[Any, Any]] = OPERATIONS) -> dict[RoleName, Role]:
    """The four roles, by name.

    * ``runtime``: the node itself. Answers, so it publishes to everybody's inbox; reads no inbox but its own.
    * ``client``: runs tasks. May call what is safe or open, and look services up. It may use the plain ``_INBOX`` too,
      because that is what an unconfigured client library does, and nobody else uses it.
    * ``operator``: calls everything, and reads the facts, also through consumers of its own.
    * ``observer``: reads facts, live and stored. It may not make consumers: whoever may make one may also change one
      of the node's, so it reads stored messages by sequence (``STREAM.MSG.GET``, ``DIRECT.GET``).
    """
    known = tuple(operations)
    made = (_runtime(), _client(known), _operator(known), _observer())
    return {role.name: role for role in made}


def _runtime() -> Role:
    inboxes = tuple(f"{PLAIN_INBOX}_{name}.>" for name in ("runtime", "client", "operator", "observer"))
    stores = ("$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$KV.>", "$O.>")
    return Role(
        "runtime",
        publish=("chimera.>", "$SRV.>", *stores, f"{PLAIN_INBOX}.>", *inboxes),
        subscribe=("chimera.>", "$SRV.>", "$KV.>", "$JS.EVENT.>", "_INBOX_runtime.>"),
        description="a Chimera node",
    )


def _client(operations: tuple[Operation[Any, Any], ...]) -> Role:
    allowed = (operation.subject for operation in operations if operation.safe or operation.open)
    return Role(
        "client",
        publish=(*sorted(allowed), *_DISCOVERY),
        subscribe=("_INBOX_client.>", f"{PLAIN_INBOX}.>"),
        description="runs tasks in Chimera's agents, reads what is safe to read",
    )


def _operator(operations: tuple[Operation[Any, Any], ...]) -> Role:
    every = sorted(operation.subject for operation in operations)
    consumers = (subject for stream in FACTS for subject in _consumer_subjects(stream))
    return Role(
        "operator",
        publish=(*every, CANCEL, *_DISCOVERY, *_lookups(), *consumers),
        subscribe=(*FACTS.values(), LIVE, "_INBOX_operator.>"),
        description="does whatever the chimera command can",
    )


def _observer() -> Role:
    return Role(
        "observer",
        publish=_lookups(),
        subscribe=(*FACTS.values(), LIVE, "_INBOX_observer.>"),
        description="reads Chimera's events",
    )


def _lookups() -> tuple[str, ...]:
    return tuple(
        f"$JS.API.{call}"
        for stream in FACTS
        for call in (
            f"STREAM.INFO.{stream}",
            f"STREAM.MSG.GET.{stream}",
            f"DIRECT.GET.{stream}",
            f"DIRECT.GET.{stream}.>",
        )
    )


def _consumer_subjects(stream: str) -> tuple[str, ...]:
    calls = (f"CREATE.{stream}", f"CREATE.{stream}.>", f"INFO.{stream}.*", f"MSG.NEXT.{stream}.*", f"DELETE.{stream}.*")
    return (*(f"$JS.API.CONSUMER.{call}" for call in calls), f"$JS.ACK.{stream}.>", f"$JS.FC.{stream}.>")
