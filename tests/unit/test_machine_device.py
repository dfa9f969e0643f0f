"""Processors and memory as a device."""

from __future__ import annotations

from pathlib import Path

import pytest

from chimera.devices.machine import MachineBackend, package_joules
from chimera.testing import ManualClock

pytestmark = pytest.mark.anyio


def write(root: Path, files: dict[str, str]) -> None:
    """Files under ``root``."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


async def test_its_own_machine():
    """This machine has processors, memory, and a name that does not change."""
    (reading,) = await MachineBackend("box", clock=ManualClock()).read()
    assert (reading.uuid, reading.kind, reading.trouble) == ("CPU-box", "cpu", "")
    assert reading.milli >= 100


async def test_utilization_is_between_two_readings(tmp_path: Path):
    """The first reading has nothing to compare with; the second tells the share that was busy in between."""
    backend = MachineBackend("box", clock=ManualClock(), root=tmp_path)
    write(tmp_path, {"proc/stat": "cpu  100 0 0 100 0 0 0 0\n"})
    assert (await backend.read())[0].utilization is None
    write(tmp_path, {"proc/stat": "cpu  130 0 0 170 0 0 0 0\n"})
    assert (await backend.read())[0].utilization == pytest.approx(0.3)


async def test_energy_of_all_packages(tmp_path: Path):
    """Packages are added up, their parts (cores, memory) are not counted twice."""
    clock = ManualClock()
    backend = MachineBackend("box", clock=clock, root=tmp_path)
    zones = "sys/class/powercap/intel-rapl:"
    write(tmp_path, {f"{zones}0/energy_uj": "1000000", f"{zones}1/energy_uj": "0", f"{zones}0:0/energy_uj": "999"})
    await backend.read()
    await clock.advance(10)
    write(tmp_path, {f"{zones}0/energy_uj": "4000000", f"{zones}1/energy_uj": "2000000"})
    (reading,) = await backend.read()
    assert (reading.energy_j, reading.energy_source) == (5.0, "counter")


async def test_declared_watts_where_the_counter_is_not_ours_to_read(tmp_path: Path):
    """Without a counter the declared watts are counted, and labelled so."""
    assert package_joules(tmp_path) is None
    clock = ManualClock()
    backend = MachineBackend("box", clock=clock, declared_w=6, root=tmp_path)
    await backend.read()
    await clock.advance(10)
    (reading,) = await backend.read()
    assert (reading.energy_j, reading.energy_source) == (60, "declared")
