"""The state of a node as one tree of plain data: what ``chimera status``, pages and tests read.

Made only when asked for.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .system import System


def snapshot(system: System, *, most: int = 200) -> dict[str, Any]:
    """What runs on a node: counters and gauges, never rates; at most ``most`` actors, the fullest mailboxes first."""
    cells = sorted(system.cells.values(), key=lambda cell: -cell.statistics().waiting)
    now = system.clock.time()
    return {
        "node": system.node,
        "version": __version__,
        "at": now,
        "uptime_s": round(now - system.started_at, 3),
        "actors_total": len(cells),
        "actors": [
            {
                "address": cell.address,
                "state": str(cell.state),
                "cause": cell.cause,
                **dataclasses.asdict(cell.statistics()),
                "verbs": {verb: dataclasses.asdict(figures) for verb, figures in sorted(cell.verbs.items())},
            }
            for cell in cells[:most]
        ],
        "tree": system.root.tree() if system.root else None,
        "spawned": system.supervisor.tree() if system.supervisor.rows else None,
        "bus": dataclasses.asdict(system.bus.statistics()) if system.bus else None,
        "nodes": sorted(system.liveness.nodes),
        "open_asks": len(system.remote.asks) if system.remote else 0,
    }
