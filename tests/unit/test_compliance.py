"""The compliance report: each part from where it is true now."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest

from actors.refining.clerk import Clerk
from actors.refining.compliance import ComplianceDesk, summarize_access
from chimera.audit import GENESIS, Anchor, AnchorFile, AuditLog, Draft, link
from chimera.bus.contract import StreamSpec
from chimera.bus.memory import MemoryBus, MemoryHub
from chimera.config import Settings, load
from chimera.config.drift import drift
from chimera.metrics import Metrics
from chimera.testing import ManualClock
from subjects.report import Access, AuditEntry, GetAudit, GetCompliance, VerifyAudit
from tests.support.figures import store_in

pytestmark = pytest.mark.anyio


def draft(verb: str = "deploy", *, by: str = "operator", outcome: str = "asked", at: float = 1.0) -> Draft:
    """An act."""
    return Draft(at=at, node="n", actor="agent", verb=verb, by=by, face="http", outcome=outcome, digest="d")


class Stage:
    """An audit log that runs, on a bus."""

    def __init__(self, bus: MemoryBus, log: AuditLog, anchor: AnchorFile) -> None:
        self.bus, self.log, self.anchor = bus, log, anchor
        self.metrics = Metrics()

    @asynccontextmanager
    async def desk(self, folder: Path, settings: Settings) -> AsyncGenerator[ComplianceDesk]:
        """The part under test."""
        async with store_in(folder) as store:
            yield ComplianceDesk(
                log=self.log, bus=self.bus, store=store, settings=settings, sources={"log.level": "LOG_LEVEL"},
                metrics=self.metrics, clock=ManualClock(),
            )  # fmt: skip


@asynccontextmanager
async def stage(folder: Path) -> AsyncGenerator[Stage]:
    """With an anchor in this folder."""
    anchor = AnchorFile(folder / "anchor.json")
    async with MemoryBus(MemoryHub()) as bus, anyio.create_task_group() as group:
        log = AuditLog(bus, ManualClock(), anchor)
        await log.open()
        group.start_soon(log.run)
        yield Stage(bus, log, anchor)
        group.cancel_scope.cancel()


def settings_in(folder: Path, **flags: str) -> Settings:
    """Settings of a node in this folder."""
    return load(
        env={"HOME": str(folder)}, flags={name.replace("__", "."): value for name, value in flags.items()}
    ).settings


async def test_everything_is_computed_now(tmp_path: Path):
    """Audit, access, logins, retention, drift, versions and durability are those of this moment."""
    async with stage(tmp_path) as on, on.desk(tmp_path, settings_in(tmp_path, log__level="debug")) as desk:
        number = await on.log.record(draft())
        await on.log.record(msgspec.structs.replace(draft(outcome="ok"), of=number))
        await on.log.record(draft("retire", by="eve", outcome="denied"))
        await on.bus.declare(StreamSpec("KPI", ("chimera.kpi.>",), max_age_s=60.0, max_bytes=1000))
        await on.bus.append("chimera.kpi.a", b"12345", msg_id="1")
        on.metrics.counter("chimera_auth_failures_total", "wrong").inc()
        on.metrics.counter("chimera_auth_failures_total", "missing").inc(2)
        found = await desk.report(GetCompliance())
    assert (found.audit.intact, found.audit.entries, found.audit.anchor_agrees) == (True, 3, True)
    assert found.access == [
        Access(by="eve", verb="agent.retire", done=0, refused=1),
        Access(by="operator", verb="agent.deploy", done=1, refused=0),
    ]
    assert found.auth_failures == 3
    kept = {one.stream: one for one in found.retention}
    assert (kept["KPI"].max_age_s, kept["KPI"].max_bytes, kept["KPI"].messages) == (60.0, 1000, 1)
    assert kept["KPI"].oldest_at is not None
    assert (kept["AUDIT"].max_age_s, kept["AUDIT"].messages) == (None, 3)
    assert set(kept) == {"KPI", "AUDIT"}
    assert [(one.setting, one.shipped, one.now, one.source) for one in found.drift] == [
        ("log.level", "info", "debug", "LOG_LEVEL")
    ]
    assert found.versions["store"] == "sqlite"
    assert found.versions["wasmtime"]
    assert "power cut" in found.durability


async def test_a_log_that_was_rewritten_is_told(tmp_path: Path):
    """An anchor that the log does not agree with makes the report say so."""
    async with stage(tmp_path) as on, on.desk(tmp_path, settings_in(tmp_path)) as desk:
        await on.log.record(draft())
        on.anchor.write(Anchor(1, "f" * 64, 1.0))
        found = await desk.report(GetCompliance())
        check = await Clerk(on.log).verify(VerifyAudit())
    assert not found.audit.intact
    assert "rewritten" in found.audit.reason
    assert check == found.audit
    assert found.drift == []


async def test_access_counts_from_the_moment_asked_for(tmp_path: Path):
    """Older acts are left out."""
    async with stage(tmp_path) as on, on.desk(tmp_path, settings_in(tmp_path)) as desk:
        for at in (10.0, 20.0, 30.0):
            await on.log.record(draft(outcome="ok", at=at))
        found = await desk.report(GetCompliance(since=20.0))
    assert found.access == [Access(by="operator", verb="agent.deploy", done=2, refused=0)]


async def test_entries_come_newest_first_in_pages(tmp_path: Path):
    """Filters hold, and ``next`` leads through all of them without a gap."""
    async with stage(tmp_path) as on:
        for number in range(7):
            await on.log.record(draft("deploy" if number % 2 else "retire", by="a" if number < 4 else "b"))
        clerk = Clerk(on.log)
        first = await clerk.page(GetAudit(limit=3))
        second = await clerk.page(GetAudit(limit=3, before=first.next or 0))
        last = await clerk.page(GetAudit(limit=3, before=second.next or 0))
        mine = await clerk.page(GetAudit(verb="retire", by="a"))
    numbers = [[entry.number for entry in page.entries] for page in (first, second, last)]
    assert numbers == [[7, 6, 5], [4, 3, 2], [1]]
    assert last.next is None
    assert [entry.number for entry in mine.entries] == [3, 1]


def test_an_act_without_an_outcome_is_neither_done_nor_refused():
    """What was only asked, because the node died under it, is not counted as done."""
    entries: list[AuditEntry] = [link(draft(), 1, GENESIS)]
    assert summarize_access(entries) == []


def test_drift_hides_passwords_and_names_the_tree(tmp_path: Path):
    """A URL's password is not shown; a node's own name and folder are no drift; an unknown source is said."""
    url = "postgresql://me:secret@localhost/x"
    found = {one.setting: one for one in drift(settings_in(tmp_path, store__url=url, node__name="pi"), {})}
    assert set(found) == {"store.url"}
    assert "secret" not in str(found["store.url"].now)
    assert found["store.url"].source == "unknown"
    assert drift(settings_in(tmp_path), {}) == []
