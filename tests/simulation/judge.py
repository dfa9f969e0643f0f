"""The invariants, checked against the log as it is stored and against every answer that a client gets."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from actors.queueing import states
from actors.queueing.ledger import Ledger
from actors.queueing.records import Entry, Moved, New, Spec, Status, Took, unpack
from actors.scheduling.journal import LEASE_S
from chimera.bus._memory_streams import MemoryStream
from chimera.bus.contract import Stored
from subjects.task import TaskView
from tests.simulation.trace import Trace

STALE_S = LEASE_S + 6.0
"""An answer may be as old as the lease and one append whose acknowledgement is waited for."""


class Judge:
    """Sees everything, and says what must never happen.

    Args:
        stream: The log.
        now: Virtual seconds.
        trace: Gets a line for each entry.
    """

    def __init__(self, stream: MemoryStream, now: Callable[[], float], trace: Trace) -> None:
        self._stream, self._now, self._trace = stream, now, trace
        self._seen = 0
        self._writer: str = ""
        self.epoch = 0
        self.specs: dict[str, Spec] = {}
        self.history: dict[str, list[tuple[float, Status]]] = {}
        self.acknowledged: dict[str, float] = {}
        self.revivable: set[str] = set()
        self.runs: dict[int, str] = {}
        self.broken: list[str] = []
        stream.listen(self._look)

    def blame(self, rule: str, what: str) -> None:
        """An invariant is broken."""
        self._trace("JUDGE", f"{rule}: {what}")
        self.broken.append(f"{rule}: {what}")

    # -- the log -------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        for message in self._stream.after(self._seen + 1, "", 1_000):
            self._seen = message.seq
            self._take(message)

    def _take(self, message: Stored) -> None:
        writer = str(message.headers["Nats-Msg-Id"]).partition(".")[0]
        entries = list(unpack(message.data))
        first = entries[0]
        if isinstance(first, Took) and (first.epoch != self.epoch or writer != self._writer):
            if first.epoch <= self.epoch:
                self.blame("fencing", f"epoch {first.epoch} after {self.epoch}")
            self._writer, self.epoch = writer, first.epoch
        elif writer != self._writer:
            self.blame("fencing", f"message {message.seq} is not by the leader of epoch {self.epoch}")
        for entry in entries:
            self._enter(message.seq, entry)

    def _enter(self, seq: int, entry: Entry) -> None:
        if isinstance(entry, New):
            self._trace("log", f"{seq:>4} new    {entry.spec.id:<5} {_short(entry.status)}")
            self._new(entry.spec, entry.status)
        elif isinstance(entry, Moved):
            self._trace("log", f"{seq:>4} moved  {entry.id:<5} {_short(entry.status)}")
            self._moved(entry.id, entry.status)
        elif isinstance(entry, Took):
            self._trace("log", f"{seq:>4} leader {entry.node} epoch {entry.epoch}")

    def _new(self, spec: Spec, status: Status) -> None:
        known = self.last(spec.id)
        if known is None:
            self._one_of_a_key(spec)
            self.specs[spec.id] = spec
        elif spec != self.specs[spec.id]:
            self.blame("twice", f"{spec.id} was submitted anew over {known.state}")
        elif not _is_rewritten(known, status):
            revived = known.state == "dead" and status.state == "queued" and spec.id in self.revivable
            if not revived or status.attempt != known.attempt:
                self.blame("final", f"{spec.id} began anew: {known.state} -> {status.state}")
            self._one_of_a_key(spec)
        self.history.setdefault(spec.id, []).append((self._now(), status))

    def _moved(self, task: str, status: Status) -> None:
        before = self.last(task)
        if before is None:
            self.blame("lost", f"{task} moves and was never submitted")
            return
        follow = set(states.NEXT[before.state])
        if before.state == "scheduled":  # that it is due is not written
            follow |= states.NEXT["queued"]
        if states.is_final(before.state):
            self.blame("final", f"{task}: {before.state} -> {status.state}")
        elif status.state not in follow:
            self.blame("states", f"{task}: {before.state} -> {status.state}")
        if status.attempt != before.attempt + (status.state == "running"):
            self.blame("attempts", f"{task}: attempt {before.attempt} -> {status.attempt} as {status.state}")
        if status.used > self.specs[task].attempts:
            self.blame("attempts", f"{task}: {status.used} of {self.specs[task].attempts} attempts")
        if status.state == "succeeded":
            self._result(task, status)
        self.history[task].append((self._now(), status))

    def _result(self, task: str, status: Status) -> None:
        output = msgspec.msgpack.decode(status.output)
        job = f"{task}-{status.attempt}"
        if output["job"] != job or self.runs.get(output["number"]) != job:
            self.blame("result", f"{task}: attempt {status.attempt} got the result of {output['job']}")

    def _one_of_a_key(self, spec: Spec) -> None:
        for other, known in self.specs.items():
            status = self.last(other)
            held = bool(spec.key) and other != spec.id and known.key == spec.key
            if held and status is not None and not states.is_final(status.state):
                self.blame("key", f"{spec.id} beside {other}: both have key {spec.key}")

    # -- what clients see ----------------------------------------------------------------------------------------------

    def acknowledge(self, task: str) -> None:
        """A client was told that the task is stored."""
        self.acknowledged.setdefault(task, self._now())
        if task not in self.history:
            self.blame("acknowledged", f"{task} is not stored")

    def read(self, task: str, view: TaskView | None, asked_at: float) -> None:
        """A client was told how a task stands; ``None`` = that it is not known."""
        history = self.history.get(task, [])
        old = [status for at, status in history if at <= asked_at - STALE_S]
        if view is None:
            if old:
                self.blame("read", f"{task} is said to be unknown")
            return
        if states.is_final(view.state) and all(status.state != view.state for _, status in history):
            self.blame("read", f"{task} is said to be {view.state}, which is not stored")
        if old and states.is_final(old[-1].state) and view.state != old[-1].state and task not in self.revivable:
            self.blame("read", f"{task} is said to be {view.state}, but was {old[-1].state} for long")

    # -- the end -------------------------------------------------------------------------------------------------------

    def last(self, task: str) -> Status | None:
        """How a task stands in the log."""
        history = self.history.get(task)
        return history[-1][1] if history else None

    def unfinished(self) -> list[str]:
        """Tasks that are stored and not final."""
        return [task for task, history in self.history.items() if not states.is_final(history[-1][1].state)]

    def sum_up(self) -> None:
        """What is left in the log must tell the same as all that was ever in it."""
        ledger = Ledger(1_000)
        for message in self._stream.after(1, "", 1_000_000):
            for entry in unpack(message.data):
                ledger.restore(entry)
        for task, at in self.acknowledged.items():
            if task not in ledger.tasks:
                self.blame("lost", f"{task}, acknowledged at {at - 1_000:.3f}, is not in the log")
        for task in self.unfinished():
            self.blame("liveness", f"{task} is still {self.history[task][-1][1].state}")
        for task in self.history:
            known, last = ledger.tasks.get(task), self.last(task)
            if known is not None and known.status != last:
                self.blame("lost", f"{task} reads as {known.status.state}")


def _is_rewritten(known: Status, status: Status) -> bool:
    """True if nothing has happened: a pause that is over, or was moved with the clock, needs no record."""
    if known == status:
        return True
    waits = known.state == "scheduled" and status.state in {"scheduled", "queued"}
    return waits and known.tries == status.tries and known.attempt == status.attempt


def _short(status: Status) -> str:
    due = f" due {status.due:.3f}" if status.due else ""
    last = status.tries[-1].outcome if status.tries else ""
    return f"{status.state}{due} attempt {status.attempt} used {status.used} {last}".rstrip()
