"""The log for any line, any damage and any way of cutting it into writes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chimera.logs import EventFiles, LogLine, decode_line, encode_line, logs_dir, read_events

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
LINES = st.builds(
    LogLine,
    at=st.floats(0, 4e9),
    level=st.sampled_from(["debug", "info", "warning", "error"]),
    layer=st.text(max_size=10),
    event=st.text(max_size=10),
    message=st.text(max_size=200),
    fields=st.dictionaries(st.text(max_size=10), JSON, max_size=4),
)


@given(LINES)
def test_lines_come_back(line: LogLine):
    """Any line survives being written and read, as one physical line."""
    raw = encode_line(line)
    assert raw.count(b"\n") == 1
    assert decode_line(raw) == line


@given(st.binary(max_size=200))
def test_any_bytes_are_a_line_or_nothing(raw: bytes):
    """Decoding never fails in another way than by giving nothing."""
    found: Any = decode_line(raw)
    assert found is None or isinstance(found, LogLine)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 300), st.booleans()), min_size=1, max_size=40), st.integers(200, 5_000))
def test_reader_gives_what_was_written(writes: list[tuple[int, bool]], keep_bytes: int):
    """For any sizes, bounds and restarts of the writer, the reader gives an unbroken run up to the last line."""
    with tempfile.TemporaryDirectory() as folder:
        files = EventFiles(logs_dir(Path(folder)), keep_bytes=keep_bytes, keep_files=4, now=lambda: 0.0)
        for number, (size, restart) in enumerate(writes):
            line = LogLine(at=0.0, level="info", layer="node", message="x" * size, fields={"n": number})
            files.write([encode_line(line)])
            if restart:
                files.close()
                files = EventFiles(logs_dir(Path(folder)), keep_bytes=keep_bytes, keep_files=4, now=lambda: 0.0)
        files.close()
        numbers = [line.fields["n"] for line in read_events(Path(folder))]
        assert numbers == list(range(numbers[0], len(writes)))
