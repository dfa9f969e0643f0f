"""Dead letters: tasks that are not tried again, in a stream of their own, kept longer than the scheduler keeps tasks.

The log of tasks is the truth about what is dead. Each death becomes one letter on the subject
``chimera.dead.<agent>.<task>-<attempt>``, appended on the condition that the subject is empty: however often it is sent
again, after whatever crash, there is one. At its start a leader sends what is missing. When the task is revived, a
second message on the same subject says so, on the condition that it follows the letter; that one is made up for at the
start too. So a letter is answered at most once, and one that was answered does not come back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import msgspec

from actors.queueing.ledger import Ledger, Task
from actors.queueing.records import Moved, New, Spec, Status, pack, unpack
from chimera.bus.contract import Bus, StreamSpec
from chimera.clock import Clock
from chimera.errors import ChimeraError, FencedError
from chimera.journal import join

from .alarm import Alarm

DEAD_STREAM = "DEAD"
PREFIX = "chimera.dead"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_TIDY_S = 60.0


@dataclass(frozen=True, slots=True)
class LetterRules:
    """How long letters are kept, in seconds, and how many, in number and in bytes."""

    age_s: float = 30 * 86_400.0
    most: int = 10_000
    most_bytes: int = 256 << 20


@dataclass(slots=True)
class Letter:
    """A dead task. ``seq`` is its place in the stream; 0 = on its way there."""

    spec: Spec
    status: Status
    seq: int = 0

    @property
    def subject(self) -> str:
        """Where it is kept."""
        return f"{PREFIX}.{self.spec.agent}.{self.spec.id}-{self.status.attempt}"

    @property
    def task(self) -> Task:
        """As the ledger would have it."""
        return Task(self.spec, self.status)


def letters_spec(rules: LetterRules, replicas: int = 1) -> StreamSpec:
    """The stream as it must be."""
    return StreamSpec(
        DEAD_STREAM, (f"{PREFIX}.>",), max_age_s=rules.age_s, max_bytes=rules.most_bytes, replicas=replicas
    )


class Letters:
    """All letters that are not answered, oldest first. Only the leader has them.

    Args:
        bus: Where the stream is.
        clock: For pauses and ages.
        ledger: The tasks as the log has them.
        report: Writes to the event log.
        rules: What is kept.
        replicas: Copies of the stream.
    """

    def __init__(
        self, bus: Bus, clock: Clock, ledger: Ledger, report: Callable[..., None], *,
        rules: LetterRules, replicas: int = 1,
    ) -> None:  # fmt: skip
        self._bus, self._clock, self._ledger, self._report = bus, clock, ledger, report
        self._rules, self._replicas = rules, replicas
        self._letters: dict[str, Letter] = {}
        self._outbox: deque[Callable[[], Awaitable[None]]] = deque()
        self._not_dead: frozenset[str] = frozenset()
        self._dead: list[Task] = []
        self._early: set[str] | None = set()
        self._alarm = Alarm(clock)
        self.trouble = ""

    def __len__(self) -> int:
        return sum(name not in self._ledger.tasks for name in self._letters) + len(self._ledger.dead)

    @property
    def unsent(self) -> int:
        """Letters, and answers to them, that are not stored yet."""
        return len(self._outbox)

    def all(self) -> list[Task]:
        """Every dead task: those of the ledger, and those that only their letter remembers."""
        tasks = self._ledger.tasks
        return [*self._ledger.dead.values(), *(one.task for one in self._letters.values() if one.spec.id not in tasks)]

    def find(self, task_id: str) -> Task | None:
        """The task of a letter that the ledger has forgotten."""
        letter = self._letters.get(task_id)
        return letter.task if letter is not None else None

    def note(self) -> None:
        """What the log says, before the ledger forgets or moves anything: who is dead, and who is not (any more)."""
        tasks = self._ledger.tasks
        self._not_dead = frozenset(name for name, task in tasks.items() if task.status.state != "dead")
        self._dead = [Task(task.spec, task.status) for task in tasks.values() if task.status.state == "dead"]

    def write(self, spec: Spec, status: Status) -> None:
        """A task has died, and that is stored."""
        letter = self._letters[spec.id] = Letter(spec, status)
        self._post(partial(self._send, letter))

    def answer(self, task_id: str) -> None:
        """A task that may have a letter lives again, and that is stored."""
        letter = self._letters.pop(task_id, None)
        if self._early is not None:
            self._early.add(task_id)
        elif letter is not None:
            self._post(partial(self._mark, letter))

    async def run(self) -> None:
        """Read what there is, send what is missing, then what comes, for ever."""
        await self._patiently(self._load)
        self._reconcile()
        while True:
            while self._outbox:
                await self._patiently(self._outbox[0])
                self._outbox.popleft()
            await self._alarm.wait(_TIDY_S)
            await self._patiently(self._tidy)

    def _post(self, step: Callable[[], Awaitable[None]]) -> None:
        self._outbox.append(step)
        self._alarm.ring()

    async def _load(self) -> None:
        await self._bus.declare(letters_spec(self._rules, self._replicas))
        found: dict[str, Letter] = {}
        async with self._bus.read(DEAD_STREAM) as messages:
            async for message in messages:
                try:
                    entries = list(unpack(message.data))
                except msgspec.DecodeError as error:
                    self._report("record-rejected", f"letter {message.seq} can't be read: {error}", level="warning")
                    continue
                for entry in entries:
                    if isinstance(entry, New):
                        found.pop(entry.spec.id, None)
                        found[entry.spec.id] = Letter(entry.spec, entry.status, message.seq)
                    elif isinstance(entry, Moved) and entry.id in found and found[entry.id].subject == message.subject:
                        del found[entry.id]
        newer = self._letters  # died while the stream was read
        self._letters = {name: letter for name, letter in found.items() if name not in newer} | newer

    def _reconcile(self) -> None:
        early, self._early = self._early or set(), None
        answered = self._not_dead | early
        for name in [name for name, letter in self._letters.items() if letter.seq and name in answered]:
            self.answer(name)
        for task in self._dead:
            known = self._letters.get(task.spec.id)
            missing = known is None or known.status.attempt < task.status.attempt
            if missing and task.spec.id not in early and not self._is_over(task.status):
                self.write(task.spec, task.status)
        self._not_dead, self._dead = frozenset(), []

    def _is_over(self, status: Status) -> bool:
        """Too old to be kept, or older than all of as many as are kept."""
        if len(self._letters) >= self._rules.most:
            return status.since < min(letter.status.since for letter in self._letters.values())
        return status.since < self._clock.time() - self._rules.age_s

    async def _send(self, letter: Letter) -> None:
        data = join([pack(New(letter.spec, letter.status))])
        name = f"dead.{letter.spec.id}.{letter.status.attempt}"
        try:
            letter.seq = (await self._bus.append(letter.subject, data, msg_id=name, expected_last=0)).seq
        except FencedError:  # it is there: sent by a leader before us, or by us, and the answer was lost
            async with self._bus.read(DEAD_STREAM, subject=letter.subject) as messages:
                letter.seq = max([message.seq async for message in messages], default=0)

    async def _mark(self, letter: Letter) -> None:
        data = join([pack(Moved(letter.spec.id, letter.status))])
        name = f"answered.{letter.spec.id}.{letter.status.attempt}"
        try:
            await self._bus.append(letter.subject, data, msg_id=name, expected_last=letter.seq)
        except FencedError:  # marked already, or the letter's time was over
            return

    async def _tidy(self) -> None:
        """Drop what is too old or too much, here and in the stream."""
        begin = self._clock.time() - self._rules.age_s
        excess = len(self._letters) - self._rules.most
        gone = [
            name for at, (name, letter) in enumerate(self._letters.items())
            if letter.seq and (at < excess or letter.status.since < begin)
        ]  # fmt: skip
        for name in gone:
            del self._letters[name]
        if excess > 0 and (first := min((one.seq for one in self._letters.values() if one.seq), default=0)):
            await self._bus.purge(DEAD_STREAM, before_seq=first)

    async def _patiently(self, step: Callable[[], Awaitable[None]]) -> None:
        pause = _FIRST_PAUSE_S
        while True:
            try:
                await step()
            except ChimeraError as error:
                if not self.trouble:
                    self._report("data-access", f"dead letters are written later: {error.detail}", level="warning")
                self.trouble = error.detail
            else:
                self.trouble = ""
                return
            await self._clock.sleep(pause)
            pause = min(_LONGEST_PAUSE_S, pause * 2)
