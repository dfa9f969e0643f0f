"""Figures on the command line: what a metric's name implies, and objectives as ``NAME[:KEY=VALUE]...``."""

from __future__ import annotations

from typing import Any

from chimera.errors import BadMessageError

_LOWER = frozenset({"score_error", "failed", "slow", "run_ms", "cpu_ms"})
_PROPORTIONS = frozenset({"correct", "failed", "slow"})
_MILLISECONDS = frozenset({"run_ms", "cpu_ms"})
_NUMBERS = ("low", "high", "threshold", "least")


def metric_of(name: str) -> dict[str, Any]:
    """A metric with what its name implies: its kind, which way is better, its range."""
    kind = "proportion" if name in _PROPORTIONS else "mean"
    high = 1000.0 if name in _MILLISECONDS else 1.0
    return {"name": name, "kind": kind, "better": "lower" if name in _LOWER else "higher", "high": high}


def objective_of(text: str) -> dict[str, Any]:
    """An objective from ``correct``, ``correlation``, ``cpu_ms:least=5``, ``output.strictness:better=lower`` ...

    Raises:
        BadMessageError: If a part is not ``KEY=VALUE``, or a value is no number.
    """
    name, *parts = text.split(":")
    if name == "correlation":
        metric, statistic = {**metric_of("score_error"), "high": 2.0}, "correlation"
    else:
        metric, statistic = metric_of(name), "mean"
    objective: dict[str, Any] = {"metric": metric, "statistic": statistic}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or key not in (*_NUMBERS, "better"):
            raise BadMessageError(
                f"--objective {text}: '{part}' is not KEY=VALUE with {', '.join((*_NUMBERS, 'better'))}",
                hint="such as: --objective correct --objective cpu_ms:least=5",
            )
        if key == "better":
            metric["better"] = value
        else:
            (objective if key == "least" else metric)[key] = _number(text, key, value)
    return objective


def _number(text: str, key: str, value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise BadMessageError(f"--objective {text}: {key} is a number, not '{value}'") from error
