"""The short form of ``just chaos``: everything is killed once, under load, and nothing that was promised is broken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.postgres import need_binaries

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(180)
def test_killing_and_pausing_everything_breaks_no_promise(capsys: pytest.CaptureFixture[str]):
    """Kills and pauses in turn: 0 acknowledged tasks lost, 0 effects twice, all in a final state; the seed is told."""
    need_binaries()
    command = [sys.executable, "-m", "tests.chaos", "--short"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=170)
    with capsys.disabled():
        print(f"\n  chaos: {done.stdout.strip().splitlines()[-1] if done.stdout else done.stderr}")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-4000:]}"
    assert "6 kills, 2 pauses, every invariant held" in done.stdout
