"""The event log's files: ``events-YYYYMMDD-NNN.jsonl``, whose names sort by age, bounded in number and bytes."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

_NAME = re.compile(r"events-(\d{8})-(\d{3,})\.jsonl\Z")


def logs_dir(data_dir: Path) -> Path:
    """The folder of the event log inside a data folder."""
    return data_dir / "logs"


def log_files(folder: Path) -> list[Path]:
    """The event log's files, oldest first."""
    try:
        return sorted((path for path in folder.iterdir() if _NAME.match(path.name)), key=file_order)
    except FileNotFoundError:
        return []


def file_order(path: Path) -> tuple[str, int]:
    """Sort key of a log file: its day and its number."""
    match = _NAME.match(path.name)
    return (match[1], int(match[2])) if match else ("", 0)


class EventFiles:
    """Appends whole lines; starts a new file each day and at its share of the bytes; deletes the oldest.

    A clock that was set back never starts a file that sorts before an older one. Another process may append too.

    Args:
        folder: Made if absent, 0700; the files are 0600.
        keep_bytes: Most bytes of all files together.
        keep_files: Most files.
        now: Unix time in seconds.
    """

    def __init__(self, folder: Path, *, keep_bytes: int, keep_files: int, now: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._file_bytes = max(1, keep_bytes // keep_files)
        self._keep_files = keep_files
        self._now = now
        self._descriptor = -1
        self._size = 0
        self._day = ""

    def write(self, lines: list[bytes]) -> None:
        """Append, into a new file where the old one is full."""
        for chunk in self._chunks(lines):
            if self._descriptor < 0 or self._size + len(chunk) > self._file_bytes or self._today() > self._day:
                self._next(len(chunk))
            self._append(chunk)

    def close(self) -> None:
        """Close the open file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _chunks(self, lines: list[bytes]) -> list[bytes]:
        """Lines joined as far as one file's share allows, so that a batch costs few writes."""
        chunks: list[bytes] = []
        for line in lines:
            if chunks and len(chunks[-1]) + len(line) <= min(self._file_bytes, 1 << 20):
                chunks[-1] += line
            else:
                chunks.append(line)
        return chunks

    def _append(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            self.close()
            raise
        self._size += len(chunk)

    def _next(self, needed: int) -> None:
        self.close()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = log_files(self._folder)
        day, number = file_order(files[-1]) if files else ("", 0)
        self._day = max(self._today(), day)
        if day != self._day:
            number = 1
        elif files[-1].stat().st_size + needed > self._file_bytes:
            number += 1
        self._open(self._folder / f"events-{self._day}-{number:03d}.jsonl")
        for old in log_files(self._folder)[: -self._keep_files]:
            old.unlink(missing_ok=True)

    def _open(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._descriptor).st_size
        if self._size and os.pread(self._descriptor, 1, self._size - 1) != b"\n":
            self._append(b"\n")

    def _today(self) -> str:
        return time.strftime("%Y%m%d", time.gmtime(self._now()))
