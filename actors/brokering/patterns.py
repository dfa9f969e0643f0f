"""How use varies over the day, from the samples of every minute."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from chimera.bus.contract import Bus
from chimera.errors import ChimeraError
from chimera.wire import decode
from subjects.device import Kind
from subjects.gpu_broker import UsageHour, UsagePatterns
from subjects.lease import SAMPLED, Sampled

from .streams import USAGE

_HOURS = 24
_FEW = 30
"""Samples of an hour below which it is not called the busiest."""


@dataclass(slots=True)
class Hour:
    """Sums over the samples of one hour of the day."""

    samples: int = 0
    lent: float = 0.0
    most: float = 0.0
    busy: float = 0.0
    told: float = 0.0
    waiting: float = 0.0


@dataclass(slots=True)
class Minute:
    """One minute of a kind, over its models."""

    at: float = -1.0
    lent: float = 0.0
    busy: float = 0.0
    told: float = 0.0
    waiting: float = 0.0


class Patterns:
    """Adds samples up, by kind and hour of the day (UTC).

    Args:
        bus: Where the samples of earlier days are.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._hours: dict[Kind, list[Hour]] = {kind: [Hour() for _ in range(_HOURS)] for kind in ("gpu", "cpu")}
        self._minute: dict[Kind, Minute] = {"gpu": Minute(), "cpu": Minute()}
        self._since: dict[Kind, float] = {}
        self.trouble = ""

    async def load(self) -> None:
        """Read the samples there are."""
        try:
            async with self._bus.read(USAGE, subject=SAMPLED) as source:
                async for stored in source:
                    self.take(decode(stored.data, Sampled))
        except (ChimeraError, msgspec.DecodeError) as error:
            self.trouble = str(error)

    def take(self, row: Sampled) -> None:
        """Count a sample; those of one minute and kind are rows of its models. A repeated minute counts once."""
        minute = self._minute[row.kind]
        if row.at < minute.at:
            return
        if row.at > minute.at:
            self._close(row.kind)
            minute = self._minute[row.kind] = Minute(row.at)
        minute.lent += row.lent
        minute.waiting = max(minute.waiting, float(row.waiting))
        if row.busy is not None:
            minute.busy += row.busy * row.lent
            minute.told += row.lent

    def _close(self, kind: Kind) -> None:
        minute = self._minute[kind]
        if minute.at < 0.0:
            return
        self._since.setdefault(kind, minute.at)
        hour = self._hours[kind][int(minute.at // 3600) % _HOURS]
        hour.samples += 1
        hour.lent += minute.lent
        hour.most = max(hour.most, minute.lent)
        hour.busy += minute.busy
        hour.told += minute.told
        hour.waiting += minute.waiting

    def view(self, kind: Kind, shapes: dict[str, float], now: float) -> UsagePatterns:
        """The day as it was so far; hours without samples are left out."""
        hours = self._hours[kind]
        told, busy = sum(hour.told for hour in hours), sum(hour.busy for hour in hours)
        known = [(hour.lent / hour.samples, number) for number, hour in enumerate(hours) if hour.samples >= _FEW]
        return UsagePatterns(
            kind=kind, since=self._since.get(kind, now), samples=sum(hour.samples for hour in hours),
            hours=[_view(number, hour) for number, hour in enumerate(hours) if hour.samples],
            busiest_hour=max(known)[1] if known else None,
            idle_share=1.0 - busy / told if told else None, shapes=shapes,
        )  # fmt: skip


def _view(number: int, hour: Hour) -> UsageHour:
    return UsageHour(
        hour=number, samples=hour.samples, lent_mean=hour.lent / hour.samples, lent_most=hour.most,
        busy_mean=hour.busy / hour.told if hour.told else None, waiting_mean=hour.waiting / hour.samples,
    )  # fmt: skip
