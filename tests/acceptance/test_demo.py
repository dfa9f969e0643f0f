"""The demonstration on real labelled texts: measured figures, nothing lost, nothing mixed up."""

from __future__ import annotations

import json
import re

import pytest

from chimera.reference import cached_archive, cached_path
from tests.support.running import RunningSystem, run_command

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        cached_archive() is None,
        reason=f"the rated texts are not at {cached_path()}; `just guests --check` fetches them",
    ),
]


def check(output: str, texts: int) -> None:
    """The report is whole, nothing was lost, and the agent agrees with people."""
    report = json.loads(output)
    assert (report["texts"], report["answered"]) == (texts, texts)
    assert (report["lost"], report["wrong_job_ids"], report["errors"]) == (0, 0, {})
    assert report["sign_accuracy"] > 0.9
    assert report["correlation"] > 0.75
    assert 0 < report["p50_ms"] <= report["p95_ms"] <= report["p99_ms"]
    assert report["per_second"] > 1


def test_demo_against_the_system_that_runs(system: RunningSystem):
    """300 tweets through a running system; its own counters agree that they were answered there."""
    done = system.command("demo", "--limit", "300", "--json")
    assert done.returncode == 0, done.stderr
    check(done.stdout, 300)
    rows = system.http.get("/health/agents").json()["agents"]
    assert next(row for row in rows if row["name"] == "sentiment")["tasks_total"] == 300


def test_demo_starts_a_system_of_its_own(tmp_path: object):
    """Where nothing runs, it starts a system in a temporary folder, and says so."""
    done = run_command("demo", "--limit", "100", "--data-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "starting a system of its own" in done.stderr
    assert re.search(r"^answered +100 of 100 texts", done.stdout, re.MULTILINE)
    assert re.search(r"^lost +0, and 0 with a wrong job_id", done.stdout, re.MULTILINE)
