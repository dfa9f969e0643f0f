"""A loop of two hundred promotions, one in ten of them a real improvement, behind different gates."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# numpy leaves the element type of what arithmetic gives open

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from actors.inference.paths import two_by_two_path, wins_path
from actors.inference.spending import ErrorBudget
from tests.calibration.alarms import scores
from tests.calibration.case import Case, Measure

GROUP = "a loop of 200 candidates, 10 % of them better"
TESTS, REAL, ARM, GAIN = 200, 0.1, 3_000, 0.05
RATE = 0.1

Gate = Callable[[Sequence[float]], list[bool]]
"""From each candidate's greatest evidence, in order, to whether it is promoted."""


def at_level(bar: float) -> Gate:
    """Each candidate by itself."""
    return lambda found: [one >= bar for one in found]


def by_ledger(found: Sequence[float]) -> list[bool]:
    """All from one error budget; evidence is the logarithm of an e-value."""
    budget, promoted = ErrorBudget(RATE), list[bool]()
    for log_e in found:
        promoted.append(log_e >= -math.log(budget.next_level))
        budget = budget.begin().promote() if promoted[-1] else budget.begin()
    return promoted


def split(rng: np.random.Generator, gain: float) -> tuple[float, float]:
    """Greatest log e-value and z-score of one candidate in a split where the live release is right in 30 %."""
    live = (rng.random((1, ARM)) < 0.3) * 1.0
    tried = (rng.random((1, ARM)) < 0.3 + gain) * 1.0
    path = two_by_two_path(live, tried, np.ones(ARM), np.ones(ARM))
    return float(path.max()), float(scores(tried - live)[0, 100:].max())


def pairs(rng: np.random.Generator, gain: float) -> tuple[float, float]:
    """The same of one in replay, where of 12 % of the messages one answer is right and the other wrong."""
    won = 0.06 + gain / 2.0
    drawn = rng.random((1, ARM))
    wins, losses = drawn < won, (drawn >= won) & (drawn < 0.12)
    path = wins_path(np.cumsum(wins, axis=-1), np.cumsum(losses, axis=-1))
    return float(path.max()), float(scores(wins * 1.0 - losses)[0, 100:].max())


def loop(
    world: Callable[[np.random.Generator, float], tuple[float, float]], gate: Gate, *, evidence: int, figure: str
) -> Measure:
    """Mean over loops of the share of promotions that are false, or of real improvements that are found."""

    def measure(rng: np.random.Generator, runs: int) -> float:
        shares: list[float] = []
        for _ in range(runs):
            real = (rng.random(TESTS) < REAL).tolist()
            promoted = gate([world(rng, GAIN * one)[evidence] for one in real])
            right = sum(one and two for one, two in zip(real, promoted, strict=True))
            false = sum(promoted) - right
            shares.append(false / max(1, sum(promoted)) if figure == "false" else right / max(1, sum(real)))
        return math.fsum(shares) / len(shares)

    return measure


_BAR, _Z = math.log(20.0), 1.645
_GATES: tuple[tuple[str, Gate, int], ...] = (
    ("naive z-test at 5 %, peeking", at_level(_Z), 1),
    ("anytime-valid at 5 % each", at_level(_BAR), 0),
    ("one e-LOND budget of 10 %", by_ledger, 0),
)


def _cases() -> tuple[Case, ...]:
    cases: list[Case] = []
    for where, world in (("split", split), ("replay", pairs)):
        for name, gate, evidence in _GATES:
            false, found = (loop(world, gate, evidence=evidence, figure=one) for one in ("false", "found"))
            budget = gate is by_ledger
            least, most = (0.5, None) if evidence else (None, RATE if budget else None)
            cases += [
                Case(GROUP, name, f"{where}: false among promoted", false, 40, 3, least, most, rate=False),
                Case(
                    GROUP,
                    name,
                    f"{where}: real ones found",
                    found,
                    40,
                    3,
                    0.9 if budget and world is pairs else None,
                    rate=False,
                ),
            ]
    return tuple(cases)


CASES = _cases()
