"""``chimera evolve``: what is asked, what is shown while it goes on, what Ctrl-C means, and the exit codes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chimera.cli.command import Exit
from chimera.cli.evolve import ask_what_to_do
from chimera.cli.generations import Screen, left, sparks
from chimera.cli.main import main
from chimera.errors import NoEvolutionError, RestartingError, UnavailableError
from subjects.evolution import EvolutionList, Progress
from tests.support import evolution as stage
from tests.support.cli import FakeClient, outcome, patched


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    """Answers of an evolver with one evolution that is over."""
    fake = patched(monkeypatch)
    monkeypatch.setattr("chimera.cli.generations._LOOK_S", 0.0)
    told = stage.progress()
    fake.answers = {
        "start": stage.evolution(0), "progress": told, "stop": stage.evolution(5, state="stopped", reason="enough"),
        "pause": stage.evolution(5, state="paused"), "resume": stage.evolution(5), "population": stage.population(),
        "evolutions": EvolutionList(evolutions=[told.evolution]), "genome": stage.lineage(),
    }  # fmt: skip
    return fake


def page(count: int, after: int, **fields: Any) -> Progress:
    """An evolution after ``count`` generations, with those behind ``after``."""
    told = stage.progress(count, **fields)
    return msgspec.structs.replace(told, history=told.history[after:])


def test_the_least_start_leaves_everything_to_the_evolver(client: FakeClient):
    """Only what was said is sent: the rest is as configured."""
    assert main(["evolve", "sentiment", "--detach"]) == Exit.DONE
    assert client.bodies("start") == [
        {"agent": "sentiment", "id": "", "generations": 100, "seed": 0, "deploy": True, "settings": False, "note": "",
         "stop_when_converged": True},
    ]  # fmt: skip


def test_every_option_travels(client: FakeClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Algorithm, sizes, objectives, genes, axes, budget and data are those that were given."""
    data = tmp_path / "some.tsv"
    data.write_text("I love it\tpositive\nI hate it\t-0.8\n")
    words = [
        "evolve", "start", "sentiment", "--generations", "35", "--population", "20", "--algorithm", "nsga2",
        "--seed", "9", "--tasks", "64", "--islands", "2", "--mutation-rate", "0.2", "--data", str(data),
        "--objective", "correlation", "--objective", "cpu_ms:least=5:high=50",
        "--parameters", "alpha, beta", "--limits", "--descriptor",
        "strictness:0:1:8", "--keep-going", "--seconds", "60", "--cpu-s", "9", "--no-deploy", "--detach", "--id", "v-9",
        "--note", "n", "--json",
    ]  # fmt: skip
    assert main(words) == Exit.DONE
    [body] = client.bodies("start")
    expected: dict[str, Any] = {
        "agent": "sentiment", "id": "v-9", "generations": 35, "population_size": 20, "algorithm": "nsga2", "seed": 9,
        "tasks": 64, "islands": 2, "mutation_rate": 0.2, "parameters": ["alpha", "beta"], "settings": True,
        "stop_when_converged": False, "deploy": False, "note": "n", "budget": {"seconds": 60.0, "cpu_s": 9.0},
        "descriptors": [{"name": "strictness", "low": 0.0, "high": 1.0, "cells": 8}],
        "cases": [
            {"input": {"text": "I love it"}, "label": "positive"}, {"input": {"text": "I hate it"}, "score": -0.8},
        ],
        "objectives": [
            {"metric": {"name": "score_error", "kind": "mean", "better": "lower", "high": 2.0},
             "statistic": "correlation"},
            {"metric": {"name": "cpu_ms", "kind": "mean", "better": "lower", "high": 50.0}, "statistic": "mean",
             "least": 5.0},
        ],
    }  # fmt: skip
    assert body == expected
    assert json.loads(capsys.readouterr().out)["id"] == "v-1"


def test_it_is_watched_until_it_is_over(client: FakeClient, capsys: pytest.CaptureFixture[str]):
    """A line per generation, each once; an evolver that changes its leader meanwhile is waited for."""
    client.answers["progress"] = [
        page(2, 0), RestartingError("the evolver changes its leader"), page(5, 2),
        page(29, 5, step="gate", experiment="e-4"), page(30, 29),
    ]  # fmt: skip
    assert main(["evolve", "sentiment"]) == Exit.DONE
    out, err = capsys.readouterr()
    assert [body["after"] for body in client.bodies("progress")] == [0, 2, 2, 5, 29]
    for number in (1, 2, 5, 30):
        assert err.count(f"generation {number} of 30:") == 1
    assert "best 0.5, mean 0.4, distance 1, 20 evaluations/s" in err
    assert "generation 10 of 30: best 0.59, mean 0.49, distance 0.1, 20 evaluations/s, 3 immigrants" in err
    assert "no answer, asking again: the evolver changes its leader" in err
    assert "v-1: the champion is tried by the gate, which needs live traffic: e-4" in err
    assert "v-1: exhausted: all generations were used" in err
    assert "champion 0.78, live genome 0.6" in out


@pytest.mark.parametrize(("state", "code"), [("exhausted", 0), ("converged", 0), ("stopped", 1), ("failed", 1)])
def test_the_exit_code_says_how_it_ended(client: FakeClient, state: str, code: int):
    """Done where the search came to its end, failed where it did not; the JSON is the evolution."""
    client.answers["progress"] = stage.progress(state=state)
    assert main(["evolve", "sentiment", "--json"]) == code


def test_an_error_that_does_not_pass_ends_it(client: FakeClient, capsys: pytest.CaptureFixture[str]):
    """What asking again will not mend is said at once."""
    client.answers["progress"] = [page(2, 0), NoEvolutionError("there is no evolution 'v-1'")]
    assert main(["evolve", "sentiment"]) == Exit.FAILED
    assert "no-evolution" in capsys.readouterr().err


@pytest.mark.parametrize(
    "row", [("detach", 130, 0, "it goes on"), ("stop", 1, 1, "stopped"), ("watch", 0, 0, "exhausted")]
)
def test_what_ctrl_c_means(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    row: tuple[str, int, int, str],
):  # fmt: skip
    """Left alone it goes on, and how to stop it is said; or it is stopped; or watched on."""
    choice, code, stops, says = row

    def interrupted(_request: object) -> BaseException:
        client.answers["progress"] = stage.progress(30) if choice != "stop" else stage.progress(
            5, state="stopped", reason="enough"
        )  # fmt: skip
        return KeyboardInterrupt()

    def asked(_id: str) -> str:
        return choice

    client.answers["progress"] = interrupted
    monkeypatch.setattr("chimera.cli.evolve.ask_what_to_do", asked)
    assert main(["evolve", "sentiment"]) == code
    out, err = capsys.readouterr()
    assert len(client.bodies("stop")) == stops
    assert says in out + err
    assert choice != "detach" or "chimera evolve stop v-1" in err


@pytest.mark.parametrize(
    ("typed", "choice"), [("\n", "detach"), ("s\n", "stop"), ("Stop\n", "stop"), ("w\n", "watch"), ("?\n", "detach")]
)
def test_the_question_at_ctrl_c(monkeypatch: pytest.MonkeyPatch, typed: str, choice: str):
    """Enter alone leaves it to itself."""
    keyboard = io.StringIO(typed)
    monkeypatch.setattr(keyboard, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", keyboard)
    assert ask_what_to_do("v-1") == choice


def test_nobody_is_asked_where_nobody_can_answer(monkeypatch: pytest.MonkeyPatch):
    """Without a keyboard Ctrl-C leaves it to itself."""
    monkeypatch.setattr("sys.stdin", io.StringIO("s\n"))
    assert ask_what_to_do("v-1") == "detach"


@pytest.mark.parametrize(
    "row",
    [
        ([], "progress", {"id": ""}, "fitness still rises"),
        (["status", "v-1"], "progress", {"id": "v-1"}, "best 0.8, mean 0.7, live genome 0.45"),
        (["list", "sentiment"], "evolutions", {"agent": "sentiment", "state": "", "limit": 20}, "30/30"),
        (["list", "--state", "paused"], "evolutions", {"agent": "", "state": "paused", "limit": 20}, "v-1-579"),
        (["pause"], "pause", {"id": ""}, "paused"),
        (["resume", "v-1"], "resume", {"id": "v-1"}, "steady"),
        (["stop", "--agent", "a"], "stop", {"id": "", "agent": "a", "note": ""}, "stopped: enough"),
        (["front"], "population", {"id": "", "limit": 1000}, "the population, best first"),
    ],
)
def test_actions(
    client: FakeClient, capsys: pytest.CaptureFixture[str], row: tuple[list[str], str, dict[str, Any], str]
):
    """Each asks its operation and shows the answer; ``--json`` gives it whole."""
    words, verb, body, says = row
    assert main(["evolve", *words]) == Exit.DONE
    assert client.asked == [(verb, body)]
    assert says in capsys.readouterr().out
    assert main(["evolve", *words, "--json"]) == Exit.DONE
    assert json.loads(capsys.readouterr().out)


def test_watching_again(client: FakeClient, capsys: pytest.CaptureFixture[str]):
    """Who left it to itself comes back to the newest, or to the one that is named."""
    assert main(["evolve", "watch"]) == Exit.DONE
    assert client.bodies("progress")[0] == {"id": "", "limit": 1}
    assert client.bodies("progress")[1]["id"] == "v-1"
    assert "generation 30 of 30" in capsys.readouterr().err


def test_front_and_map(client: FakeClient, capsys: pytest.CaptureFixture[str]):
    """The front with its knee, the map's cells; where there is none, that is said."""
    client.answers["population"] = stage.with_front()[1]
    assert main(["evolve", "front", "--limit", "4"]) == Exit.DONE
    out, err = capsys.readouterr()
    assert "knee" in out
    assert "0.74, 8" in out
    assert "4 of 6" in err
    assert main(["evolve", "map"]) == Exit.DONE
    assert "has no map" in capsys.readouterr().err
    client.answers["population"] = stage.with_map()[1]
    assert main(["evolve", "map"]) == Exit.DONE
    out = capsys.readouterr().out
    assert "50.0% of the map is filled" in out
    assert "7, 1" in out


@pytest.mark.parametrize(("name", "begins"), [("out.svg", "<svg"), ("out.html", "<!doctype html>")])
def test_pictures_are_written(client: FakeClient, tmp_path: Path, name: str, begins: str):
    """At the end of a run, and of one that is over already; with front and lineage."""
    client.answers["population"] = stage.with_front()[1]
    client.answers["progress"] = stage.with_front()[0]
    for words in (["sentiment"], ["status", "v-1"]):
        place = tmp_path / f"{words[0]}-{name}"
        assert main(["evolve", *words, "--plot", str(place)]) == Exit.DONE
        text = place.read_text()
        assert text.startswith(begins)
        assert "Lineage of v-1-240" in text
        assert "Pareto front" in text


def test_pictures_without_what_can_not_be_had(client: FakeClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The rest is drawn, and what is left out is said."""
    client.answers["genome"] = UnavailableError("the store is away")
    assert main(["evolve", "status", "--plot", str(tmp_path / "a.svg")]) == Exit.DONE
    assert "left out of the pictures: the store is away" in capsys.readouterr().err
    assert "Fitness" in (tmp_path / "a.svg").read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["start"], "which agent?"), (["status", "a", "b"], "one word too many"),
        (["a", "--objective", "correct:x"], "KEY=VALUE"), (["a", "--objective", "correct:least=high"], "a number"),
        (["a", "--descriptor", "x:1"], "NAME:LOW:HIGH:CELLS"), (["a", "--data", "none.tsv"], "can't be read"),
        (["a", "--plot", "none/out.svg"], "there is no folder"), (["a", "--plot", "out.png"], ".svg or .html"),
        (["a", "--algorithm", "magic"], "invalid choice"),
    ],
)  # fmt: skip
def test_wrong_usage_says_what_is_right(
    client: FakeClient, capsys: pytest.CaptureFixture[str], words: list[str], says: str
):
    """Nothing is asked, and what is wrong is said."""
    assert outcome(["evolve", *words]) == Exit.USAGE
    assert says in capsys.readouterr().err
    assert not client.asked


def test_the_screen_is_drawn():
    """Bar, figures, curve and state, in whatever state it is."""
    from rich.console import Console

    class Held:
        def update(self, drawn: Any) -> None:
            console.print(drawn)

    console = Console(file=io.StringIO(), width=100)
    screen = Screen(Held())
    for count in (0, 3, 30):
        told = msgspec.to_builtins(stage.progress(count))
        screen.show(told["evolution"], told["history"])
    text = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType] - a StringIO
    for words in (
        "sentiment v-1",
        "30 of 30",
        "evaluations/s",
        "41.5",
        "14 s",
        "exhausted: all generations were used",
        "█",
    ):
        assert words in text, words


@pytest.mark.parametrize(
    ("values", "drawn"),
    [([], ""), ([1.0], "▁"), ([0.0, 1.0], "▁█"), ([3.0, 3.0], "▁▁"), ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█")],
)
def test_sparks(values: list[float], drawn: str):
    """From the least to the greatest in eight steps."""
    assert sparks(values) == drawn


def test_many_values_make_as_many_sparks_as_there_is_room():
    """The last one always shows."""
    assert len(sparks([float(n) for n in range(1000)], 40)) == 40
    assert sparks([0.0] * 999 + [1.0], 40)[-1] == "█"


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0.4, "0 s"), (61, "1 min 01 s"), (7260, "2 h 01 min"), (3599.9, "1 h 00 min")]
)
def test_durations_are_readable(seconds: float | None, text: str):
    """Two units at most."""
    assert left(seconds) == text
