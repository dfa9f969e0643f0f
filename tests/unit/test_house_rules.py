"""The house rules that no linter knows, over every Python file of the project."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("subjects", "chimera", "actors", "edge", "tests")
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py") if "__pycache__" not in path.parts)
MOST_LINES = 400
MOST_FUNCTION_LINES = 50
SLOW_ROOMS = {
    "chaos", "integration", "acceptance", "bench", "contract", "leasing", "support", "ui", "packaging", "simulation"
}  # fmt: skip
Function = ast.FunctionDef | ast.AsyncFunctionDef
Tree = dict[Path, ast.Module]


@pytest.fixture(scope="module")
def trees() -> Tree:
    """Every file, parsed once."""
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def place(path: Path, node: ast.AST) -> str:
    """Where it is, as an editor opens it."""
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


def room_of(path: Path) -> str:
    """The first folder."""
    return path.relative_to(ROOT).parts[0]


def told(faults: list[str], rule: str) -> str:
    """What stands in the failure."""
    return "\n".join([f"{rule} ({len(faults)}):", *faults])


def test_files_fit_the_head():
    """No file is longer than 400 lines."""
    faults = [
        f"{path.relative_to(ROOT)}: {count} lines"
        for path in FILES
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > MOST_LINES
    ]
    assert not faults, told(faults, f"split these along their nouns, at most {MOST_LINES} lines each")


def test_functions_fit_a_screen(trees: Tree):
    """Outside the tests no function is longer than 50 lines, its docstring aside."""
    faults = [
        f"{place(path, node)} {node.name}: {lines} lines"
        for path, tree in trees.items()
        if room_of(path) != "tests"
        for node in ast.walk(tree)
        if isinstance(node, Function) and (lines := _length(node)) > MOST_FUNCTION_LINES
    ]
    assert not faults, told(faults, f"at most {MOST_FUNCTION_LINES} lines a function")


def _length(function: Function) -> int:
    return (
        (function.end_lineno or 0)
        - function.body[1 if ast.get_docstring(function) and len(function.body) > 1 else 0].lineno
        + 1
    )


def test_everything_public_explains_itself(trees: Tree):
    """Modules, public classes and functions have docstrings; each test says what it proves."""
    faults: list[str] = []
    for path, tree in trees.items():
        if not ast.get_docstring(tree) and len(tree.body) > 1 and room_of(path) != "tests":
            faults.append(place(path, tree))
        faults += [f"{place(path, node)} {node.name}" for node in _public(tree, path) if not ast.get_docstring(node)]
    assert not faults, told(faults, "say in one sentence what it gives or proves")


def _public(parent: ast.AST, path: Path) -> Iterator[Function | ast.ClassDef]:
    """What a reader of the module sees: not what stands inside functions."""
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, Function | ast.ClassDef) and not _private(node, path):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from _public(node, path)


def _private(node: Function | ast.ClassDef, path: Path) -> bool:
    if node.name.startswith("_") or any(ast.unparse(mark).endswith("overload") for mark in node.decorator_list):
        return True
    return room_of(path) == "tests" and not node.name.startswith("test_")


def test_no_task_without_a_task_group(trees: Tree):
    """``create_task`` belongs to a group, ``ensure_future`` to nobody; tests may cancel a bare task by hand."""
    loose = re.compile(r"(^|\.)ensure_future$|^(asyncio\.)?create_task$|(loop|loop\(\))\.create_task$")
    faults = [
        place(path, node)
        for path, tree in trees.items()
        if room_of(path) != "tests"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and loose.search(ast.unparse(node.func))
    ]
    assert not faults, told(faults, "start it in a task group: group.start_soon(...)")


def test_quick_tests_do_not_sleep(trees: Tree):
    """Unit and property tests wait for events or move a clock."""
    faults = [
        place(path, node)
        for path, tree in trees.items()
        if room_of(path) == "tests" and not SLOW_ROOMS & set(path.parts)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"time.sleep", "asyncio.sleep", "anyio.sleep", "sleep"}
    ]
    assert not faults, told(faults, "use chimera.testing.ManualClock, settle() or an event")


def test_packages_only_import_and_list(trees: Tree):
    """``__init__`` files import and have a true ``__all__``; ruff sees to its order."""
    faults: list[str] = []
    for path, tree in trees.items():
        if path.name != "__init__.py":
            continue
        names = {a.asname or a.name for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names}
        listed: list[str] = []
        for node in tree.body[1:] if ast.get_docstring(tree) else tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and ast.unparse(node).startswith("__all__") and node.value:
                listed = ast.literal_eval(node.value)
            elif not isinstance(node, ast.Import | ast.ImportFrom | ast.If):
                faults.append(f"{place(path, node)} does more than import")
        if odd := sorted(set(listed) ^ (names - {"annotations"})):
            faults.append(f"{place(path, tree)} __all__ is not what is imported: {odd}")
    assert not faults, told(faults, "__init__ files only import and list")


def test_silencing_says_why():
    """Every ``noqa`` and ``pyright: ignore`` carries a reason; ruff sees to it that broad excepts carry one of them."""
    silenced = re.compile(r"#\s*(noqa|type: ignore|pyright: ignore)\b(?!.*\S - \S)")
    faults = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in FILES
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if silenced.search(line)
    ]
    assert not faults, told(faults, "say why: # noqa: RULE - reason")
