"""Evolution by the command line on a running system: bred, watched, left alone, checked, spoiled, brought back."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.running import RunningSystem

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WORDS = {"positive": "I love this, number {}!", "negative": "I hate this, number {}", "neutral": "This is number {}"}
COMMON = ["--no-deploy", "--keep-going", "--parameters", "positive_threshold,negative_threshold,capitals_increment"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of labelled texts."""
    file = tmp_path_factory.mktemp("evolve") / "texts.tsv"
    rows = [f"{text.format(number)}\t{label}" for number in range(40) for label, text in WORDS.items()]
    file.write_text("\n".join(rows))
    return file


@pytest.fixture(scope="module")
def bred(system: RunningSystem, data: Path) -> dict[str, Any]:
    """An evolution of three generations, and where its pictures are."""
    place = data.with_name("out.svg")
    done = system.command(
        "evolve", "sentiment", "--generations", "3", "--population", "8", "--seed", "5", "--data", str(data), "--plot",
        str(place), "--id", "by-hand", "--json", *COMMON,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "said": done.stderr, "picture": place.read_text()}


def verdict(system: RunningSystem) -> dict[str, Any]:
    """What ``genome validate`` finds; its exit code agrees with it."""
    done = system.command("genome", "validate", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == (0 if found["status"] == "pass" else 1), done.stderr
    return found


def test_an_evolution_is_watched_to_its_end(bred: dict[str, Any]):
    """A line per generation while it goes on, the evolution at the end, and its pictures in a file."""
    assert (bred["state"], bred["generation"], bred["id"]) == ("exhausted", 3, "by-hand")
    assert bred["champion"]["id"].startswith("by-hand-")
    for number in (1, 2, 3):
        assert bred["said"].count(f"generation {number} of 3: best ") == 1
    assert "Lineage of by-hand-" in bred["picture"]
    assert bred["picture"].startswith("<svg")


def test_ctrl_c_leaves_it_alone(system: RunningSystem, data: Path):
    """An interrupt says how to go on and how to stop; the evolution goes on until it is stopped."""
    command = [
        sys.executable, "-m", "chimera", "evolve", "sentiment", "--generations", "5000", "--population", "8", "--data",
        str(data), "--id", "left", "--data-dir", str(system.data), *COMMON,
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stderr is not None
        while "generation 1 of" not in (line := watching.stderr.readline()):
            assert line, "it ended before its first generation"
        watching.send_signal(signal.SIGINT)
        said = watching.stderr.read()
        assert watching.wait(30) == 130, said
    assert "chimera evolve stop left" in said
    assert "Traceback" not in said
    assert json.loads(system.command("evolve", "status", "left", "--json").stdout)["evolution"]["state"] == "running"
    assert "paused" in system.command("evolve", "pause", "left").stdout
    assert system.command("evolve", "resume", "left").returncode == 0
    stopped = system.command("evolve", "stop", "left", "--note", "enough")
    assert stopped.returncode == 0, stopped.stderr
    assert "stopped" in stopped.stdout


def test_spoiled_genomes_are_named_and_mended(system: RunningSystem, bred: dict[str, Any], tmp_path: Path):
    """Flipped bits, changed columns and deleted rows in the store's file are found by name; a backup mends them all."""
    assert verdict(system)["status"] == "pass"
    assert system.command("genome", "backup", str(tmp_path / "genomes")).returncode == 0
    name = bred["champion"]["id"]
    changed, deleted = spoil(system.data, name)
    found = verdict(system)
    bad = {one["id"]: "; ".join(one["faults"]) for one in found["bad"]}
    assert "column generation says 77" in bad.pop(changed)
    assert "not what was stored" in bad.pop(name)
    assert all(deleted in why for why in bad.values()), bad  # its children
    assert found["missing"] == [deleted]
    refused = system.command("genome", "deploy", name)
    assert (refused.returncode, "corrupt" in refused.stderr) == (1, True)
    restored = system.command("genome", "restore", str(tmp_path / "genomes"))
    assert "3 restored" in restored.stdout, restored.stderr
    deadline = time.monotonic() + 30
    while (after := verdict(system))["status"] != "pass":
        assert time.monotonic() < deadline, after
        time.sleep(0.1)


def spoil(folder: Path, name: str) -> tuple[str, str]:
    """Flip a bit of one genome, change a column of another, and delete a third; the ids of these two."""
    with closing(sqlite3.connect(folder / "chimera.sqlite", timeout=10)) as file, file:
        [(record,)] = file.execute("SELECT record FROM genomes WHERE id = ?", [name]).fetchall()
        flipped = bytearray(record)
        flipped[len(flipped) // 2] ^= 1
        file.execute("UPDATE genomes SET record = ? WHERE id = ?", [bytes(flipped), name])
        others = [f"by-hand-{number}" for number in (1, 2, 3) if f"by-hand-{number}" != name]
        file.execute("UPDATE genomes SET generation = 77 WHERE id = ?", [others[0]])
        file.execute("DELETE FROM genomes WHERE id = ?", [others[1]])
        return others[0], others[1]


def test_genomes_can_be_rebuilt(system: RunningSystem, bred: dict[str, Any]):
    """``chimera rebuild`` makes the shelf again from the log."""
    spoil(system.data, bred["champion"]["id"])
    done = system.command("rebuild", "--only", "genomes")
    assert done.returncode == 0, done.stderr
    assert verdict(system)["status"] == "pass"
