"""The room stays pure and its weight stays in it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOM = Path(__file__).parents[2] / "actors" / "insight"
IMPURE = {"anyio", "asyncio", "nats", "time", "random", "threading"}
HEAVY = ("river", "ruptures", "scipy", "pandas", "pickle")


def _imports(path: Path) -> set[str]:
    names = set[str]()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module or "")
    return names


def test_no_module_knows_a_bus_an_actor_or_a_clock():
    """Time and randomness come as arguments."""
    for path in ROOM.glob("*.py"):
        for name in _imports(path):
            assert name.split(".")[0] not in IMPURE, path
            assert not name.startswith(("chimera.bus", "chimera.actor", "chimera.clock", "chimera.node")), path


def test_only_the_edge_names_the_heavy_libraries():
    """They are loaded by ``libraries`` at their first use, so importing the whole room does not load them."""
    for path in ROOM.glob("*.py"):
        assert not {name.split(".")[0] for name in _imports(path)} & set(HEAVY), path
    modules = ", ".join(f"actors.insight.{path.stem}" for path in ROOM.glob("*.py") if path.stem != "__init__")
    program = f"import sys, {modules}; print([n for n in {HEAVY[:3]!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOM.parents[1], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"
