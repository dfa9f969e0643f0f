"""A box with GPUs as its user has it: the runbook's GPU lines, and a killed ``chimera gpu run`` that leaves a child."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.fake_nvml import Machine, library
from tests.support.processes import is_alive
from tests.support.running import RunningSystem, run_command

pytestmark = pytest.mark.slow

DEAF = (
    "import os, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "open(sys.argv[1] + '.new', 'w').write(str(os.getpid())); os.rename(sys.argv[1] + '.new', sys.argv[1]); "
    "time.sleep(120)"
)
"""A command that does not end when it is asked to; it writes its process's number to a file."""


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    """``chimera run`` on a machine that has two GPUs, as far as its NVML tells."""
    folder = tmp_path_factory.mktemp("box")
    machine = Machine(folder / "nvml")
    for number in range(2):
        machine.gpu(
            f"GPU-{number}", name="NVIDIA A100", total=40_000, used=0, reserved=0, procs="", util=37, power=120_000
        )
    options = ["--set", f"resources.nvml_library={library()}", "--set", "resources.interval_s=0.3",
               "--set", "resources.grace_s=1"]  # fmt: skip
    running = RunningSystem(folder / "system", options, {"FAKE_NVML_STATE": str(machine.path)})
    try:
        running.start()
        until(lambda: len(gpus(running)) == 2)
        yield running
    finally:
        running.close()


def gpus(system: RunningSystem) -> list[dict[str, Any]]:
    """The GPUs as port 8004 shows them."""
    answer = httpx.get(f"{system.announced['http']['resources']}/api/gpu/status", params={"kind": "gpu"}, timeout=30)
    return answer.json()["devices"]


def until(condition: Callable[[], Any], timeout_s: float = 40.0) -> Any:
    """What ``condition`` gives, once it is true."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return found


def told(system: RunningSystem, *line: str) -> str:
    """What a command prints; it must succeed."""
    done = run_command(*line, data=system.data)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_runbooks_gpu_lines_have_a_counterpart(box: RunningSystem):
    """``nvidia-smi``, the grep for ``gpu-utilization`` and the scaling of GPU limits: what each looks for is there."""
    table = told(box, "gpu", "status")
    for uuid in ("GPU-0", "GPU-1"):
        (row,) = [line for line in table.splitlines() if uuid in line]
        assert {"NVIDIA", "A100", "37"} <= set(row.replace("|", " ").replace("│", " ").split()), row
    until(lambda: "GPU-1" in told(box, "logs", "--event", "gpu-utilization"))
    assert "2" in told(box, "gpu", "rules", "--tenant", "refinement:most_gpus=2")


def test_health_and_performance_know_the_layer(box: RunningSystem):
    """``chimera health`` has a line for it that is healthy, and ``chimera performance`` measures a lease."""
    (line,) = [line for line in told(box, "health").splitlines() if "resources" in line]
    assert "healthy" in line
    answer = run_command("performance", "--requests", "2", data=box.data)
    assert "lease of a processor share" in answer.stdout, answer.stderr
    assert "resources" in answer.stdout


def test_a_killed_run_frees_its_gpu_only_when_its_child_is_gone(box: RunningSystem, tmp_path: Path):
    """``kill -9`` of ``chimera gpu run``: the GPU is nobody else's before the command that it left behind has ended."""
    named = tmp_path / "pid"
    line = ["gpu", "run", "--ttl", "2", "--data-dir", str(box.data), "--", sys.executable, "-c", DEAF, str(named)]
    run = subprocess.Popen([sys.executable, "-m", "chimera", *line], stdout=subprocess.DEVNULL)
    child = 0
    try:
        child = int(until(lambda: named.exists() and named.read_text()))
        (lent,) = [gpu for gpu in gpus(box) if gpu["grants"]]
        assert lent["free_milli"] == 0
        run.kill()
        run.wait()
        assert is_alive(child)
        until(lambda: _freed(box, lent["id"], child))
        assert not is_alive(child)
    finally:
        run.kill()
        run.wait()
        if child:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def _freed(system: RunningSystem, device: str, child: int) -> bool:
    """Whether the device is free; asked before, so that a child that is alive then was alive while it was free."""
    (gpu,) = [one for one in gpus(system) if one["id"] == device]
    free = gpu["free_milli"] == 1000
    assert not (free and is_alive(child)), "the GPU is free while its last holder uses it"
    return free
