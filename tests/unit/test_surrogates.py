"""What a tune learned is a model: as wrong as held-out trials say, and silent where it was not taught."""

from __future__ import annotations

import numpy as np
import pytest

from actors.insight.model import from_bytes, to_bytes
from actors.refining.models_shelf import ModelShelf
from actors.refining.observatory import Observatory
from actors.refining.surrogates import expected_at, surrogate_of
from actors.tuning import Study
from chimera.bus.memory import MemoryBus, MemoryHub
from chimera.errors import BadMessageError
from chimera.testing import ManualClock
from subjects.agent import Parameter
from subjects.optimizer import CheckModels
from tests.support.tuning import plan_of

pytestmark = pytest.mark.anyio
GENOME = [
    Parameter(name="gain", low=0.0, high=10.0, default=1.0),
    Parameter(name="style", type="categorical", choices=["plain", "bold"], default="plain"),
]


def told(count: int, noise: float = 0.0) -> Study:
    """A study of random points; the objective is best at a gain of 4, and bold costs 3."""
    study, random = Study(plan_of("random", genome=GENOME, better="higher")), np.random.default_rng(2)
    for number in range(count):
        study.apply(study.ask(float(number)))
        point = study.trials[number].point
        value = 20.0 - (float(point["genome.gain"]) - 4.0) ** 2 - 3.0 * (point["genome.style"] == "bold")
        study.apply(study.tell(number, number + 0.5, value + noise * float(random.standard_normal())))
    return study


def test_it_says_what_a_point_brings_within_what_was_tried():
    """On a quadratic objective it is near the truth, its error is that of held-out trials; outside it says nothing."""
    study = told(60, noise=0.1)
    model = surrogate_of("echo", study, 99.0, "score")
    assert (model.name, model.kind, model.rows, model.unit) == ("echo-tuning", "surrogate", 60, "score")
    assert (model.window_from, model.window_to) == (0.0, 59.5)
    assert model.error is not None
    assert 0.05 < model.error < 0.3
    assert model.better
    again = from_bytes(to_bytes(model))
    found = expected_at(again, study.space, {"genome.gain": 5.0, "genome.style": "bold"})
    assert found == pytest.approx(16.0, abs=0.3)
    assert expected_at(again, Study(plan_of("random")).space, {}) is None


def test_too_few_trials_are_no_model():
    """With nine trials, or none, it is refused: nothing could be held out."""
    for count in (0, 9):
        with pytest.raises(BadMessageError, match="at least 10"):
            surrogate_of("echo", told(count), 99.0, "score")


async def test_it_lies_on_the_shelf_with_its_error():
    """Live if it beats the mean of the trials, else stored only; too little to learn from is told, and no model."""
    clock = ManualClock()
    events: list[str] = []

    def report(_name: str, words: str, **_fields: object) -> None:
        events.append(words)

    async with MemoryBus(MemoryHub(clock)) as bus:
        observatory = Observatory(bus=bus, clock=clock, report=lambda *_, **__: None)
        shelf = ModelShelf(bus=bus, clock=clock, report=report, observatory=observatory)
        await shelf.learn("echo-tuning", lambda: surrogate_of("echo", told(5), 9.0, "score"), "of auto-tune t")
        assert (await shelf.models(CheckModels(all=True))).models == []
        await shelf.learn("echo-tuning", lambda: surrogate_of("echo", told(60), 99.0, "score"), "of auto-tune t")
        await shelf.learn("echo-tuning", lambda: surrogate_of("echo", told(60, 500.0), 99.0, "score"), "of auto-tune u")
        views = (await shelf.models(CheckModels(all=True))).models
    assert [(view.version, view.live, view.kind) for view in views] == [(1, True, "surrogate"), (2, False, "surrogate")]
    assert "held-out" in views[0].note
    assert "at least 10" in events[0]
