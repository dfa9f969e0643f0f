"""The life of tasks under faults, simulated: see ``tests/simulation``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.mutations import MUTATIONS
from tests.simulation.runs import run_many
from tests.simulation.world import simulate

ROOT = Path(__file__).parents[2]
SEEDS = 1000
FOUND_WITHIN = 100


@pytest.mark.timeout(600)
def test_no_invariant_breaks_in_a_thousand_histories() -> None:
    """No task is lost, doubled or left unfinished, whatever is dropped, delayed, killed or set back."""
    outcomes = list(run_many(0, SEEDS, os.cpu_count() or 1))
    assert len(outcomes) == SEEDS
    assert sum(outcome.tasks for outcome in outcomes) > SEEDS
    assert [(outcome.seed, outcome.broken) for outcome in outcomes if outcome.broken] == []
    assert sum(outcome.epochs > 1 for outcome in outcomes) > SEEDS / 4, "the leader must change for this to mean much"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_scheduler_is_found_out(name: str) -> None:
    """Each defect that is put in on purpose breaks the invariant that it should, within a hundred seeds."""
    mutation = MUTATIONS[name]
    with mutation.apply():
        for seed in range(mutation.first, mutation.first + FOUND_WITHIN):
            if any(broken.startswith(mutation.rules) for broken in simulate(seed).broken):
                return
    pytest.fail(f"nobody saw that {mutation.what}")


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_a_seed_is_the_same_history_in_every_process(hash_seed: str) -> None:
    """What a seed printed once it prints again elsewhere, or no failure could be looked into."""
    command = [sys.executable, "-m", "tests.simulation", "--seed", "8"]
    env = {**os.environ, "PYTHONHASHSEED": hash_seed}
    told = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False).stdout
    assert told.strip() == f"seed 8: history {simulate(8).digest}"
