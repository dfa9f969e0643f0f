"""The event log: what a line says, where it goes, and that it never harms who logs."""

from __future__ import annotations

import io
import json
import logging
import re
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx

from chimera.config import LogSettings, NodeSettings, Settings
from chimera.logs import (
    BackgroundHandler,
    EventFiles,
    EventName,
    Layer,
    Logging,
    LogLine,
    bound,
    console_line,
    decode_line,
    encode_line,
    event,
    find_layer,
    layer_of,
    log_event,
    log_files,
    logs_dir,
    read_events,
    setup_logging,
)

RUNBOOK = """
wasm-runtime task-processed scheduling-optimization circuit-breaker genome-update access-log security-event
pattern-accuracy statistical-test ab-test-config model-loading memory-usage model-optimization
resource-optimization data-access anomaly-detected optimization-time auto-tune deployment-success
fitness-score genetic-operator algorithm-optimization genome-backup genome-access evolution-time autonomous
gpu-utilization database-connection connection-pool response-time capacity-planning compliance
"""


def settings(folder: Path, **log: Any) -> Settings:
    """Settings of a node called n with its data in ``folder``."""
    return Settings(node=replace(NodeSettings(), name="n", data_dir=str(folder)), log=replace(LogSettings(), **log))


@pytest.fixture
def stream() -> io.StringIO:
    """What stands in for standard error."""
    return io.StringIO()


@pytest.fixture
def logs(tmp_path: Path, stream: io.StringIO) -> Iterator[Logging]:
    """Logging into ``tmp_path`` and ``stream``."""
    with setup_logging(settings(tmp_path), stream=stream, env={}) as found:
        yield found


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    """The JSON lines written to a stream."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_the_runbooks_words_are_events():
    """Every word that the runbook greps for is an event, and every event is kebab-case."""
    names = set(EventName)
    assert set(RUNBOOK.split()) <= names
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in names)


def test_event_reaches_both_destinations(tmp_path: Path, stream: io.StringIO, logs: Logging):
    """An event stands with its fields and its context on the stream and in the file, identically."""
    with bound(actor="agent", trace="t1"), bound(message_id="m1"):
        event(EventName.TASK_PROCESSED, Layer.EXECUTION, "one task", run_ms=1.5, release=3)
    logs.close()
    [line] = lines_of(stream)
    del line["at"]
    assert line == {
        "level": "info", "layer": "execution", "event": "task-processed", "message": "one task", "node": "n",
        "actor": "agent", "trace": "t1", "message_id": "m1", "fields": {"run_ms": 1.5, "release": 3},
    }  # fmt: skip
    [read] = read_events(tmp_path)
    assert (read.event, read.actor, read.fields) == ("task-processed", "agent", {"run_ms": 1.5, "release": 3})
    assert logs.statistics()["files"].written == 1


def test_a_systems_events_are_taken_as_data(logs: Logging, stream: io.StringIO):
    """Names and layers may be plain strings; an exception among the fields becomes the traceback."""
    log_event("actor-crashed", "scheduler", "it fell", "error", {"error": ValueError("why"), "level": 3})
    log_event("actor-stop-failed", "node", "", "warning", {"error": "only text"})
    logs.close()
    crashed, failed = lines_of(stream)
    assert (crashed["event"], crashed["layer"], crashed["level"]) == ("actor-crashed", "execution", "error")
    assert crashed["error"] == "ValueError: why"
    assert crashed["fields"] == {"level": 3}
    assert failed["fields"] == {"error": "only text"}


def test_context_ends_with_its_block(logs: Logging, stream: io.StringIO):
    """What was bound inside a block does not stand on lines after it."""
    with bound(actor="a"):
        pass
    event(EventName.NODE_READY, Layer.NODE)
    logs.close()
    assert "actor" not in lines_of(stream)[0]


def test_flush_waits_for_what_was_logged(logs: Logging, stream: io.StringIO):
    """After ``flush`` the line is written, so that a table may be printed below it."""
    log_event("node-started", "node", "here", "info", {})
    logs.flush()
    assert "node-started" in stream.getvalue()


def test_level_is_respected_and_can_change(logs: Logging, stream: io.StringIO):
    """Debug events are left out at info, and come after the level is lowered."""
    event(EventName.MEMORY_USAGE, Layer.NODE, "hidden", level="debug")
    logs.set_level("debug")
    event(EventName.MEMORY_USAGE, Layer.NODE, "shown", level="debug")
    logs.close()
    assert [line["message"] for line in lines_of(stream)] == ["shown"]


def test_foreign_libraries_are_quiet(logs: Logging, stream: io.StringIO):
    """Information of nats and uvicorn is left out, their warnings stand under our layers, access lines never."""
    logging.getLogger("nats.aio").info("chatter")
    logging.getLogger("uvicorn.error").info("chatter")
    logging.getLogger("uvicorn.access").warning("GET /")
    logging.getLogger("nats.aio").warning("slow consumer")
    logs.close()
    [line] = lines_of(stream)
    assert (line["layer"], line["message"], line["logger"]) == ("bus", "slow consumer", "nats.aio")
    assert logging.getLogger("uvicorn.access").propagate


def test_secrets_do_not_reach_the_log(logs: Logging, stream: io.StringIO):
    """Fields named like secrets, passwords in URLs and bearer tokens are hidden in fields, message and traceback."""
    event(
        EventName.SECURITY_EVENT, Layer.HTTP, "Authorization: Bearer abcdef123456", level="error",
        error=RuntimeError("nats://me:hunter2@host refused"), token="hunter2", nested={"api_key": ["hunter2"]},
        url="https://me:hunter2@host/x", seed=42,
    )  # fmt: skip
    logs.close()
    text = stream.getvalue()
    assert "hunter2" not in text
    assert "abcdef123456" not in text
    assert lines_of(stream)[0]["fields"]["seed"] == 42
    assert "RuntimeError" in lines_of(stream)[0]["error"]


def test_fields_of_any_kind(logs: Logging, stream: io.StringIO):
    """Fields that JSON can't hold are written as text; a line can't fail and can't grow without bound."""

    class Unfriendly:
        def __str__(self) -> str:
            raise RuntimeError("no")

    event(EventName.NODE_READY, Layer.NODE, "a", path=Path("/x"), kinds={1: {2}}, nan=float("nan"))
    event(EventName.NODE_READY, Layer.NODE, "b\ud800", text="\ud800")
    event(EventName.NODE_READY, Layer.NODE, "c", big="x" * 200_000)
    event(EventName.NODE_READY, Layer.NODE, "d", bad=Unfriendly())
    event(EventName.NODE_READY, Layer.NODE, "e")
    logs.close()
    lines = lines_of(stream)
    assert lines[0]["fields"]["path"] == "/x"
    assert lines[1]["message"] == "b\\ud800"
    assert len(json.dumps(lines[2])) < 20_000
    assert [line["message"][0] for line in lines] == ["a", "b", "c", "d", "e"]
    assert "Unfriendly" in lines[3]["fields"]["shortened"]


def test_console_line_for_people():
    """A console line has time, level, layer, event, message and details; colours only when asked for."""
    line = LogLine(
        at=0.0, level="warning", layer="execution", event="circuit-breaker", message="open", actor="agent",
        fields={"agent": "senti ment", "failures": 5, "ratio": 0.123456789},
    )  # fmt: skip
    plain = console_line(line)
    assert re.match(
        r"\d\d:\d\d:\d\d warning execution  circuit-breaker  open  "
        r'actor=agent agent="senti ment" failures=5 ratio=0.123457$',
        plain,
    )
    coloured = console_line(line, colour=True)
    assert "\x1b[33m" in coloured
    assert re.sub(r"\x1b\[\d*m", "", coloured) == plain


def test_console_line_cannot_draw():
    """Control characters from outside are escaped: no forged lines, no escape sequences."""
    line = LogLine(
        at=0.0, level="info", layer="http", event="access-log", message="a\nb\x1b[2J", fields={"x\r": "\x9b1"}
    )
    text = console_line(line)
    assert "\n" not in text
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert "\\n" in text


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("form", "terminal", "env", "starts", "colour"),
    [
        ("auto", False, {}, "{", False),
        ("auto", True, {}, "", True),
        ("auto", True, {"NO_COLOR": "1"}, "", False),
        ("auto", True, {"TERM": "dumb"}, "", False),
        ("json", True, {}, "{", False),
        ("console", False, {}, "", False),
    ],
)
def test_form_follows_the_terminal(
    tmp_path: Path, form: str, env: dict[str, str], starts: str, *, terminal: bool, colour: bool
):
    """JSON for machines, lines for people, colours only on a terminal that wants them."""
    target = _Terminal() if terminal else io.StringIO()
    with setup_logging(settings(tmp_path, format=form), stream=target, env=env, files=False):
        event(EventName.NODE_READY, Layer.NODE, "hello")
    text = target.getvalue()
    assert "hello" in text
    assert text.startswith("{") == (starts == "{")
    assert ("\x1b[" in text) == colour
    assert not logs_dir(tmp_path).exists()


def test_closing_takes_everything_away(tmp_path: Path):
    """After closing, the root logger has its old handlers and levels; closing twice is harmless."""
    before = (list(logging.getLogger().handlers), logging.getLogger("chimera").level)
    found = setup_logging(settings(tmp_path, level="debug"), stream=io.StringIO())
    found.close()
    found.close()
    assert (list(logging.getLogger().handlers), logging.getLogger("chimera").level) == before


class _SlowSink:
    """Holds its first write up until it is let go."""

    def __init__(self) -> None:
        self.entered, self.go = threading.Event(), threading.Event()
        self.lines: list[bytes] = []

    def write(self, lines: list[bytes]) -> None:
        self.entered.set()
        self.go.wait(10)
        self.lines += lines

    def close(self) -> None:
        pass


def _record(message: str) -> logging.LogRecord:
    return logging.LogRecord("chimera.node", logging.INFO, "", 0, message, (), None)


def test_full_queue_drops_counts_and_says_so():
    """When the disk hangs, lines beyond the bound are dropped at once, and the log itself tells how many."""
    sink = _SlowSink()
    handler = BackgroundHandler(sink, encode_line, node="n", max_waiting=5)
    handler.emit(_record("first"))
    assert sink.entered.wait(5)
    with blockbuster_ctx():
        for number in range(20):
            handler.emit(_record(str(number)))
    assert handler.statistics().dropped == 15
    sink.go.set()
    handler.close()
    lines = [line for raw in sink.lines if (line := decode_line(raw))]
    assert [line.message for line in lines[:6]] == ["first", "0", "1", "2", "3", "4"]
    assert (lines[6].event, lines[6].fields) == ("log-dropped", {"count": 15})


class _BrokenSink(_SlowSink):
    """A full disk, until it is let go."""

    def write(self, lines: list[bytes]) -> None:
        if not self.go.is_set():
            self.entered.set()
            raise OSError(28, "No space left on device")
        self.lines += lines


def test_full_disk_is_survived():
    """Lines that can't be written are counted, and logging goes on when there is room again."""
    sink = _BrokenSink()
    handler = BackgroundHandler(sink, encode_line, node="n")
    handler.emit(_record("lost"))
    assert sink.entered.wait(5)
    sink.go.set()
    handler.emit(_record("kept"))
    handler.close()
    messages = [line.message for raw in sink.lines if (line := decode_line(raw))]
    assert "kept" in messages
    assert handler.statistics().dropped == 1
    handler.emit(_record("after the end"))
    assert handler.statistics().dropped == 2


def _files(folder: Path, now: list[float], keep_bytes: int = 4_000, keep_files: int = 4) -> EventFiles:
    return EventFiles(folder, keep_bytes=keep_bytes, keep_files=keep_files, now=lambda: now[0])


def test_files_are_bounded(tmp_path: Path):
    """However much is written, files and bytes stay within their bounds, and the newest lines are kept."""
    files = _files(tmp_path, [0.0])
    for number in range(500):
        files.write([f'{{"n": {number}, "x": "{"y" * 80}"}}\n'.encode()])
        present = log_files(tmp_path)
        assert len(present) <= 4
        assert sum(path.stat().st_size for path in present) <= 4_000
    files.close()
    numbers = [json.loads(line)["n"] for path in log_files(tmp_path) for line in path.read_text().splitlines()]
    assert numbers == list(range(numbers[0], 500))
    assert len(numbers) > 20


def test_one_big_batch_is_spread(tmp_path: Path):
    """A batch larger than a file's share goes into several files."""
    files = _files(tmp_path, [0.0])
    files.write([b"x" * 400 + b"\n" for _ in range(6)])
    files.close()
    assert [path.stat().st_size for path in log_files(tmp_path)] == [802, 802, 802]


def test_new_day_new_file_and_clocks_that_go_back(tmp_path: Path):
    """Each UTC day has its own files; a clock that is set back does not write before what is there."""
    now = [1_700_000_000.0]
    files = _files(tmp_path, now)
    files.write([b"a\n"])
    now[0] += 86_400
    files.write([b"b\n"])
    now[0] -= 5 * 86_400
    files.write([b"c\n"])
    files.close()
    again = _files(tmp_path, now)
    again.write([b"d\n"])
    again.close()
    names = [path.name for path in log_files(tmp_path)]
    assert names == ["events-20231114-001.jsonl", "events-20231115-001.jsonl"]
    assert "".join(path.read_text() for path in log_files(tmp_path)) == "a\nb\nc\nd\n"


def test_torn_line_is_fenced_off(tmp_path: Path):
    """After a crash in the middle of a line the next line begins on its own."""
    now = [0.0]
    files = _files(tmp_path, now)
    files.write([b"whole\n", b"to"])
    files.close()
    again = _files(tmp_path, now)
    again.write([b"next\n"])
    again.close()
    assert log_files(tmp_path)[0].read_bytes() == b"whole\nto\nnext\n"


def test_log_files_are_private(tmp_path: Path):
    """The folder is 0700 and the files are 0600."""
    files = _files(tmp_path / "logs", [0.0])
    files.write([b"x\n"])
    files.close()
    assert stat.S_IMODE((tmp_path / "logs").stat().st_mode) == 0o700
    assert stat.S_IMODE(log_files(tmp_path / "logs")[0].stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("logger", "layer"),
    [
        ("nats.aio.client", Layer.BUS), ("uvicorn", Layer.HTTP), ("chimera.store.sqlite", Layer.STORE),
        ("actors.agent", Layer.EXECUTION), ("natsuki", Layer.NODE), ("asyncio", Layer.NODE),
    ],
)  # fmt: skip
def test_loggers_have_layers(logger: str, layer: Layer):
    """A library's lines are found under the layer it serves."""
    assert layer_of(logger) is layer


def test_layers_by_any_of_their_names():
    """A layer is found by its name, its actor and the runbook's number."""
    assert find_layer("Execution") is find_layer("agent") is find_layer("layer4") is Layer.EXECUTION
    assert find_layer("nonsense") is None
