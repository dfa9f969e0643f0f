"""The event log read back."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from chimera.errors import BadSettingError
from chimera.logs import EventFiles, LogLine, encode_line, log_files, logs_dir, parse_since, read_events


def line(number: int, **fields: Any) -> LogLine:
    """A line at second ``number``, with that number as its message."""
    given: dict[str, Any] = {"level": "info", "layer": "execution", "event": "task-processed", **fields}
    return LogLine(at=float(number), message=str(number), **given)


def write(folder: Path, *lines: LogLine) -> None:
    """Append lines the way a node does."""
    files = EventFiles(logs_dir(folder), keep_bytes=4_000, keep_files=8, now=lambda: 0.0)
    for one in lines:
        files.write([encode_line(one)])
    files.close()


def messages(folder: Path, **wanted: Any) -> list[str]:
    """The messages that reading gives."""
    return [one.message for one in read_events(folder, **wanted)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with five lines."""
    write(
        tmp_path,
        line(1, event="wasm-runtime", level="debug"),
        line(2, layer="http", event="access-log"),
        line(3, event="circuit-breaker", level="error"),
        line(4, layer="evolution", event="genome-update", level="warning"),
        line(5),
    )
    return tmp_path


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, "12345"),
        ({"layer": "execution"}, "135"),
        ({"layer": "layer7"}, "4"),
        ({"layer": "agent"}, "135"),
        ({"event": "wasm"}, "1"),
        ({"event": "WASM_RUNTIME"}, "1"),
        ({"event": "update"}, "4"),
        ({"event": "nothing"}, ""),
        ({"level": "warning"}, "34"),
        ({"level": "error"}, "3"),
        ({"since": 4.0}, "45"),
        ({"limit": 2}, "45"),
        ({"limit": 0}, ""),
        ({"layer": "execution", "limit": 2, "level": "info"}, "35"),
    ],
)
def test_lines_by_filter(folder: Path, wanted: dict[str, Any], found: str):
    """Each filter narrows; the limit takes the last of what fits; the order is oldest first."""
    assert "".join(messages(folder, **wanted)) == found


def test_unknown_layer_is_refused_at_once(tmp_path: Path):
    """A layer that is none is an error that lists them, before anything is read."""
    with pytest.raises(BadSettingError, match="there is no layer 'exec'") as refused:
        read_events(tmp_path, layer="exec")
    assert "execution" in refused.value.hint
    with pytest.raises(BadSettingError, match="there is no level 'loud'"):
        read_events(tmp_path, level="loud")


def test_no_log_yet(tmp_path: Path):
    """A data folder without a log has no lines, which is no error."""
    assert messages(tmp_path) == []


def test_many_files_in_order(tmp_path: Path):
    """Lines come in the order in which they were written, across files."""
    write(tmp_path, *[line(number) for number in range(30)])
    assert len(log_files(logs_dir(tmp_path))) > 3
    assert messages(tmp_path) == [str(number) for number in range(30)]


def test_torn_and_foreign_lines_are_left_out(folder: Path):
    """A torn end, a damaged line in the middle and foreign text cost nothing but themselves."""
    path = log_files(logs_dir(folder))[-1]
    raw = path.read_bytes().splitlines(keepends=True)
    raw[1] = b"\xff\xfe garbage\n"
    raw[2] = raw[2][:20] + b"\n"
    path.write_bytes(b"".join(raw) + encode_line(line(6))[:-10])
    assert messages(folder) == ["1", "4", "5"]


def test_last_line_without_its_newline(folder: Path):
    """A whole last line counts although its newline is missing, also for the limit."""
    path = log_files(logs_dir(folder))[-1]
    path.write_bytes(path.read_bytes() + encode_line(line(6))[:-1])
    assert messages(folder)[-1] == "6"
    assert messages(folder, limit=2) == ["5", "6"]


def test_old_files_are_skipped_by_their_age(tmp_path: Path):
    """With --since a file that was last written before it is not even opened."""
    write(tmp_path, *[line(number) for number in range(30)])
    first = log_files(logs_dir(tmp_path))[0]
    first.write_bytes(encode_line(line(1_000)))
    os.utime(first, (5, 5))
    assert "1000" not in messages(tmp_path, since=10.0)


def follow(folder: Path, steps: list[Callable[[], object]], count: int, **wanted: Any) -> list[str]:
    """The first ``count`` messages of following, while ``steps`` happen one after another between looks."""
    waiting = iter(steps)

    def sleep(_: float) -> None:
        next(waiting)()

    return [one.message for one in islice(read_events(folder, follow=True, sleep=sleep, **wanted), count)]


def test_following_across_rotation(tmp_path: Path):
    """What is written while following comes too, through new files and the deletion of old ones, each line once."""
    write(tmp_path, line(0))
    numbers = iter(range(1, 200))
    steps: list[Callable[[], object]] = [lambda: write(tmp_path, *[line(next(numbers)) for _ in range(7)])] * 20
    found = follow(tmp_path, steps, 120)
    assert found == [str(number) for number in range(120)]
    assert not (logs_dir(tmp_path) / "events-19700101-001.jsonl").exists()


def test_following_waits_for_the_rest_of_a_line(tmp_path: Path):
    """Half a line is held back until its other half comes."""
    write(tmp_path, line(0))
    path = log_files(logs_dir(tmp_path))[0]
    raw = encode_line(line(1))

    def append(part: bytes) -> None:
        with path.open("ab") as opened:
            opened.write(part)

    steps: list[Callable[[], object]] = [
        lambda: append(raw[:15]), lambda: None, lambda: append(raw[15:]), lambda: append(encode_line(line(2))),
    ]  # fmt: skip
    assert follow(tmp_path, steps, 3) == ["0", "1", "2"]


def test_following_starts_before_there_is_a_log(tmp_path: Path):
    """Following a node that has not started yet shows its first lines."""
    assert follow(tmp_path, [lambda: None, lambda: write(tmp_path, line(1))], 1) == ["1"]


def test_following_with_limit_and_filter(folder: Path):
    """The limit is for what is there already; the filter is for all."""
    steps: list[Callable[[], object]] = [lambda: write(folder, line(6, level="error"), line(7), line(8, level="error"))]
    assert follow(folder, steps, 3, limit=1, level="error") == ["3", "6", "8"]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1h", 996_400.0), ("30m", 998_200.0), ("1h30m", 994_600.0), ("250ms", 999_999.75),
        ("1970-01-01T00:01:00", 60.0), ("1970-01-02", 86_400.0), ("1970-01-01T01:00:00+01:00", 0.0),
    ],
)  # fmt: skip
def test_since(text: str, moment: float):
    """A duration counts back from now; a time is taken as UTC unless it says otherwise."""
    assert parse_since(text, 1_000_000.0) == moment


def test_since_refuses_nonsense():
    """Something that is neither is refused with examples."""
    with pytest.raises(BadSettingError, match="'yesterday' is no time"):
        parse_since("yesterday", 0.0)
