"""A worker's side of a sweep: it stops when the piece's time is up, and forgets the guest whatever happened."""

from __future__ import annotations

from typing import Any, cast

import pytest

from chimera.sandbox import GuestResult, GuestSpec, worker
from chimera.sandbox.records import SWEEP, RecordReader, pack, unpack_swept
from chimera.sandbox.residents import Residence, Residents

ORDER = Residence(7, "/nowhere", "0", GuestSpec("echo", "d"), (), False, 65536)
PIECE_S = 0.02


class Clockwork:
    """Residents whose tasks take 6 ms each; number 5 breaks the worker if it is told to."""

    def __init__(self, status: str = "", *, breaks: bool = False) -> None:
        self.now, self.status, self.breaks = 100.0, status, breaks
        self.ran: list[bytes] = []
        self.calls: list[str] = []

    def monotonic(self) -> float:
        """Time that passes only in tasks."""
        return self.now

    def load(self, order: Residence) -> tuple[str, str]:
        """Take the guest in."""
        assert order == ORDER
        self.calls.append("load")
        return self.status, "why not"

    def run(self, number: int, task: str, payload: bytes) -> GuestResult:
        """The payload itself, 6 ms later."""
        assert (number, task) == (7, "predict")
        if self.breaks:
            raise RuntimeError("out of memory")
        self.now += 0.006
        self.ran.append(payload)
        return GuestResult(payload, 0.006, 0.005, 65536)

    def tidy(self) -> None:
        """After each task."""

    def unload(self, number: int) -> None:
        """Forget the guest."""
        assert number == 7
        self.calls.append("unload")

    def instances_started(self, number: int) -> int:
        """One a task, and one for the start."""
        return len(self.ran) + number - 6


def asked(residents: Clockwork, payloads: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """The worker's answer to a piece."""
    monkeypatch.setattr(worker, "time", residents)
    record = (SWEEP, 0, ORDER, "predict", [b'{"n": %d}' % n for n in range(payloads)], ("n",), 0, PIECE_S)
    [sent] = RecordReader().feed(pack(record))
    [answer] = RecordReader().feed(worker.handle(sent, cast("Residents", residents)))
    return answer


def test_a_piece_ends_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch):
    """Of ten payloads of 6 ms four are run in 20 ms: the one that was begun is ended, the others go back."""
    residents = Clockwork()
    answer = asked(residents, 10, monkeypatch)
    swept = unpack_swept(answer, 10, 1)
    assert swept is not None
    assert swept.outputs == [[0, 1, 2, 3]]
    assert residents.calls == ["load", "unload"]
    assert answer[2] == 5


def test_a_guest_that_does_not_start_runs_nothing(monkeypatch: pytest.MonkeyPatch):
    """The reason comes back, and there is nothing to forget."""
    residents = Clockwork("genome")
    answer = asked(residents, 3, monkeypatch)
    assert answer[3:5] == ("genome", "why not")
    assert unpack_swept(answer, 3, 1) is None
    assert (residents.ran, residents.calls) == ([], ["load"])


def test_a_guest_is_forgotten_whatever_happens(monkeypatch: pytest.MonkeyPatch):
    """Also when running it fails in a way that nobody foresaw."""
    residents = Clockwork(breaks=True)
    with pytest.raises(RuntimeError):
        asked(residents, 3, monkeypatch)
    assert residents.calls == ["load", "unload"]
