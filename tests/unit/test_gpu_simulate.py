"""``chimera gpu simulate``: a trace of the user's own goes through the placement, and what came of it is printed."""

from __future__ import annotations

import argparse
import json
import statistics
import xml.etree.ElementTree as ET  # the tree is our own output
from pathlib import Path

import pytest

from actors.placement.study import FIRST_SEED, study
from chimera.cli import gpu_simulate
from chimera.errors import BadMessageError
from tests.support.openb import write_trace


def command(*words: str) -> int:
    """Run the command as its parser would."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    gpu_simulate.arguments(parser)
    return gpu_simulate.run(parser.parse_args(words))


def test_it_prints_a_row_for_each_policy_and_writes_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every policy that was asked for has its line; the picture is well-formed and names them."""
    write_trace(tmp_path)
    picture = tmp_path / "out.svg"
    words = ("--policy", "default", "--policy", "best-fit", "--seeds", "2", "--plot", str(picture))
    assert command(str(tmp_path), *words) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].startswith("40 nodes")
    assert [line.split()[:2] for line in lines[2:]] == [["default", "2"], ["best-fit", "2"]]
    assert "placements" in printed.err
    text = "".join(ET.fromstring(picture.read_text()).itertext())  # noqa: S314 - the same
    assert "default" in text
    assert "best-fit" in text


def test_json_has_every_seed_and_sums_are_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Mean and deviation are those of the seeds, allocation stays below capacity, and a seed gives the same again."""
    write_trace(tmp_path)
    assert command(str(tmp_path), "--seeds", "3", "--json") == 0
    row = json.loads(capsys.readouterr().out)["policies"][0]
    final = [run["allocated"][-1] for run in row["runs"]]
    assert [run["seed"] for run in row["runs"]] == [FIRST_SEED, FIRST_SEED + 1, FIRST_SEED + 2]
    assert row["allocated"] == pytest.approx(statistics.mean(final))
    assert row["allocated_sd"] == pytest.approx(statistics.stdev(final))
    assert all(70 < value <= 100 for value in final)
    again = study(tmp_path, seeds=3).policies[0]
    assert [run.allocated for run in again.runs] == [run["allocated"] for run in row["runs"]]


def test_the_default_policy_leaves_less_in_scraps_than_spreading(tmp_path: Path) -> None:
    """The order of policies on a made-up trace is what they are for."""
    write_trace(tmp_path, nodes=120, tasks=1200)
    rows = {row.policy: row for row in study(tmp_path, policies=["default", "spread"], seeds=2).policies}
    assert rows["default"].allocated > rows["spread"].allocated + 2.0
    assert rows["default"].fragmented < rows["spread"].fragmented


def test_a_low_load_is_offered_as_it_is(tmp_path: Path) -> None:
    """A load below what the trace asks for cuts it off; then everything fits."""
    write_trace(tmp_path)
    row = study(tmp_path, load=40.0, seeds=1).policies[0]
    assert row.refused == 0.0
    assert 38.0 < row.allocated <= 40.0
    assert row.runs[0].load[-1] == pytest.approx(row.allocated)


def test_a_folder_that_is_not_clear_is_refused(tmp_path: Path) -> None:
    """Nothing there, two files to choose from, an unknown policy, no seeds: each error says what to do."""
    with pytest.raises(BadMessageError, match="no file of tasks"):
        study(tmp_path)
    nodes, tasks = write_trace(tmp_path)
    (tmp_path / "other_pods.csv").write_bytes(tasks.read_bytes())
    assert study(tmp_path, seeds=1).tasks == 400  # the one that is called default
    (tmp_path / "more_nodes.csv").write_bytes(nodes.read_bytes())
    with pytest.raises(BadMessageError, match="which file of nodes"):
        study(tmp_path)
    assert study(tmp_path / "other_pods.csv", nodes, seeds=1).nodes == 40
    with pytest.raises(BadMessageError, match="no policy 'best'"):
        study(tasks, nodes, ["best"])
    with pytest.raises(BadMessageError, match="seeds is 0"):
        study(tasks, nodes, seeds=0)
