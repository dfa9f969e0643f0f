"""A sweep: one guest, loaded for the occasion on one worker, over many payloads; columns of numbers come back.

What a search needs of a genome is a field or two of each answer. So a worker takes the payloads in one record, keeps
the fields that were asked for, and answers once: beside the guest's own time a payload costs a few microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from chimera.errors import AgentContractError, BadMessageError
from chimera.wire import check_depth
from subjects import MAX_DEPTH

from .contract import GuestFailure, GuestResult, Scalar, Swept

DEAR = frozenset({"agent-limit", "lost"})
"""Failures that take long: a guest that meets many of them need not be run to the end."""

_object = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of each answer.

    Attributes:
        fields: Of the output; a value that is neither text, number nor boolean comes as ``None``.
        give_up: The rest is not run after so many failures that take long; 0 = never.
    """

    fields: tuple[str, ...] = ()
    give_up: int = 0


def decode_object(output: bytes) -> dict[str, Any]:
    """A guest's answer.

    Raises:
        AgentContractError: If it is not a JSON object, or nested too deep to be passed on.
    """
    try:
        value = _object.decode(output)
        if output.count(b"{") + output.count(b"[") > MAX_DEPTH:
            check_depth(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, BadMessageError) as error:
        raise AgentContractError(f"the agent's answer is not a JSON object: {error}") from error
    return value


def collect(outcomes: Iterable[GuestResult | GuestFailure], wish: Wish) -> Swept:
    """Outcomes as columns. They are taken one by one until the wish says to give up."""
    found = Swept(outputs=[[] for _ in wish.fields], run_s=[], cpu_s=[], failures={})
    dear = 0
    for place, outcome in enumerate(outcomes):
        found.run_s.append(outcome.run_s)
        found.cpu_s.append(outcome.cpu_s)
        failure = _note(found.outputs, wish.fields, outcome)
        if failure is not None:
            found.failures[place] = failure
            dear += failure.kind in DEAR
            if wish.give_up and dear >= wish.give_up:
                break
    return found


def join(parts: Sequence[Swept], fields: int) -> Swept:
    """Several pieces, one after the other."""
    found = Swept(outputs=[[] for _ in range(fields)], run_s=[], cpu_s=[], failures={})
    for part in parts:
        begin = len(found.run_s)
        found.failures.update({begin + place: failure for place, failure in part.failures.items()})
        found.run_s.extend(part.run_s)
        found.cpu_s.extend(part.cpu_s)
        for column, more in zip(found.outputs, part.outputs, strict=True):
            column.extend(more)
    return found


def _note(
    columns: Sequence[list[Scalar]], fields: Sequence[str], outcome: GuestResult | GuestFailure
) -> GuestFailure | None:
    """Take an answer's fields; what failed, if it did."""
    failure = outcome if isinstance(outcome, GuestFailure) else None
    answer: dict[str, Any] = {}
    if isinstance(outcome, GuestResult):
        try:
            answer = decode_object(outcome.output)
        except AgentContractError as error:
            failure = GuestFailure("agent-contract", error.detail, run_s=outcome.run_s, cpu_s=outcome.cpu_s)
    for column, name in zip(columns, fields, strict=True):
        value = answer.get(name)
        column.append(value if isinstance(value, bool | float | int | str) else None)
    return failure
