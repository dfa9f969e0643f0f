"""Reports, compliance, and the audit log's faces."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from ._message import Reply, Request
from ._operation import Http, Operation, Port
from ._types import Count, Document, Page
from .experiment import Budget
from .insight import Accuracy, Anomaly, Comparison, Figures, Pattern
from .task import MaybeToken, UnixTime, Word


class Hour(Reply, frozen=True, kw_only=True):
    """One bucket of a report's plots."""

    at: float
    tasks: Count
    errors: Count
    p50_ms: float | None
    p95_ms: float | None


class ExperimentLine(Reply, frozen=True, kw_only=True):
    """An experiment in a report."""

    id: str
    agent: str
    state: str
    candidate: int | None
    effect: float | None
    messages: Count
    reason: str


class LoadForecast(Reply, frozen=True, kw_only=True):
    """The busiest moment ahead, by the live load forecasters: tasks a second with their interval.

    ``workers`` suffice at the interval's upper end. ``until`` is as far as the ``models`` were tested.
    """

    at: float
    until: float
    per_s: float
    low_per_s: float
    high_per_s: float
    confidence: float
    workers: Count
    models: list[str]


class CapacityAdvice(Reply, frozen=True, kw_only=True):
    """Workers by Little's law from arrival rate and mean run; ``because`` shows the figures.

    The greater of what the busiest hour took and what the ``forecast`` asks for, if there is one.
    """

    workers_now: Count
    workers_advised: Count
    utilization: float | None
    because: str
    forecast: LoadForecast | None = None


class Report(Reply, frozen=True, kw_only=True):
    """A day or a week, from recorded figures only. What has no data yet is absent or ``None``, never made up."""

    period: Literal["daily", "weekly"]
    since: float
    until: float
    node: str
    version: str
    agents: list[Figures]
    hours: list[Hour]
    comparison: list[Comparison]
    experiments: list[ExperimentLine]
    promotions: Count
    rollbacks: Count
    budget: Budget
    tunes: list[Document]
    evolution: Document | None
    cost: Document | None
    capacity: CapacityAdvice
    patterns: list[Pattern]
    anomalies: list[Anomaly]
    accuracy: Accuracy | None


class GetReport(Request[Report], frozen=True, kw_only=True):
    """The report of the day or week that ends at ``until`` (now by default). HTML on ``Accept: text/html``."""

    period: Literal["daily", "weekly"] = "daily"
    until: UnixTime = 0.0


class DailyReport(Request[Report], frozen=True, kw_only=True):
    """The last 24 hours."""

    until: UnixTime = 0.0


class WeeklyReport(Request[Report], frozen=True, kw_only=True):
    """The last seven days."""

    until: UnixTime = 0.0


class AuditEntry(Reply, frozen=True, kw_only=True):
    """One privileged act, chained to the one before by its hash (``previous``).

    An act has two entries: before it is done, with the outcome ``asked``, and after, with ``ok`` or an error's code;
    ``of`` of the second is the number of the first. ``digest`` is the sha256 of the request.
    """

    number: Count
    at: float
    node: str
    actor: str
    verb: str
    by: str
    face: Literal["http", "nats", "actor", "cli"]
    outcome: str
    digest: str
    previous: str
    hash: str
    of: Count | None = None
    note: str = ""


class AuditCheck(Reply, frozen=True, kw_only=True):
    """Whether the chain holds from the first entry to the last, and agrees with the outside anchor.

    ``broken_at`` is the number of the first entry that does not fit; ``anchor`` the newest hash kept outside the log.
    """

    intact: bool
    entries: Count
    first_at: float | None
    last_at: float | None
    head: str
    anchor: str
    anchor_number: Count
    anchor_agrees: bool
    broken_at: Count | None
    reason: str


class Access(Reply, frozen=True, kw_only=True):
    """How often who did what, and how often it was refused."""

    by: str
    verb: str
    done: Count
    refused: Count


class Drifted(Reply, frozen=True, kw_only=True):
    """A setting that is not what the shipped profile says, and where its value comes from."""

    setting: str
    shipped: Any
    now: Any
    source: str


class Retention(Reply, frozen=True, kw_only=True):
    """How long and how much a stream may keep, and what it holds."""

    stream: str
    max_age_s: float | None
    max_bytes: Count | None
    messages: Count
    bytes: Count
    oldest_at: float | None


class Compliance(Reply, frozen=True, kw_only=True):
    """Audit trail verified now, access summary, retention, configuration drift, versions."""

    at: float
    audit: AuditCheck
    access: list[Access]
    auth_failures: Count
    retention: list[Retention]
    drift: list[Drifted]
    versions: dict[str, str]
    durability: str


class GetCompliance(Request[Compliance], frozen=True, kw_only=True):
    """The compliance report, computed now."""

    since: UnixTime = 0.0


class AuditPage(Reply, frozen=True, kw_only=True):
    """Entries, newest first; ``next`` goes into ``before``."""

    entries: list[AuditEntry]
    next: Count | None


class GetAudit(Request[AuditPage], frozen=True, kw_only=True):
    """The audit log by filter; empty fields do not filter."""

    verb: MaybeToken = ""
    by: Word = ""
    since: UnixTime = 0.0
    before: Annotated[int, Meta(ge=0)] = 0
    limit: Page = 100


class VerifyAudit(Request[AuditCheck], frozen=True, kw_only=True):
    """Follow the chain from its first entry and compare it with the outside anchor."""


DAILY = Operation(
    "optimizer", "daily_report", DailyReport, Report, Port.REFINEMENT, "The last 24 hours, as JSON or HTML",
    http=(Http("GET", "/api/reports/daily"),), safe=True, timeout_s=30.0,
)  # fmt: skip
WEEKLY = Operation(
    "optimizer", "weekly_report", WeeklyReport, Report, Port.REFINEMENT, "The last seven days, as JSON or HTML",
    http=(Http("GET", "/api/reports/weekly"),), safe=True, timeout_s=30.0,
)  # fmt: skip
REPORT = Operation(
    "optimizer", "report", GetReport, Report, Port.REFINEMENT, "The report of a day or week",
    safe=True, timeout_s=30.0,
)  # fmt: skip
COMPLIANCE = Operation(
    "optimizer", "compliance", GetCompliance, Compliance, Port.REFINEMENT, "Audit, access, retention, drift, versions",
    http=(Http("GET", "/api/compliance/report"),), safe=True, timeout_s=30.0,
)  # fmt: skip
AUDIT = Operation(
    "optimizer", "audit", GetAudit, AuditPage, Port.REFINEMENT, "Privileged acts, newest first",
    http=(Http("GET", "/api/audit"),), safe=True,
)  # fmt: skip
VERIFY_AUDIT = Operation(
    "optimizer", "verify_audit", VerifyAudit, AuditCheck, Port.REFINEMENT, "Follow the audit log's hash chain",
    http=(Http("GET", "/api/audit/verify"),), safe=True, timeout_s=30.0,
)  # fmt: skip

OPERATIONS: tuple[Operation[Any, Any], ...] = (DAILY, WEEKLY, REPORT, COMPLIANCE, AUDIT, VERIFY_AUDIT)
