"""Dimensions: one number or choice of a search, with its bounds, its scale, and what fits it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from actors.execution.genome import default_of
from chimera.errors import BadGenomeError
from subjects.agent import Parameter

from .events import Value

Scale = Literal["linear", "log"]
LOG_FROM = 100.0
"""A number whose bounds are positive and this factor apart is searched on a log scale, if nothing else is said."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """One number or choice that is searched.

    Attributes:
        key: ``genome.<name>``, ``settings.<name>``, for vectors ``genome.<name>.<index>``.
        kind: A real or whole number within ``low`` and ``high`` (both may be taken), or one of ``choices``.
        log: Whether equal factors count as equal steps.
        default: Its value while it does not count.
        unit: For people.
    """

    key: str
    kind: Literal["real", "integer", "choice"]
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[bool | str, ...] = ()
    default: Value = 0.0
    unit: str = ""

    def check(self, value: Any) -> Value:
        """``value`` in the dimension's own type.

        Raises:
            BadGenomeError: If it is of the wrong type, not finite, out of bounds or not a choice.
        """
        if self.kind == "choice":
            for choice in self.choices:
                if type(value) is type(choice) and value == choice:
                    return choice
            raise BadGenomeError(f"{self.key}: one of {', '.join(map(str, self.choices))} is needed, not {value!r:.80}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise BadGenomeError(f"{self.key}: a finite number is needed, not {value!r:.80}")
        if not self.low <= value <= self.high:
            raise BadGenomeError(f"{self.key}: {value} is outside {self.low} to {self.high}")
        if self.kind == "real":
            return float(value)
        if value != int(value):
            raise BadGenomeError(f"{self.key}: a whole number is needed, not {value}")
        return int(value)

    @property
    def levels(self) -> int:
        """How many values it can take; 0 for a real number."""
        if self.kind == "choice":
            return len(self.choices)
        return int(self.high) - int(self.low) + 1 if self.kind == "integer" else 0


def dimensions_of(name: str, parameter: Parameter, scale: Scale | None = None) -> tuple[Dimension, ...]:
    """The dimensions of a parameter; none if it has a single value, or a number lacks a bound.

    Args:
        name: With its room, such as ``genome.negation_scalar``.
        parameter: Its declaration.
        scale: Its scale; ``None`` lets ``LOG_FROM`` decide.

    Raises:
        BadGenomeError: If a log scale is asked for where there is none.
    """
    if parameter.type in {"categorical", "boolean"}:
        return _choice(name, parameter, scale)
    if parameter.low is None or parameter.high is None:
        return ()
    whole = parameter.type == "integer"
    low = float(math.ceil(parameter.low)) if whole else parameter.low
    high = float(math.floor(parameter.high)) if whole else parameter.high
    if low >= high:
        return ()
    defaults = default_of(parameter)
    return tuple(
        Dimension(
            key=f"{name}.{index}" if parameter.size > 1 else name, kind="integer" if whole else "real",
            low=low, high=high, log=_is_log(name, low, high, scale), default=default, unit=parameter.unit,
        )
        for index, default in enumerate(defaults if isinstance(defaults, list) else [defaults])
    )  # fmt: skip


def _choice(name: str, parameter: Parameter, scale: Scale | None) -> tuple[Dimension, ...]:
    if scale == "log":
        raise BadGenomeError(f"{name}: only numbers have a scale")
    choices = tuple(parameter.choices) if parameter.type == "categorical" else (False, True)
    if len(choices) == 1:
        return ()
    return (Dimension(key=name, kind="choice", choices=choices, default=default_of(parameter)),)  # pyright: ignore[reportArgumentType] - a choice is never a vector


def _is_log(name: str, low: float, high: float, scale: Scale | None) -> bool:
    if scale == "log" and low <= 0.0:
        raise BadGenomeError(f"{name}: a log scale needs a lower bound above 0, not {low}")
    return scale == "log" or (scale is None and low > 0.0 and high >= LOG_FROM * low)
