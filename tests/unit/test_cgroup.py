"""What this process may use of its machine."""

from __future__ import annotations

from pathlib import Path

from chimera.devices.cgroup import allowance, busy_seconds

MIB = 1 << 20
MEMINFO = "MemTotal:        8388608 kB\nMemFree:  1 kB\nMemAvailable:    6291456 kB\n"


def write(root: Path, files: dict[str, str]) -> Path:
    """A tree of ``proc`` and ``sys``."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_without_groups_it_is_the_machine(tmp_path: Path):
    """Memory is the machine's, and what is used is what can't be had back."""
    found = allowance(write(tmp_path, {"proc/meminfo": MEMINFO}))
    assert (found.memory_mib, found.memory_used_mib) == (8192, 2048)
    assert found.cpu_milli % 1000 == 0


def test_the_least_limit_of_all_parents_counts(tmp_path: Path):
    """In version 2 a parent's limit binds its children; its own use counts, without cache that can be dropped."""
    found = allowance(write(tmp_path, {
        "proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/box/job\n",
        "sys/fs/cgroup/box/memory.max": f"{1024 * MIB}\n", "sys/fs/cgroup/box/memory.current": f"{512 * MIB}\n",
        "sys/fs/cgroup/box/memory.stat": f"anon 1\ninactive_file {112 * MIB}\n",
        "sys/fs/cgroup/box/cpu.max": "50000 100000\n",
        "sys/fs/cgroup/box/job/memory.max": "max\n", "sys/fs/cgroup/box/job/cpu.max": "max 100000\n",
    }))  # fmt: skip
    assert (found.cpu_milli, found.memory_mib, found.memory_used_mib) == (500, 1024, 400)


def test_version_one(tmp_path: Path):
    """Version 1 has a folder per controller, -1 for no quota and a huge number for no limit of memory."""
    found = allowance(write(tmp_path, {
        "proc/meminfo": MEMINFO, "proc/self/cgroup": "5:cpu,cpuacct:/job\n4:memory:/job\n",
        "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "25000\n", "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/job/memory.limit_in_bytes": f"{2048 * MIB}\n",
        "sys/fs/cgroup/memory/job/memory.usage_in_bytes": f"{256 * MIB}\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    }))  # fmt: skip
    assert (found.cpu_milli, found.memory_mib, found.memory_used_mib) == (250, 2048, 256)


def test_nothing_readable_is_no_error(tmp_path: Path):
    """Where there is no /proc, memory is unknown and processors are counted all the same."""
    found = allowance(tmp_path)
    assert found.memory_mib is None
    assert found.cpu_milli >= 1000
    assert busy_seconds(tmp_path) is None


def test_busy_time_is_all_but_idle(tmp_path: Path):
    """Idle and waiting for disks are not busy."""
    root = write(tmp_path, {"proc/stat": "cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 1 1 1\n"})
    found = busy_seconds(root)
    assert found is not None
    assert found[0] / found[1] == 0.2
