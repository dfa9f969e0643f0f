"""``chimera report`` and ``chimera audit``: what is asked, what is shown, and the exit code."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from chimera.cli.command import Exit
from chimera.cli.main import main
from subjects import Operation
from subjects.report import AuditCheck, AuditEntry, AuditPage, CapacityAdvice, Hour, Report
from tests.support.figures import BUDGET, NOW

REPORT = Report(
    period="daily", since=NOW - 86_400, until=NOW, node="n", version="1", agents=[],
    hours=[Hour(at=NOW - 3600, tasks=7, errors=1, p50_ms=2.0, p95_ms=3.0)], comparison=[], experiments=[], promotions=2,
    rollbacks=1, budget=BUDGET, tunes=[], evolution=None, cost=None, patterns=[], anomalies=[], accuracy=None,
    capacity=CapacityAdvice(workers_now=2, workers_advised=1, utilization=0.1, because="7 tasks"),
)  # fmt: skip
ENTRY = AuditEntry(
    number=4, at=NOW, node="n", actor="agent", verb="deploy", by="operator", face="http", outcome="ok", digest="d",
    previous="p", hash="h", of=3, note="name=sentiment",
)  # fmt: skip
CHECK = AuditCheck(
    intact=True, entries=4, first_at=1.0, last_at=NOW, head="h", anchor="h", anchor_number=4, anchor_agrees=True,
    broken_at=None, reason="",
)  # fmt: skip


class FakeClient:
    """Answers with what a test put there."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.answers: dict[str, Any] = {
            "daily_report": REPORT, "weekly_report": msgspec.structs.replace(REPORT, period="weekly"),
            "audit": AuditPage(entries=[ENTRY], next=None), "verify_audit": CHECK,
        }  # fmt: skip

    async def ask(self, operation: Operation[Any, Any], body: Any) -> Any:
        """Plain data, as over the wire."""
        self.asked.append((operation.verb, body))
        return msgspec.to_builtins(self.answers[operation.verb])


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    """Instead of a running system."""
    fake = FakeClient()

    def with_client(_settings: Any, work: Callable[[FakeClient], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            return await work(fake)

        return anyio.run(run)

    monkeypatch.setattr("chimera.cli.client.with_client", with_client)
    return fake


def test_a_report_as_figures_and_as_json(client: FakeClient, capsys: pytest.CaptureFixture[str]):
    """The daily one by default; ``--weekly`` asks for the other; ``--json`` gives it whole."""
    assert main(["report"]) == Exit.DONE
    assert "2, 1: 7 tasks" in capsys.readouterr().out
    assert main(["report", "--weekly", "--json"]) == Exit.DONE
    assert msgspec.convert(json.loads(capsys.readouterr().out), Report).period == "weekly"
    assert [verb for verb, _ in client.asked] == ["daily_report", "weekly_report"]


def test_a_report_as_a_page(client: FakeClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """``--html`` writes the page and says where; a folder that is not there is said, not traced."""
    assert main(["report", "--html", str(tmp_path / "r.html")]) == Exit.DONE
    page = (tmp_path / "r.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "7 tasks, 1 of them failed." in page
    assert "r.html" in capsys.readouterr().err
    assert main(["report", "--html", str(tmp_path / "no" / "r.html")]) == Exit.USAGE
    assert "can't be written" in capsys.readouterr().err
    assert len(client.asked) == 2


def test_audit_entries_by_filter(client: FakeClient, capsys: pytest.CaptureFixture[str]):
    """Filters travel, and each entry is a line."""
    assert main(["audit", "--verb", "deploy", "--by", "operator", "-n", "5"]) == Exit.DONE
    out = capsys.readouterr().out
    assert client.asked == [
        ("audit", {"verb": "deploy", "by": "operator", "since": 0.0, "before": 0, "limit": 5}),
    ]  # fmt: skip
    assert "name=sentiment" in out
    assert "2027-01-15 08:00:00" in out


def test_verifying_fails_where_the_chain_is_broken(client: FakeClient, capsys: pytest.CaptureFixture[str]):
    """The exit code says it for scripts, the words for people."""
    assert main(["audit", "verify"]) == Exit.DONE
    client.answers["verify_audit"] = msgspec.structs.replace(CHECK, intact=False, broken_at=2, reason="was rewritten")
    assert main(["audit", "verify"]) == Exit.FAILED
    assert "BROKEN at 2: was rewritten" in capsys.readouterr().out
