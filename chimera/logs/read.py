"""The event log read back: by layer, event, level and time; to its end, or on and on."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from chimera.config import parse_duration
from chimera.errors import BadSettingError

from .files import file_order, log_files, logs_dir
from .line import LEVELS, LogLine, decode_line
from .names import LAYER_ALIASES, Layer, find_layer

_POLL_S = 0.25
_CHUNK = 1 << 16
_MAX_LINE = 1 << 22


@dataclass(frozen=True, slots=True)
class _Wanted:
    layer: str
    word: str
    since: float
    level: int

    def fits(self, line: LogLine) -> bool:
        return (
            line.at >= self.since
            and LEVELS[line.level] >= self.level
            and (not self.layer or line.layer == self.layer)
            and self.word in line.event
        )


def read_events(
    data_dir: Path,
    *,
    layer: str = "",
    event: str = "",
    since: float | None = None,
    follow: bool = False,
    level: str = "debug",
    limit: int | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[LogLine]:
    """Lines of the event log, oldest first. A torn line (a process died while writing it) is left out.

    Args:
        data_dir: The node's data folder.
        layer: Only this layer; its actors' names and ``layer4`` are understood.
        event: Only events with this word in their name: ``wasm`` finds ``wasm-runtime``.
        since: Only lines from this Unix time on.
        follow: Go on with what is written from now on, across rotation, for ever.
        level: Only lines at least this grave.
        limit: Only the last so many of what is there; with ``follow`` what comes later is added to them.
        sleep: Waits between looks when following.

    Raises:
        BadSettingError: If there is no such layer or level.
    """
    wanted = _Wanted(_layer(layer), event.lower().replace("_", "-"), since or 0.0, _level(level))
    tail = _Tail(logs_dir(data_dir), wanted.since)
    return _read(tail, wanted, limit, sleep if follow else None)


def _read(tail: _Tail, wanted: _Wanted, limit: int | None, sleep: Callable[[float], None] | None) -> Iterator[LogLine]:
    with closing(tail):
        present = (line for line in tail.lines(whole=sleep is None) if wanted.fits(line))
        yield from present if limit is None else deque(present, maxlen=limit)
        while sleep is not None:
            sleep(_POLL_S)
            yield from (line for line in tail.lines() if wanted.fits(line))


def parse_since(text: str, now: float) -> float:
    """Unix time from ``1h``, ``30m`` (that long before ``now``) or an ISO 8601 time (UTC unless it says otherwise).

    Raises:
        BadSettingError: If it is neither.
    """
    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadSettingError(f"{text!r} is no time", hint="write 30m, 1h, 7d or 2026-01-31T12:00") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _layer(word: str) -> str:
    if not word:
        return ""
    found = find_layer(word)
    if found is None:
        known = ", ".join([*Layer, *LAYER_ALIASES])
        raise BadSettingError(f"there is no layer {word!r}", hint=f"the layers are {known}")
    return found.value


def _level(word: str) -> int:
    for name, number in LEVELS.items():
        if name == word.lower():
            return number
    raise BadSettingError(f"there is no level {word!r}", hint=f"the levels are {', '.join(LEVELS)}")


class _Tail:
    """Where the reader is: an open file, the bytes of a line without its end, and the names of what it has read."""

    def __init__(self, folder: Path, since: float) -> None:
        self._folder = folder
        self._since = since
        self._path: Path | None = None
        self._file: BinaryIO | None = None
        self._partial = b""

    def lines(self, *, whole: bool = False) -> Iterator[LogLine]:
        """Lines from here to the present end of the newest file; ``whole``: also one whose newline is missing."""
        while True:
            following = self._following()
            yield from self._drain()
            if following is None:
                break
            self._enter(following)
        last = decode_line(self._partial) if whole and self._partial else None
        if last is not None:
            yield last

    def close(self) -> None:
        """Close the open file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _following(self) -> Path | None:
        """The next file; looked up before draining, so that nothing written to the old one is missed."""
        for path in log_files(self._folder):
            if self._path is not None:
                if file_order(path) > file_order(self._path):
                    return path
            elif _modified(path) >= self._since:
                return path
        return None

    def _enter(self, path: Path) -> None:
        self.close()
        self._path, self._partial = path, b""
        try:
            self._file = path.open("rb")
        except FileNotFoundError:  # deleted by rotation meanwhile
            self._file = None

    def _drain(self) -> Iterator[LogLine]:
        while self._file is not None and (chunk := self._file.read(_CHUNK)):
            *whole, self._partial = (self._partial + chunk).split(b"\n")
            for raw in whole:
                line = decode_line(raw)
                if line is not None:
                    yield line
            if len(self._partial) > _MAX_LINE:
                self._partial = b""


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
