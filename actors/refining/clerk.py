"""The audit log's faces: entries by filter, and the chain followed on demand."""

from __future__ import annotations

from dataclasses import dataclass

from chimera.audit import AuditLog
from subjects.report import AuditCheck, AuditEntry, AuditPage, GetAudit, VerifyAudit


@dataclass(frozen=True, slots=True)
class Clerk:
    """Shows the audit log.

    Attributes:
        log: The log.
    """

    log: AuditLog

    async def page(self, message: GetAudit) -> AuditPage:
        """Entries by filter, newest first.

        Raises:
            CorruptError: If the log can't be read.
        """
        found: list[AuditEntry] = []
        async for entry in self.log.entries():
            if _matches(entry, message):
                found.append(entry)
                del found[: -message.limit - 1]
        newest = found[::-1]
        more = len(newest) > message.limit
        shown = newest[: message.limit]
        return AuditPage(entries=shown, next=shown[-1].number if more else None)

    async def verify(self, _message: VerifyAudit) -> AuditCheck:
        """Follow the chain from its first entry and compare it with the anchor."""
        return await self.log.verify()


def _matches(entry: AuditEntry, wanted: GetAudit) -> bool:
    return (
        (not wanted.verb or entry.verb == wanted.verb)
        and (not wanted.by or entry.by == wanted.by)
        and entry.at >= wanted.since
        and (not wanted.before or entry.number < wanted.before)
    )
