"""The compliance report: the audit chain followed now, who did what, what is kept how long, and what was changed."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib import metadata

from chimera import __version__
from chimera.audit import AuditLog
from chimera.bus.contract import Bus
from chimera.clock import Clock
from chimera.config import Settings
from chimera.config.drift import drift
from chimera.errors import BusDownError, ChimeraError
from chimera.metrics import Metrics
from chimera.node.status import PROMISES
from chimera.store.contract import Store
from subjects.report import (
    Access,
    AuditEntry,
    Compliance,
    Drifted,
    GetCompliance,
    Retention,
)

STREAMS = ("KPI", "EVENTS", "AUDIT", "TASKS", "DEAD", "LOOP")
"""Streams whose retention is reported, as far as they are there."""

_PACKAGES = ("nats-py", "wasmtime", "msgspec", "starlette", "uvicorn", "numpy", "scipy", "optuna", "river", "ruptures")
_ASKED, _OK = "asked", "ok"


class ComplianceDesk:
    """Makes compliance reports.

    Args:
        log: The audit log.
        bus: Knows what streams hold.
        store: Which backend keeps projections.
        settings: Those in force on this node.
        sources: Where each came from, by its dotted name; empty = not known.
        metrics: Counted the refused logins.
        clock: Time.
        streams: See ``STREAMS``.
    """

    def __init__(
        self, *, log: AuditLog, bus: Bus, store: Store, settings: Settings, sources: Mapping[str, str],
        metrics: Metrics, clock: Clock, streams: Sequence[str] = STREAMS,
    ) -> None:  # fmt: skip
        self._log, self._bus, self._store = log, bus, store
        self._settings, self._sources = settings, sources
        self._metrics, self._clock, self._streams = metrics, clock, streams

    async def report(self, message: GetCompliance) -> Compliance:
        """Everything computed now. ``auth_failures`` are those of this node since it started.

        Raises:
            BusDownError: If the bus can't be reached.
            CorruptError: If the audit log can't be read.
        """
        check = await self._log.verify()
        access = await self._access(message.since) if check.entries else []
        return Compliance(
            at=self._clock.time(), audit=check, access=access,
            auth_failures=int(self._metrics.total("chimera_auth_failures_total")),
            retention=await self._retention(), drift=self._drift(), versions=self._versions(),
            durability=PROMISES.get(self._settings.nats.durability, self._settings.nats.durability),
        )  # fmt: skip

    async def _access(self, since: float) -> list[Access]:
        return summarize_access([entry async for entry in self._log.entries() if entry.at >= since])

    async def _retention(self) -> list[Retention]:
        found: list[Retention] = []
        for stream in self._streams:
            try:
                held = await self._bus.stream_holding(stream)
            except BusDownError:
                raise
            except ChimeraError:  # not on this system: a layer that does not run has no stream
                continue
            most = held.max_bytes if held.max_bytes >= 0 else None
            found.append(Retention(
                stream=stream, max_age_s=held.max_age_s or None, max_bytes=most,
                messages=held.messages, bytes=held.bytes, oldest_at=held.oldest_at,
            ))  # fmt: skip
        return found

    def _drift(self) -> list[Drifted]:
        return drift(self._settings, self._sources)

    def _versions(self) -> dict[str, str]:
        found = {"chimera": __version__, "python": platform.python_version()}
        for package in _PACKAGES:
            with suppress(metadata.PackageNotFoundError):
                found[package] = metadata.version(package)
        return {**found, "store": self._store.statistics().backend}


def summarize_access(entries: Iterable[AuditEntry]) -> list[Access]:
    """How often who did what and was refused, most frequent first. An act without an outcome yet counts as neither."""
    done: Counter[tuple[str, str]] = Counter()
    refused: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        key = (entry.by, f"{entry.actor}.{entry.verb}")
        if entry.outcome == _OK:
            done[key] += 1
        elif entry.outcome != _ASKED:
            refused[key] += 1
    keys = sorted(done.keys() | refused.keys(), key=lambda key: (-done[key] - refused[key], key))
    return [Access(by=by, verb=verb, done=done[by, verb], refused=refused[by, verb]) for by, verb in keys]
