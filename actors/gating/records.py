"""What the log of experiments holds. An experiment is the fold of its entries, and nothing else."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from subjects.experiment import Decision, Evidence, Mode, Plan


class Row(msgspec.Struct, array_like=True, frozen=True):
    """One message that counts.

    ``candidate`` is the index of the candidate, from 1. In a paired stage both lists are filled; in a split stage only
    the one of the release that served it, and 0 is the live one. Values stand in the order of the plan's metrics,
    the primary first; ``None`` = the message does not tell. ``covariate`` is known before any release answers.
    ``late`` = only the judgement came now; the message itself was counted before.
    """

    candidate: int
    live: list[float | None] = []
    tried: list[float | None] = []
    covariate: float = 0.0
    late: bool = False


class Opened(msgspec.Struct, frozen=True, kw_only=True, tag="opened"):
    """An experiment begins. Messages up to the sequences ``kpi`` and ``events`` do not count."""

    id: str
    at: float
    agent: str
    incumbent: int
    candidates: list[int]
    plan: Plan
    level: float
    test: int
    proposer: str
    note: str
    kpi: int
    events: int


class Seen(msgspec.Struct, frozen=True, kw_only=True, tag="seen"):
    """Messages that count, and how far the streams were read for them."""

    id: str
    at: float
    stage: Mode
    rows: list[Row]
    kpi: int
    events: int


class Entered(msgspec.Struct, frozen=True, kw_only=True, tag="entered"):
    """The next stage began, or the candidates' share of traffic changed; said after it was put in force.

    Live messages up to the sequences ``kpi`` and ``events`` do not count for the stage.
    """

    id: str
    at: float
    stage: Mode
    share: float
    kpi: int = 0
    events: int = 0


class Ruled(msgspec.Struct, frozen=True, kw_only=True, tag="ruled"):
    """The gate, or a person, decided; said before it is put in force."""

    id: str
    decision: Decision
    evidence: list[Evidence]


class Applied(msgspec.Struct, frozen=True, kw_only=True, tag="applied"):
    """A decision was put in force, or could not be: then ``detail`` says why, and the experiment has failed."""

    id: str
    at: float
    number: int
    ok: bool
    detail: str = ""


class Exhausted(msgspec.Struct, frozen=True, kw_only=True, tag="exhausted"):
    """A replay stage has no more recorded messages."""

    id: str
    at: float


Entry: TypeAlias = Opened | Seen | Entered | Ruled | Applied | Exhausted
_decoder = msgspec.msgpack.Decoder(Entry)
_encode = msgspec.msgpack.Encoder().encode


def pack(entry: Entry) -> bytes:
    """An entry as bytes."""
    return _encode(entry)


def unpack(data: bytes) -> Any:
    """An entry from bytes.

    Raises:
        msgspec.DecodeError: If it is none.
    """
    return _decoder.decode(data)
