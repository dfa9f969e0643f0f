"""kill -9 of a process that writes to the SQLite store: what was answered is there."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chimera.store import OutcomeFilter, open_store

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

_WRITER = """
import sys
from pathlib import Path
import anyio
from chimera.store import open_store
from subjects.event import TaskProcessed

async def main(folder: Path, first: int) -> None:
    async with open_store("", folder) as store, anyio.create_task_group() as group:
        async def write(lane: int) -> None:
            seq = first + lane
            while True:
                outcome = TaskProcessed(
                    job_id=f"j{seq}", agent="a", release=1, task="predict", outcome="ok", at=float(seq), queue_ms=0,
                    run_ms=0, cpu_ms=0, memory_bytes=0, node="n", input={"text": "x" * 200},
                )
                await store.save_outcomes([(seq, outcome)], stream="KPI")
                sys.stdout.write(f"{seq}\\n")
                sys.stdout.flush()
                seq += 8
        for lane in range(8):
            group.start_soon(write, lane)

anyio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
"""


def _write_and_kill(folder: Path, first: int, acknowledged: int) -> list[int]:
    command = [sys.executable, "-c", _WRITER, str(folder), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        try:
            told = [int(writer.stdout.readline()) for _ in range(acknowledged)]
        finally:
            writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read()
    return told + [int(line) for line in rest.split("\n")[:-1]]


async def test_answered_rows_survive_kill_9(tmp_path: Path):
    """Killed five times while eight callers write, the store opens, is sound, and holds every row that was answered."""
    told: list[int] = []
    for turn in range(5):
        told += _write_and_kill(tmp_path, 1 + turn * 1_000_000, 150)
        assert (tmp_path / "chimera.sqlite-wal").stat().st_size > 0
        async with open_store("", tmp_path) as store:
            assert await store.check() == "ok"
            stored = {int(one.at) for one in await store.outcomes(OutcomeFilter(limit=1_000_000))}
        assert set(told) <= stored
