"""What a report says of costs: the broker's ledger is asked over the bus, and is absent where no broker runs."""

from __future__ import annotations

from typing import Any

import msgspec

from chimera.clock import Clock
from chimera.errors import ChimeraError, LayerNotRunningError, NotRunningError
from subjects.cost import CostLine, Costs, GetCosts

from .broods import Asks

ASK_S = 3.0
"""How long a report waits for each of the ledger's answers."""

HOUR_S = 3600.0
_LONGEST_H, _NOW_S = 8760.0, 60.0
_AMOUNTS = ("leases", "gpu_hours", "cpu_hours", "cost", "joules")


class Spending:
    """The costs' part of a report.

    Args:
        ask: Asks the broker.
        clock: Time.
    """

    def __init__(self, ask: Asks, clock: Clock) -> None:
        self._ask, self._clock = ask, clock

    async def figures(self, since: float, until: float) -> dict[str, Any] | None:
        """What was spent in a window; ``None`` if no broker runs, ``missing`` if it does not answer."""
        try:
            whole = await self._costs(since)
            later = await self._costs(until) if self._clock.time() - until > _NOW_S else None
        except (NotRunningError, LayerNotRunningError):
            return None
        except ChimeraError as error:
            return {"missing": f"the GPU broker did not answer: {error.detail}"}
        return spent(whole, later)

    async def _costs(self, since: float) -> Costs:
        hours = min(_LONGEST_H, max(1e-3, (self._clock.time() - since) / HOUR_S))
        return await self._ask(GetCosts(hours=hours), timeout_s=ASK_S)


def spent(whole: Costs, later: Costs | None = None) -> dict[str, Any]:
    """A ledger's sums and lines, without what belongs to a later one that ends at the same time."""
    after = {_key(line): line for line in later.lines} if later is not None else {}
    lines = [_line(line, after.get(_key(line))) for line in whole.lines]
    return {
        "since": whole.since, "currency": whole.currency, "cost": _less(whole.cost, later and later.cost),
        "joules": _less(whole.joules, later and later.joules),
        "gpu_hours": _less(whole.gpu_hours, later and later.gpu_hours),
        "lines": [line for line in lines if any(line[name] for name in _AMOUNTS)],
    }  # fmt: skip


def _key(line: CostLine) -> tuple[str, str, str, bool]:
    return line.layer, line.tenant, line.agent, line.idle


def _line(line: CostLine, after: CostLine | None) -> dict[str, Any]:
    found = msgspec.structs.asdict(line)
    return {**found, **{name: _less(found[name], getattr(after, name, None)) for name in _AMOUNTS}}


def _less(amount: float | None, after: float | None) -> float | None:
    return amount if amount is None or after is None else max(0.0, amount - after)
