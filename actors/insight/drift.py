"""Has what comes in changed, has a model gone wrong, and what follows from it?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from chimera.errors import BadMessageError

from .arrays import Floats
from .libraries import adwin
from .model import Model, body_of, packed, sealed
from .wording import number, percent, span

POINTS = 200
LEAST_SAMPLE = 100
_CLIP, _GRACE = 8.0, 30


class _Reference(msgspec.Struct, frozen=True, kw_only=True):
    quantiles: list[float]
    count: int


@dataclass(frozen=True, slots=True)
class Shift:
    """How far a sample's distribution is from the reference.

    Attributes:
        distance: Largest difference of the two distribution functions, at least.
        bound: What chance alone does not exceed with ``level``.
        drifted: Whether it is more than chance.
        words: For a person.
    """

    distance: float
    bound: float
    drifted: bool
    words: str


def train_reference(
    name: str, sample: Floats, window: tuple[float, float], *, trained_at: float, version: int = 1, unit: str = ""
) -> Model:
    """A drift baseline: 200 quantiles of one figure of an agent's inputs or answers, one value per message.

    Raises:
        BadMessageError: With fewer than 100 finite values.
    """
    known = sample[np.isfinite(sample)]
    if known.size < LEAST_SAMPLE:
        raise BadMessageError(f"{name}: a drift baseline takes {LEAST_SAMPLE} messages, not {known.size}")
    quantiles = np.quantile(known, np.linspace(0, 1, POINTS + 1), method="inverted_cdf")
    return sealed(Model(
        name=name, kind="drift", version=version, trained_at=trained_at, window_from=window[0], window_to=window[1],
        rows=int(known.size), error=None, baseline_error=None, coverage=None, unit=unit,
        body=packed(_Reference(quantiles=quantiles.tolist(), count=int(known.size))),
    ))  # fmt: skip


def shift(model: Model, sample: Floats, *, level: float = 0.999) -> Shift:
    """Compare messages with a drift baseline. One value per message: messages are independent units, scrapes are not.

    Both distribution functions lie within sqrt(ln(2/a)/2n) of the truth (Dvoretzky, Kiefer & Wolfowitz with Massart's
    constant, Ann. Prob. 1990), half of 1 - ``level`` each: exact for any distribution and any sample size.

    Raises:
        BadMessageError: If the sample has no finite value.
        CorruptError: If it is no drift baseline.
    """
    reference = body_of(model, _Reference)
    known = np.sort(sample[np.isfinite(sample)])
    if not known.size:
        raise BadMessageError(f"{model.name}: there is nothing to compare")
    distance = _distance(np.array(reference.quantiles), known)
    each = (1 - level) / 2
    bound = sum(math.sqrt(math.log(2 / each) / (2 * count)) for count in (reference.count, known.size))
    drifted = distance > bound
    words = (
        f"{model.name}: {'' if drifted else 'no '}drift; {percent(distance)} of the messages lie elsewhere, "
        f"{percent(min(1.0, bound))} may by chance; median {number(float(np.median(known)))}, was "
        f"{number(reference.quantiles[POINTS // 2])}"
    )
    return Shift(distance, bound, drifted, words)


def _distance(quantiles: Floats, known: Floats) -> float:
    """A lower bound of the largest difference of the two distribution functions.

    At the i-th quantile the reference's function is at least i / 200, and just before it at most that, ties or not.
    """
    share = np.arange(quantiles.size) / (quantiles.size - 1)
    at = np.searchsorted(known, quantiles, side="right") / known.size
    before = np.searchsorted(known, quantiles, side="left") / known.size
    return max(0.0, float((share - at).max()), float((before - share).max()))


class ErrorWatch:
    """Watches a live model's errors, one per forecast that came due, with river's ADWIN.

    Give one-step errors: those of longer horizons overlap and depend on each other. An error counts relative to the
    held-out error, at most eight times it, so that one spike is not a drift.

    Args:
        held_out: The model's ``error``.
        delta: ADWIN's chance of a false alarm per check.
    """

    def __init__(self, held_out: float, *, delta: float = 0.002) -> None:
        self._held_out = held_out
        self._adwin = adwin(delta, grace=_GRACE)
        self.drifted = False
        self.seen = 0

    @property
    def ratio(self) -> float:
        """Recent errors relative to the held-out error."""
        return float(self._adwin.estimation)

    def update(self, error: float) -> bool:
        """Take an absolute error; true once when the errors have grown, and ``drifted`` stays true."""
        if not math.isfinite(error):
            return False
        before = self.ratio
        scale = self._held_out if self._held_out > 0 else 1.0
        self._adwin.update(min(_CLIP, abs(error) / scale))
        self.seen += 1
        grown = self._adwin.drift_detected and self.ratio > before
        self.drifted = self.drifted or grown
        return grown


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about a model. ``retrain``: train a new version. ``alert``: tell a person. ``keep``: nothing."""

    act: Literal["keep", "retrain", "alert"]
    reason: str


def decide(
    model: Model,
    *,
    now: float,
    errors: ErrorWatch | None = None,
    inputs: Shift | None = None,
    fresh_rows: int = 0,
    most_age_s: float = 7 * 86_400.0,
) -> Decision:
    """Whether a model should be retrained, from its errors, its inputs and its age.

    Drift without ``fresh_rows`` (values that came since, at least a tenth of the training window) can't be trained
    away yet, so it is an alert.
    """
    cause = _cause(model, now, errors, inputs, most_age_s)
    if not cause:
        return Decision("keep", f"{model.name} is as good as when it was trained")
    if fresh_rows * 10 < model.rows:
        return Decision("alert", f"{cause}; {fresh_rows} new values are too few to retrain on")
    return Decision("retrain", cause)


def _cause(model: Model, now: float, errors: ErrorWatch | None, inputs: Shift | None, most_age_s: float) -> str:
    if not model.sound:
        return f"the checksum of {model.name} version {model.version} is wrong"
    if errors is not None and errors.drifted:
        return f"{model.name} errs {number(errors.ratio)} times as much as on held-out data"
    if inputs is not None and inputs.drifted:
        return inputs.words
    age = now - model.trained_at
    return f"{model.name} is {span(age)} old" if age > most_age_s else ""
