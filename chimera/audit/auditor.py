"""What stands between a privileged act and its handler: the act is recorded first, its outcome afterwards."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from chimera.clock import Clock
from chimera.turn import Turn
from subjects import operation_of

from .chain import Draft, Face
from .log import AuditLog

_NOTE_CHARS, _VALUE_CHARS = 200, 64
_encode = msgspec.json.Encoder(order="deterministic", enc_hook=str).encode


class Auditor:
    """Records every request that changes something and runs nothing for a user; see ``Operation.safe`` and ``open``.

    Args:
        log: Where the entries go.
        node: Name of this node.
        clock: Gives the time of the entries.
    """

    def __init__(self, log: AuditLog, node: str, clock: Clock) -> None:
        self._log, self._node, self._clock = log, node, clock

    async def asked(self, turn: Turn) -> Draft:
        """Record that it was asked for; give the result to ``ended``.

        Raises:
            UnavailableError: If it can't be recorded: then it must not be done.
        """
        draft = self._draft(turn)
        number = await self._log.record(draft)
        return msgspec.structs.replace(draft, of=number)

    def ended(self, draft: Draft, outcome: str) -> None:
        """Record how it ended: ``ok``, or an error's code."""
        self._log.note(msgspec.structs.replace(draft, at=self._clock.time(), outcome=outcome))

    def _draft(self, turn: Turn) -> Draft:
        operation = operation_of(type(turn.message))
        actor, verb = (operation.actor, operation.verb) if operation else ("", turn.spec.verb)
        face: Face = "actor" if turn.chain else "nats" if turn.sink is not None else "http"
        by = getattr(turn.message, "by", "") or "operator"
        return Draft(
            at=self._clock.time(), node=self._node, actor=actor, verb=verb, face=face,
            by=f"{turn.chain[-1]} for {by}" if turn.chain else by, outcome="asked",
            digest=hashlib.sha256(_encode(turn.message)).hexdigest(), note=_note(turn.message),
        )  # fmt: skip


def _note(message: Any) -> str:
    """The request's short fields that were given: enough for a person to know what it was about."""
    parts: list[str] = []
    for field in msgspec.structs.fields(message):
        value = getattr(message, field.name)
        if isinstance(value, str | int | float) and value != field.default and field.name != "by":
            parts.append(f"{field.name}={str(value)[:_VALUE_CHARS]}")
    return " ".join(parts)[:_NOTE_CHARS]
