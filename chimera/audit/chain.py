"""The chain of audit entries: each holds the hash of the one before, so that none can be changed or left out unseen.

Haber and Stornetta, "How to time-stamp a digital document", J. Cryptology 3 (1991), section 5.1 (linking). Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

import msgspec

from subjects.report import AuditCheck, AuditEntry

GENESIS = "0" * 64
"""What the first entry names as the hash before it."""

Face = Literal["http", "nats", "actor", "cli"]
_encode = msgspec.json.Encoder(order="deterministic").encode


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An entry before it has its place in the chain. ``of`` is the number of the entry whose outcome this is."""

    at: float
    node: str
    actor: str
    verb: str
    by: str
    face: Face
    outcome: str
    digest: str
    of: int | None = None
    note: str = ""


def link(draft: Draft, number: int, previous: str) -> AuditEntry:
    """The entry with this number after the one whose hash is ``previous``."""
    entry = AuditEntry(
        number=number, at=draft.at, node=draft.node, actor=draft.actor, verb=draft.verb, by=draft.by, face=draft.face,
        outcome=draft.outcome, digest=draft.digest, previous=previous, hash="", of=draft.of, note=draft.note,
    )  # fmt: skip
    return msgspec.structs.replace(entry, hash=hash_of(entry))


def hash_of(entry: AuditEntry) -> str:
    """sha256 of everything in the entry but its own hash."""
    return hashlib.sha256(_encode(msgspec.structs.replace(entry, hash=""))).hexdigest()


def check_chain(entries: Iterable[AuditEntry], *, anchor: str = "", anchor_number: int = 0) -> AuditCheck:
    """Follow the chain. An anchor beyond the last entry, or with another hash, shows a log that was cut or rewritten.

    Args:
        entries: All of them, oldest first; the first may be later than 1 where retention cut the beginning off.
        anchor: The hash kept outside the log; empty = there is none yet.
        anchor_number: Which entry it is of.
    """
    first: AuditEntry | None = None
    last: AuditEntry | None = None
    count, reason, broken, anchored = 0, "", None, ""
    for entry in entries:
        first = first or entry
        if broken is None and (why := _fault(entry, last)):
            broken, reason = entry.number, why
        if entry.number == anchor_number:
            anchored = entry.hash
        last, count = entry, count + 1
    agrees = not anchor or anchored == anchor
    if broken is None and not agrees:
        reason = _disagreement(last, anchored, anchor_number)
    return AuditCheck(
        intact=broken is None and agrees, entries=count, first_at=first.at if first else None,
        last_at=last.at if last else None, head=last.hash if last else GENESIS, anchor=anchor,
        anchor_number=anchor_number, anchor_agrees=agrees, broken_at=broken, reason=reason,
    )  # fmt: skip


def _fault(entry: AuditEntry, before: AuditEntry | None) -> str:
    if hash_of(entry) != entry.hash:
        return "its content does not match its hash"
    if before is None:
        return "" if entry.number > 1 or entry.previous == GENESIS else "it is the first but names one before it"
    if entry.number != before.number + 1:
        return f"it follows number {before.number}"
    return "" if entry.previous == before.hash else "it does not name the hash of the entry before it"


def _disagreement(last: AuditEntry | None, anchored: str, number: int) -> str:
    if anchored:
        return f"entry {number} is not the one that was anchored: the log was rewritten"
    end = last.number if last else 0
    return f"the log ends at {end}, but entry {number} was anchored: the end, or the log, is missing"
