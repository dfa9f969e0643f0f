"""The log of all tasks: see ``chimera.journal``. Entries are absolute, so compaction writes living tasks again."""

from __future__ import annotations

from actors.queueing.records import Entry, pack, unpack
from chimera.bus.contract import Bus, StreamSpec
from chimera.clock import Clock
from chimera.journal import GROUP_BYTES, LEASE_S, Group, LogKind
from chimera.journal import Journal as AnyJournal

STREAM = "TASKS"
SUBJECT = "chimera.task.log"
LOG: LogKind[Entry] = LogKind(STREAM, SUBJECT, "scheduler", pack, unpack)

__all__ = ["GROUP_BYTES", "LEASE_S", "LOG", "STREAM", "SUBJECT", "Group", "Journal", "stream_spec"]


def stream_spec(replicas: int = 1) -> StreamSpec:
    """The stream as it must be: no limits, because compaction bounds it and admission bounds that."""
    return LOG.spec(replicas)


class Journal(AnyJournal[Entry]):
    """The one writer of the log of all tasks, once it has taken the lead."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        super().__init__(bus, clock, LOG)
