"""How far each stream had come, kept outside of it, and the alarm when it is found behind that.

A server that was given an older copy of its data, or that lost what it had acknowledged, goes on as if nothing had
happened: sequences are used a second time. Nobody but us can notice, and only before the first new message.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")

WHAT_TO_DO = (
    "stop the node and put back the newest copy of its data folder; or, if what is lost is lost, look for tasks in "
    "state unknown, submit them again, and accept it with: chimera rebuild"
)


class Mark(msgspec.Struct, frozen=True):
    """How far a stream was: its last sequence, and the last epoch of whoever writes it (0 = it has none)."""

    seq: int = 0
    epoch: int = 0


class WentBack(msgspec.Struct, frozen=True, kw_only=True):
    """A stream that ended before its mark when it was looked at."""

    stream: str
    found: Mark
    mark: Mark
    at: float

    @property
    def lost(self) -> int:
        """Messages that are missing at its end; at least 1, also where an older copy was written on."""
        return max(1, self.mark.seq - self.found.seq)

    @property
    def detail(self) -> str:
        """What happened, and what to do."""
        what = (
            f"its last {self.lost} acknowledged messages are gone (it is at {self.found.seq}, was at {self.mark.seq})"
            if self.mark.seq > self.found.seq
            else f"it is an older copy that was written on (epoch {self.found.epoch}, it was at {self.mark.epoch})"
        )
        return f"stream {self.stream} went back: {what}; {WHAT_TO_DO}"


class HighWater:
    """The marks of all streams in ``<folder>/high-water.json``, the alarms in ``<folder>/went-back.json``.

    An alarm stands, also over restarts, until its file is removed: ``chimera rebuild`` does that. Writing is bounded by
    how often ``save`` is called, and each save reaches the disk before it counts.

    Args:
        folder: The node's data folder.

    Attributes:
        damaged: Files of ours that can't be read, so that what they said is not known any more.
    """

    def __init__(self, folder: Path) -> None:
        self._marks_path, self._alarms_path = folder / "high-water.json", folder / "went-back.json"
        self.damaged = [path for path in (self._marks_path, self._alarms_path) if not _readable(path)]
        self._marks = _read(self._marks_path, Mark)
        self._saved = dict(self._marks)
        self._alarms = _read(self._alarms_path, WentBack)

    @property
    def alarms(self) -> dict[str, WentBack]:
        """Stream to its alarm."""
        return self._alarms

    @property
    def texts(self) -> dict[str, str]:
        """Stream to what happened and what to do."""
        return {stream: alarm.detail for stream, alarm in self._alarms.items()}

    def known(self) -> tuple[str, ...]:
        """Streams with a mark."""
        return tuple(self._marks)

    def compare(self, stream: str, *, seq: int | None = None, epoch: int | None = None, at: float) -> WentBack | None:
        """Hold what a stream is against its mark. If it is behind, the alarm is on the disk when this returns."""
        mark = self._marks.get(stream, Mark())
        found = Mark(mark.seq if seq is None else seq, mark.epoch if epoch is None else epoch)
        if found.seq >= mark.seq and found.epoch >= mark.epoch:
            return None
        alarm = WentBack(stream=stream, found=found, mark=mark, at=at)
        self._alarms[stream] = alarm
        _write(self._alarms_path, self._alarms)
        self._marks[stream] = found
        self.save()
        return alarm

    def note(self, stream: str, *, seq: int = 0, epoch: int = 0) -> None:
        """A stream is that far; ``save`` makes it last."""
        mark = self._marks.get(stream, Mark())
        self._marks[stream] = Mark(max(seq, mark.seq), max(epoch, mark.epoch))

    def save(self) -> bool:
        """Write the marks, if they moved, through to the disk; whether they had. Blocks."""
        if self._marks == self._saved:
            return False
        marks = dict(self._marks)
        _write(self._marks_path, marks)
        self._saved = marks
        return True

    def refresh(self) -> list[str]:
        """Streams whose alarm was accepted meanwhile: somebody has removed the file."""
        if not self._alarms or self._alarms_path.exists():
            return []
        accepted = list(self._alarms)
        self._alarms = {}
        return accepted


def accept(folder: Path) -> dict[str, WentBack]:
    """End the alarms of a data folder; which they were."""
    path = folder / "went-back.json"
    found = _read(path, WentBack)
    with suppress(FileNotFoundError):
        path.unlink()
        _sync(path.parent)
    return found


def _read(path: Path, kind: type[T]) -> dict[str, T]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, kind])
    except (OSError, msgspec.DecodeError):
        return {}


def _readable(path: Path) -> bool:
    """False for a file that is there and says nothing."""
    try:
        msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        return True
    except (OSError, msgspec.DecodeError):
        return False
    return True


def _write(path: Path, value: object) -> None:
    """Either the old content or the new one is there after a power cut."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, msgspec.json.encode(value))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
