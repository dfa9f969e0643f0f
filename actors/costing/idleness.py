"""What is lent and not used: leases whose devices were idle, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from subjects.cost import Saving

IDLE_S = 600.0
"""A lease whose devices were idle for so long is worth a word."""

_DAY_H, _DAY_S = 24.0, 86_400.0


@dataclass(frozen=True, slots=True)
class Idle:
    """A live lease that nobody used for ``idle_s``: its devices, and what an hour of its share costs and takes.

    Only where a device tells its utilisation, or its holder says so at renewals, is it known to be idle.
    """

    lease: str
    devices: float
    idle_s: float
    per_hour: float | None
    watts: float | None


def saving(leases: Sequence[Idle]) -> tuple[Saving | None, str]:
    """What giving idle leases back would save a day, or in words why nothing."""
    idle = sorted((one for one in leases if one.idle_s >= IDLE_S), key=lambda one: (-one.idle_s, one.lease))
    if not idle:
        return None, f"idle release: no live lease was idle for {IDLE_S / 60:.0f} minutes"
    names = ", ".join(one.lease for one in idle[:5]) + (f" and {len(idle) - 5} more" if len(idle) > 5 else "")  # noqa: PLR2004 - as many as read well
    figures: dict[str, float | str] = {
        "leases": float(len(idle)), "devices": sum(one.devices for one in idle), "longest_idle_s": idle[0].idle_s
    }  # fmt: skip
    money = [one.per_hour for one in idle if one.per_hour]
    watts = [one.watts for one in idle if one.watts]
    if not money and not watts:
        return None, f"idle release: {names} are idle, and neither a price nor a power of their devices is known"
    saves, unit = (sum(money) * _DAY_H, "money") if money else (sum(watts) * _DAY_S, "joules")
    return Saving(
        kind="idle-release", words=f"{len(idle)} leases were idle for {idle[-1].idle_s / 60:.0f} minutes and more: "
        f"{names}", how=f"chimera gpu release {idle[0].lease}; or for all: chimera gpu rules --idle {IDLE_S:.0f}",
        saves=saves, unit=unit, basis="measured", figures=figures,
    ), ""  # fmt: skip
