"""What the log of auto-tunes holds. A tune is the fold of its entries, and nothing else."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from actors.tuning import TrialEvent
from subjects.agent import Genes, Manifest
from subjects.optimizer import Algorithm, AutoTune, Settings, TuneState


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="tune-started"):
    """A tune begins. ``base`` is the live genome, ``tune`` names what is searched of it."""

    id: str
    at: float
    request: AutoTune
    algorithm: Algorithm
    threshold: float
    incumbent: int
    base: Genes
    manifest: Manifest
    tune: list[str]


class RoundBegun(msgspec.Struct, frozen=True, kw_only=True, tag="tune-round"):
    """A search over one set of tasks begins: recorded from ``first`` to ``last``, judged from ``heard`` to ``events``.

    ``digest`` is of their ids, so that a restart can tell whether it found the same ones again.
    """

    id: str
    at: float
    first: int
    last: int
    heard: int
    events: int
    tasks: int
    digest: str


class Tried(msgspec.Struct, frozen=True, kw_only=True, tag="tune-trial"):
    """What happened to a trial of the round. ``half_width`` is that of its mean's confidence sequence."""

    id: str
    event: TrialEvent
    half_width: float | None = None


class Replayed(msgspec.Struct, frozen=True, kw_only=True, tag="tune-replayed"):
    """Tasks were run again on points that were measured before; their answers had been lost by a restart."""

    id: str
    at: float
    tasks: int


class Considered(msgspec.Struct, frozen=True, kw_only=True, tag="tune-considered"):
    """The best point was looked at and not sent to the gate."""

    id: str
    at: float
    reason: str


class Gated(msgspec.Struct, frozen=True, kw_only=True, tag="tune-gated"):
    """A trial's point goes to the gate, as this experiment; said before it is begun."""

    id: str
    at: float
    experiment: str
    trial: int


class Judged(msgspec.Struct, frozen=True, kw_only=True, tag="tune-judged"):
    """An experiment ended: promoted if ``release`` is given, else discarded."""

    id: str
    at: float
    experiment: str
    release: int | None
    harmed: int
    reason: str


class Halted(msgspec.Struct, frozen=True, kw_only=True, tag="tune-halted"):
    """A person wants the tune to end."""

    id: str
    at: float
    note: str


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag="tune-ended"):
    """A tune is over."""

    id: str
    at: float
    state: TuneState
    reason: str


class Configured(msgspec.Struct, frozen=True, kw_only=True, tag="tune-settings"):
    """How proposals are made from now on."""

    at: float
    settings: Settings


TuneEntry: TypeAlias = (
    Started | RoundBegun | Tried | Replayed | Considered | Gated | Judged | Halted | Ended | Configured
)
"""Everything that the log may hold about tunes."""

_decoder = msgspec.msgpack.Decoder(TuneEntry)
_encode = msgspec.msgpack.Encoder().encode


def pack(entry: TuneEntry) -> bytes:
    """An entry as bytes."""
    return _encode(entry)


def unpack(data: bytes) -> Any:
    """An entry from bytes.

    Raises:
        msgspec.DecodeError: If it is none.
    """
    return _decoder.decode(data)
