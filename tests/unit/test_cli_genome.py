"""``chimera genome`` and ``chimera autonomous``: what is asked and shown; backups in which no bit may differ."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.evolving.record import pack_record
from chimera.cli.backup import read_backup, write_backup
from chimera.cli.cases import read_cases
from chimera.cli.command import Exit
from chimera.cli.main import main
from chimera.errors import BadMessageError, CorruptError, UnavailableError
from subjects.autonomous import AutonomousBudget, AutonomousStep, AutonomousView, Autonomy
from subjects.genome import (
    BadGenome,
    ExportGenomes,
    GenomeList,
    GenomePage,
    Imported,
    ImportGenomes,
    ReturnView,
    Validation,
)
from tests.support import evolution as stage
from tests.support.cli import FakeClient, outcome, patched
from tests.support.genomes import family

RECORDS = [pack_record(one) for one in family()]
SOUND = Validation(status="pass", checked=12, evolutions=1, bad=[], missing=[], seconds=0.1)
SPOILED = Validation(
    status="fail", checked=11, evolutions=1, bad=[BadGenome(id="v-1-3", faults=["its checksum is another"])],
    missing=["v-1-4"], seconds=0.1,
)  # fmt: skip
WAY = ReturnView(
    agent="sentiment", live=3, target=2, candidate=None, genome="v-1-7", changes={"alpha": 0.5}, done=False, how="POST",
    reason="release 2 was live before 3",
)  # fmt: skip
STEP = AutonomousStep(number=4, at=stage.NOW, phase="gate", cycle=2, reason="the champion is better", figures={})
SELF = AutonomousView(
    agent="sentiment", on=True, phase="gate", cycle=2, since=stage.NOW, budget=AutonomousBudget(), used_cpu_s=61.0,
    used_harmed=3, promotions=1, evolution="v-2", experiment="e-2", drift="", steps=[STEP], reason="a trial runs",
)  # fmt: skip


def page(message: ExportGenomes) -> GenomePage:
    """Five records at a time."""
    records = RECORDS[message.after : message.after + 5]
    more = message.after + 5 < len(RECORDS)
    return GenomePage(records=records, next=message.after + 5 if more else None, total=len(RECORDS))


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    """Answers of an evolver with some genomes."""
    fake = patched(monkeypatch)

    def restored(message: ImportGenomes) -> Imported:
        return Imported(restored=len(message.records), known=0, refused=[])

    fake.answers = {
        "genomes": GenomeList(genomes=[stage.view(7), stage.view(8, fitness=None, failure="it trapped")], total=9),
        "genome": stage.lineage(2), "deploy": stage.lineage(2), "validate": SOUND, "preview_rollback": WAY,
        "rollback": msgspec.structs.replace(WAY, done=True, live=2), "export": page, "restore": restored,
        "autonomous": SELF, "autonomy": Autonomy(agents=[SELF]),
    }  # fmt: skip
    return fake


ASKED: list[tuple[list[str], str, dict[str, Any], str]] = [
    (["list", "sentiment", "--evolution", "v-1", "--generation", "2", "--newest", "--limit", "5"], "genomes",
     {"agent": "sentiment", "evolution": "v-1", "generation": 2, "order": "newest", "limit": 5, "offset": 0},
     "it trapped"),
    (["show", "v-1-40", "--depth", "3"], "genome", {"id": "v-1-40", "depth": 3}, "differs from the live one"),
    (["validate"], "validate", {"agent": "", "evolution": ""}, "pass: 12 genomes of 1 evolutions"),
    (["deploy", "v-1-7", "--by", "me", "--note", "n", "--wait-approval"], "deploy",
     {"id": "v-1-7", "plan": {"approve": True}, "by": "me", "note": "n"}, "goes to the gate"),
    (["rollback", "sentiment", "--preview"], "preview_rollback", {"agent": "sentiment"}, "release 2 was live before 3"),
    (["rollback", "--agent", "sentiment"], "rollback", {"agent": "sentiment", "by": "operator", "note": ""}, "alpha"),
    (["rollback", "sentiment"], "rollback", {"agent": "sentiment", "by": "operator", "note": ""}, "alpha"),
]  # fmt: skip


@pytest.mark.parametrize("row", ASKED, ids=[" ".join(row[0]) for row in ASKED])
def test_actions(client: FakeClient, capsys: pytest.CaptureFixture[str], row: Any):
    """Each asks its operation and shows the answer; ``--json`` gives it whole."""
    words, verb, body, says = row
    assert main(["genome", *words]) == Exit.DONE
    assert client.asked == [(verb, body)]
    assert says in capsys.readouterr().out
    assert main(["genome", *words, "--json"]) == Exit.DONE
    assert json.loads(capsys.readouterr().out)


def test_what_is_bad_fails(client: FakeClient, capsys: pytest.CaptureFixture[str]):
    """Every bad and missing genome is a row, and the exit code says it for scripts."""
    client.answers["validate"] = SPOILED
    assert main(["genome", "validate"]) == Exit.FAILED
    out = capsys.readouterr().out
    assert "fail: 11 genomes of 1 evolutions" in out
    assert "its checksum is another" in out
    assert "v-1-4" in out


@pytest.mark.parametrize("words", [["show"], ["deploy"], ["rollback"], ["backup"], ["restore"], ["lst"]])
def test_wrong_usage(client: FakeClient, words: list[str]):
    """What is missing is said before anybody is asked."""
    assert outcome(["genome", *words]) == Exit.USAGE
    assert not client.asked


def test_a_backup_and_its_way_back(client: FakeClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """All records go into the file, page by page, and come out as they were, in parts that fit into a message."""
    file = tmp_path / "genomes.bin"
    assert main(["genome", "backup", str(file)]) == Exit.DONE
    assert [body["after"] for body in client.bodies("export")] == [0, 5, 10]
    assert "12 genomes written" in capsys.readouterr().err
    assert read_backup(file).records == RECORDS
    assert main(["genome", "restore", str(file)]) == Exit.DONE
    [body] = client.bodies("restore")
    assert [base64.b64decode(one) for one in body["records"]] == RECORDS
    assert "12 restored, 0 known already, 0 refused" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["genomes.bin"]


def test_a_backup_of_what_is_spoiled_says_so(client: FakeClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The file is written as the shelf is, and the exit code warns of it."""
    client.answers["validate"] = SPOILED
    assert main(["genome", "backup", str(tmp_path / "b"), "--json"]) == Exit.FAILED
    assert json.loads(capsys.readouterr().out)["validation"]["missing"] == ["v-1-4"]
    assert len(read_backup(tmp_path / "b").records) == 12


def test_large_backups_are_sent_in_parts(client: FakeClient, tmp_path: Path):
    """No part is larger than a message may be, and none is left out."""
    large = [bytes([n]) * (200 << 10) for n in range(7)]
    write_backup(tmp_path / "b", "", 1.0, large)
    assert main(["genome", "restore", str(tmp_path / "b")]) == Exit.DONE
    sent = [[base64.b64decode(one) for one in body["records"]] for body in client.bodies("restore")]
    assert [len(part) for part in sent] == [2, 2, 2, 1]
    assert [one for part in sent for one in part] == large


def test_what_is_refused_is_named(client: FakeClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """By id and reason; the exit code says it for scripts. An error in between says how far it came."""
    write_backup(tmp_path / "b", "", 1.0, RECORDS)
    client.answers["restore"] = Imported(
        restored=3, known=8, refused=[BadGenome(id="v-1-9", faults=["another genome"])]
    )
    assert main(["genome", "restore", str(tmp_path / "b")]) == Exit.FAILED
    assert "another genome" in capsys.readouterr().out
    client.answers["restore"] = UnavailableError("away")
    assert main(["genome", "restore", str(tmp_path / "b")]) == 4
    assert "0 of 12 were restored before this; run it again" in capsys.readouterr().err


def test_no_bit_of_a_backup_may_differ(client: FakeClient, tmp_path: Path):
    """Whichever bit of the file is flipped, or wherever it ends: it is refused, and nothing is sent."""
    file = tmp_path / "b"
    write_backup(file, "sentiment", 1.0, RECORDS[:2])
    whole = file.read_bytes()
    for place in range(len(whole)):
        for spoiled in (whole[:place], whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :]):
            file.write_bytes(spoiled)
            with pytest.raises((CorruptError, BadMessageError)):
                read_backup(file)
    file.write_bytes(whole + b"\x00")
    with pytest.raises(CorruptError):
        read_backup(file)
    assert main(["genome", "restore", str(file)]) == Exit.FAILED
    assert not client.asked


def test_a_spoiled_record_is_named(tmp_path: Path):
    """A flip inside of a record is told by the genome's id."""
    file = tmp_path / "b"
    write_backup(file, "", 1.0, RECORDS)
    data = file.read_bytes()
    at = data.index(RECORDS[7]) + len(RECORDS[7]) - 1
    file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(CorruptError, match="1 records are not what was written: v-1-7"):
        read_backup(file)


def test_files_that_are_none(tmp_path: Path):
    """Another file, no file, and a place that can't be written to are told apart from a spoiled one."""
    (tmp_path / "other").write_bytes(msgspec.msgpack.encode({"a": 1}))
    with pytest.raises(BadMessageError, match="is no backup"):
        read_backup(tmp_path / "other")
    with pytest.raises(BadMessageError, match="can't be read"):
        read_backup(tmp_path / "none")
    assert outcome(["genome", "restore", str(tmp_path / "none")]) == Exit.USAGE


def test_autonomous(client: FakeClient, capsys: pytest.CaptureFixture[str]):
    """On with its budget, off with nothing but that, and where it stands with its reasons."""
    words = ["on", "sentiment", "--generations", "9", "--cycles", "3", "--live-share", "0.2", "--watch-s", "60",
             "--objective", "correct", "--no-drift"]  # fmt: skip
    assert main(["autonomous", *words]) == Exit.DONE
    [body] = client.bodies("autonomous")
    assert body["budget"] == {"cycles": 3, "live_share": 0.2}
    assert (body["watch_s"], body["heed_drift"], body["evolution"]["generations"]) == (60.0, False, 9)
    assert main(["autonomous", "off", "sentiment", "--note", "enough"]) == Exit.DONE
    off = {"agent": "sentiment", "on": False, "by": "operator", "note": "enough"}
    assert client.bodies("autonomous")[1] == off
    assert main(["autonomous"]) == Exit.DONE
    out = capsys.readouterr().out
    for said in ("gate: a trial runs", "2 of 1000", "1 min 01 s of 10 h 00 min", "3 of 200", "the champion is better"):
        assert said in out, said
    assert main(["autonomous", "show", "sentiment", "--json"]) == Exit.DONE
    assert json.loads(capsys.readouterr().out)["agents"][0]["cycle"] == 2
    assert outcome(["autonomous", "on"]) == Exit.USAGE
    client.answers["autonomy"] = Autonomy(agents=[])
    assert main(["autonomous"]) == Exit.DONE
    assert "chimera autonomous on AGENT" in capsys.readouterr().err


GOOD = [
    ("a.tsv", "I like it\tpositive\n\nso so\t0.1\n",
     [{"input": {"text": "I like it"}, "label": "positive"}, {"input": {"text": "so so"}, "score": 0.1}]),
    ("a.tsv", "label\ttext\tlang\r\ngood\tyes\u2028indeed\ten\r\n",
     [{"input": {"text": "yes\u2028indeed", "lang": "en"}, "label": "good"}]),
    ("a.tsv", "text\tlabel\tscore\nyes\tgood\t0.5\nno\t\t-1\n",
     [{"input": {"text": "yes"}, "label": "good", "score": 0.5}, {"input": {"text": "no"}, "score": -1.0}]),
    ("a.jsonl", '{"input": {"x": [1, null]}, "score": 3}\n\n', [{"input": {"x": [1, None]}, "score": 3.0}]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "cases"), GOOD)
def test_labelled_tasks_from_a_file(tmp_path: Path, name: str, text: str, cases: list[dict[str, Any]]):
    """With and without a head, with labels, scores or both, whatever a text holds."""
    (tmp_path / name).write_text(text, newline="")
    assert read_cases(tmp_path / name) == cases


BAD = [
    ("a.tsv", "only a text\n", "line 1"), ("a.tsv", "a\tb\nc\td\te\n", "line 2"),
    ("a.tsv", "text\tscore\na\thigh\n", "line 2"),
    ("a.tsv", "text\tlabel\na\t\n", "neither a label nor a score"), ("a.tsv", f"a\t{'b' * 65}\n", "line 1"),
    ("a.jsonl", '{"input": {}}\n', "neither"), ("a.jsonl", '{"input": 1, "label": "a"}\n', "line 1"),
    ("a.jsonl", "nonsense\n", "line 1"), ("a.csv", "a,b\n", ".tsv or a .jsonl"), ("a.tsv", "\n", "holds no task"),
    ("a.tsv", "a\tb\n" * 10_001, "at most 10000"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "says"), BAD, ids=[row[2] + row[0] for row in BAD])
def test_wrong_data_is_told_by_its_line(tmp_path: Path, name: str, text: str, says: str):
    """What is wrong, where, and how a line should be."""
    (tmp_path / name).write_text(text)
    with pytest.raises(BadMessageError, match=says):
        read_cases(tmp_path / name)
