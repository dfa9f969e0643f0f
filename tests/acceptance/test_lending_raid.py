"""The short form of the raid on the lending: brokers, nodes, holders and servers, killed and paused for a while."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(150)
@pytest.mark.parametrize("servers", ["1", "3"])
def test_nothing_is_lent_twice_under_fire(servers: str, capsys: pytest.CaptureFixture[str]) -> None:
    """0 double grants, 0 uses with an older token, every lease ends, no part of a gang, and the ledger has it all."""
    command = [sys.executable, "-m", "tests.leasing", "--raid", "12", "--servers", servers, "--seed", "4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=140)
    with capsys.disabled():
        print(f"\n  raid, servers {servers}: {done.stdout.strip().splitlines()[-1] if done.stdout else done.stderr}")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-4000:]}"
    assert "every invariant held" in done.stdout
