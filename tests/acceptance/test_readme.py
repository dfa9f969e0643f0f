"""The README keeps its word: its programs run, its commands, links and settings exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from chimera.cli.main import parser
from chimera.config import settings_table
from tests.support.running import RunningSystem

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
HOME = "~/.local/share/chimera"
QUICK = {"agents", "experiment", "genome", "gpu"}


def blocks(language: str) -> list[str]:
    """The README's blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def run_program(folder: Path, program: str) -> str:
    """What a program prints."""
    path = folder / "program.py"
    path.write_text(program)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)], capture_output=True, text=True, check=False, timeout=60, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_client_in_python_is_answered(system: RunningSystem, tmp_path: Path):
    """The nats-py example runs against a running system; only the folder and the address are changed."""
    program = next(block for block in blocks("python") if "nats.connect" in block)
    assert HOME in program
    program = program.replace(HOME, str(system.data)).replace("nats://127.0.0.1:4222", system.nats_url)
    assert run_program(tmp_path, program) == "negative\n"


def test_the_actor_of_your_own_runs(tmp_path: Path):
    """The example of tell and ask is a whole program, and prints what the README says."""
    program = next(block for block in blocks("python") if "Actor" in block)
    assert "It prints `6`." in README
    assert run_program(tmp_path, program) == "6\n"


def chimera_lines() -> list[list[str]]:
    """The words of each call of ``chimera``, in a block or in the text."""
    lines = [line for block in blocks("sh") for line in block.splitlines()] + re.findall(
        r"`(chimera [a-z][^`]*)`", README
    )
    words = [shlex.split(line, comments=True) for line in lines]
    return [rest for name, *rest in filter(None, words) if name == "chimera"]


@pytest.mark.parametrize("words", chimera_lines(), ids=" ".join)
def test_commands_exist(words: list[str]):
    """The command line understands every line of the README."""
    assert parser().parse_args(words).command == words[0]


@pytest.mark.slow
def test_the_commands_for_agents_of_your_own_work(own_system: RunningSystem, tmp_path: Path):
    """Those that take seconds run in the README's order, with the echo agent as the module of one's own."""
    echo = ROOT / "edge" / "guests" / "echo"
    module, manifest = tmp_path / "mine.wasm", tmp_path / "mine.json"
    module.write_bytes((echo / "echo.wasm").read_bytes())
    manifest.write_text((echo / "manifest.json").read_text().replace('"echo"', '"mine"', 1))
    own = {module.name: str(module), manifest.name: str(manifest)}
    quick = [words for words in chimera_lines() if words[0] in QUICK]
    assert {words[0] for words in quick} == QUICK
    for words in quick:
        done = own_system.command(*(own.get(word, word) for word in words))
        assert done.returncode == 0, (words, done.stderr)


def test_recipes_exist():
    """Every ``just`` recipe that is named stands in the justfile."""
    recipes = set(re.findall(r"^(\w+)[^:=\n]*:(?!=)", (ROOT / "justfile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bjust (\w+)`", README))
    assert {"run", "test", "demo"} <= named | {"run"}
    assert named <= recipes


def test_links_lead_somewhere():
    """Every relative link is a file or folder of the repository."""
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", README) if "://" not in target]
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_settings_exist():
    """The settings and variables that are named are real, and the default address is what the examples use."""
    known = {row.name: row for row in settings_table()}
    assert set(re.findall(r"`((?:nats|node|http)\.[a-z_.]+)`", README)) <= known.keys()
    variables = {variable for row in known.values() for variable in row.variables}
    assert set(re.findall(r"\bCHIMERA_[A-Z_]+", README)) - {"CHIMERA_"} <= variables


def test_it_stays_short():
    """A README is read to its end."""
    assert len(README.splitlines()) < 150
