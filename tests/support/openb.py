"""A small trace of its own in the openb format: machines of two models, and tasks of every kind."""

from __future__ import annotations

import random
from pathlib import Path

_SIZES = (0, 2, 2, 4, 4, 8)
_SHARES = (160, 320, 470, 650, 810)


def write_trace(folder: Path, *, nodes: int = 40, tasks: int = 400, seed: int = 1) -> tuple[Path, Path]:
    """Write the file of nodes and the file of tasks; the same seed gives the same bytes."""
    dice = random.Random(seed)  # noqa: S311 - a made-up trace
    machines, work = folder / "small_node_list.csv", folder / "small_pod_list_default.csv"
    lines = ["sn,cpu_milli,memory_mib,gpu,model"]
    lines += [f"n{at},{dice.choice((64000, 96000))},262144,{dice.choice(_SIZES)},{'VT'[at % 2]}" for at in range(nodes)]
    machines.write_text("\n".join(lines) + "\n")
    lines = ["name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos"]
    lines += [f"t{at},{_task(dice)},LS" for at in range(tasks)]
    work.write_text("\n".join(lines) + "\n")
    return machines, work


def _task(dice: random.Random) -> str:
    cpu, memory = 1000 * dice.randint(1, 12), 1024 * dice.randint(1, 32)
    kind = dice.random()
    if kind < 0.15:
        return f"{cpu},{memory},0,0,"
    if kind < 0.55:
        return f"{cpu},{memory},1,{dice.choice(_SHARES)},{dice.choice(('', '', 'V', 'V|T'))}"
    return f"{cpu},{memory},{dice.choice((1, 1, 1, 2, 4))},1000,"
