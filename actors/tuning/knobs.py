"""Execution settings as parameters: batching, instances and limits, in the words in which a manifest declares genes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import structs

from actors.execution.settings import DEFAULT_CAP
from chimera.errors import BadSettingError
from subjects.agent import Limits, Parameter

_MIB = float(1 << 20)

KNOBS: tuple[Parameter, ...] = (
    Parameter(
        name="batch_size", type="integer", low=1, high=256, default=32, unit="tasks",
        description="most tasks of a batch",
    ),
    Parameter(
        name="batch_timeout_ms", low=0.0, high=20.0, default=2.0, unit="ms",
        description="longest that a task waits for its batch",
    ),
    Parameter(
        name="instances", type="integer", low=1, high=64, default=1, unit="instances",
        description="instances of the guest that are kept ready",
    ),
    Parameter(name="cpu_ms", low=1.0, high=60_000.0, default=1_000.0, unit="ms", description="CPU time of one task"),
    Parameter(name="wall_ms", low=1.0, high=60_000.0, default=5_000.0, unit="ms", description="wall time of one task"),
    Parameter(
        name="memory_bytes", type="integer", low=_MIB, high=256 * _MIB, default=16 << 20, unit="bytes",
        description="linear memory of one instance",
    ),
)  # fmt: skip
"""Every setting that can be searched."""

LIMITS = ("cpu_ms", "wall_ms", "memory_bytes")
"""Those of them that limit a task: offered only where they are passed in."""


def execution_parameters(current: Mapping[str, Any], *, cap: Limits = DEFAULT_CAP) -> list[Parameter]:
    """The settings to search: those in ``current``, whose values become the defaults, the known-good ones.

    Bounds are widened where a value in force lies outside them, and no limit goes above the operator's cap.

    Args:
        current: Any of the names in ``KNOBS`` with the values in force; limits are searched only if they are named.
        cap: The operator's cap on limits.

    Raises:
        BadSettingError: If a name is not in ``KNOBS``.
    """
    known = {knob.name: knob for knob in KNOBS}
    for name in current:
        if name not in known:
            raise BadSettingError(f"'{name}' can't be tuned", hint=f"these can: {', '.join(known)}")
    return [_around(known[name], value, _ceiling(name, cap)) for name, value in current.items()]


def limits_of(settings: Mapping[str, Any], limits: Limits) -> Limits:
    """``limits`` with those of ``settings`` that are limits put in."""
    return structs.replace(limits, **{name: settings[name] for name in LIMITS if name in settings})


def _ceiling(name: str, cap: Limits) -> float:
    return float(getattr(cap, name)) if name in LIMITS else float("inf")


def _around(knob: Parameter, value: float, ceiling: float) -> Parameter:
    low = min(float(knob.low or 0.0), value)
    high = min(max(float(knob.high or 0.0), value), max(ceiling, value))
    return structs.replace(knob, default=value, low=min(low, high), high=high)
