"""The audit log: the chain, the anchor, and that nothing privileged is done unrecorded."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest

from chimera import Actor, System, handles
from chimera.audit import STREAM, Anchor, AnchorFile, AuditLog, Auditor, Draft, check_chain, link
from chimera.audit.log import SUBJECT
from chimera.bus.memory import MemoryBus, MemoryHub
from chimera.errors import CorruptError, NoAgentError, UnavailableError
from chimera.testing import ManualClock
from subjects.agent import CheckHealth, Rollback
from subjects.report import AuditEntry
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


def draft(note: str = "") -> Draft:
    """An act."""
    return Draft(
        at=1.0, node="one", actor="agent", verb="deploy", by="operator", face="http", outcome="asked", digest="d",
        note=note,
    )  # fmt: skip


def chain(count: int) -> list[AuditEntry]:
    """So many linked entries."""
    entries: list[AuditEntry] = []
    for number in range(1, count + 1):
        entries.append(link(draft(str(number)), number, entries[-1].hash if entries else "0" * 64))
    return entries


def test_a_whole_chain_is_intact() -> None:
    """Entries that name each other's hashes, up to the anchored one, are intact."""
    entries = chain(5)
    check = check_chain(entries, anchor=entries[3].hash, anchor_number=4)
    assert (check.intact, check.entries, check.head, check.reason) == (True, 5, entries[-1].hash, "")
    assert check_chain([]).intact


@pytest.mark.parametrize("field", ["at", "node", "actor", "verb", "by", "face", "outcome", "digest", "note", "of"])
def test_any_changed_field_breaks_the_chain(field: str) -> None:
    """No field of an entry can be changed unseen."""
    entries = chain(3)
    other = 9.0 if field == "at" else 7 if field == "of" else "nats"
    entries[1] = msgspec.structs.replace(entries[1], **{field: other})
    assert check_chain(entries).broken_at == 2


def test_a_missing_or_swapped_entry_breaks_the_chain() -> None:
    """Leaving an entry out, or changing the order, is seen."""
    entries = chain(4)
    assert check_chain([entries[0], entries[2]]).broken_at == 3
    assert check_chain([entries[0], entries[2], entries[1]]).broken_at == 3


def test_an_entry_rewritten_with_its_hash_breaks_at_the_next() -> None:
    """Who computes a new hash for a forged entry must forge everything after it."""
    entries = chain(3)
    entries[1] = link(draft("forged"), 2, entries[0].hash)
    assert check_chain(entries).broken_at == 3


def test_the_anchor_shows_a_log_that_was_cut_or_written_anew() -> None:
    """A log that is intact in itself but not the one that was anchored is refused, and the reason says which."""
    entries = chain(4)
    anchor = entries[3].hash
    cut = check_chain(entries[:2], anchor=anchor, anchor_number=4)
    assert not cut.intact
    assert "ends at 2" in cut.reason
    forged = [*entries[:3], link(draft("forged"), 4, entries[2].hash)]
    assert "rewritten" in check_chain(forged, anchor=anchor, anchor_number=4).reason


def test_the_anchor_file_keeps_the_newest_hash(tmp_path: Path) -> None:
    """What was written is read; nothing there is no anchor; rubbish is an error that names the file."""
    file = AnchorFile(tmp_path / "deep" / "anchor.json")
    assert file.read() is None
    file.write(Anchor(3, "abc", 1.0))
    file.write(Anchor(4, "abd", 2.0))
    assert file.read() == Anchor(4, "abd", 2.0)
    file.path.write_text("rubbish")
    with pytest.raises(CorruptError, match=r"anchor\.json"):
        file.read()


@asynccontextmanager
async def writing(hub: MemoryHub, anchor: AnchorFile | None = None) -> AsyncGenerator[AuditLog]:
    """A log that is being written."""
    async with MemoryBus(hub) as bus, anyio.create_task_group() as group:
        log = AuditLog(bus, ManualClock(), anchor)
        await log.open()
        group.start_soon(log.run)
        yield log
        group.cancel_scope.cancel()


async def test_writers_on_two_nodes_make_one_chain(tmp_path: Path) -> None:
    """Nodes that write at once chain on to each other's entries; each entry is there once."""
    hub, file = MemoryHub(), AnchorFile(tmp_path / "anchor.json")
    numbers: list[int] = []

    async def write(log: AuditLog) -> None:
        numbers.append(await log.record(draft()))

    async with writing(hub, file) as one, writing(hub) as two:
        async with anyio.create_task_group() as group:
            for _ in range(30):
                group.start_soon(write, one)
                group.start_soon(write, two)
        assert sorted(numbers) == list(range(1, 61))
        await one.record(draft())
        check = await two.verify()
        assert (check.intact, check.entries) == (True, 61)
        assert (await one.verify()).anchor_number == 61


async def test_a_log_goes_on_where_it_ended() -> None:
    """A restarted node continues the chain."""
    hub = MemoryHub()
    async with writing(hub) as one:
        assert await one.record(draft()) == 1
    async with writing(hub) as one:
        assert await one.record(draft()) == 2
        assert (await one.verify()).intact


async def test_rubbish_in_the_stream_is_said(tmp_path: Path) -> None:
    """A message that holds no entries is no reason to fail, but the log is not intact."""
    async with MemoryBus(MemoryHub()) as bus:
        log = AuditLog(bus, ManualClock(), AnchorFile(tmp_path / "anchor.json"))
        await log.open()
        await bus.append(SUBJECT, b"rubbish", msg_id="x")
        check = await log.verify()
        assert not check.intact
        assert STREAM in check.reason


class Gate(Actor, name="agent"):
    """Has one privileged and one safe handler."""

    acts = 0

    @handles
    async def rollback(self, message: Rollback) -> None:
        """Count it, or fail as asked."""
        Gate.acts += 1
        if message.name == "nobody":
            raise NoAgentError("there is no agent 'nobody'")

    @handles
    async def health(self, _message: CheckHealth) -> None:
        """Nothing."""


@asynccontextmanager
async def audited(hub: MemoryHub) -> AsyncGenerator[tuple[System, AuditLog]]:
    """A node whose privileged acts are recorded."""
    async with writing(hub) as log, MemoryBus(hub) as bus, System(bus, node="one") as system:
        system.auditor = Auditor(log, "one", ManualClock())
        await system.spawn(Gate)
        yield system, log


async def test_privileged_acts_are_recorded_with_their_outcome() -> None:
    """Each act has an entry before and one after; what is safe has none; the note says what it was about."""
    async with audited(MemoryHub()) as (system, log):
        ref = system.ref("agent", node="one")
        await ref.ask(CheckHealth())
        await ref.ask(Rollback(name="sentiment", by="ann"))
        with pytest.raises(NoAgentError):
            await ref.ask(Rollback(name="nobody"))
        await until(lambda: log.written == 4)
        found = [(entry.verb, entry.by, entry.outcome, entry.of, entry.note) async for entry in log.entries()]
        assert found == [
            ("rollback", "ann", "asked", None, "name=sentiment"), ("rollback", "ann", "ok", 1, "name=sentiment"),
            ("rollback", "operator", "asked", None, "name=nobody"),
            ("rollback", "operator", "no-agent", 3, "name=nobody"),
        ]  # fmt: skip


async def test_what_cannot_be_recorded_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the log takes nothing, privileged acts are refused before their handler runs."""
    monkeypatch.setattr("chimera.audit.log.PATIENCE_S", 0.01)
    Gate.acts = 0
    async with MemoryBus(MemoryHub()) as bus, System(bus, node="one") as system:
        log = AuditLog(bus, ManualClock(), None)  # nobody writes it
        system.auditor = Auditor(log, "one", ManualClock())
        await system.spawn(Gate)
        with pytest.raises(UnavailableError, match="audit"):
            await system.ref("agent", node="one").ask(Rollback(name="sentiment"))
        assert Gate.acts == 0
