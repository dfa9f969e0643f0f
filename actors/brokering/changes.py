"""Every change of a device's record, as a pure function: a new record, or a refusal that says why. Times are Unix s."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from msgspec.structs import replace

from .record import WHOLE, End, Grant, Line, Record, Refusal
from .tokens import next_token

MOST_GRANTS = 256
"""Shares of one device at most: a record must fit a message."""

MOST_LINES = 512
"""Ledger lines that may wait in a record; then nothing more is lent until they are stored."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One lease's part of one device, as it shall be granted; fields as in ``Grant``.

    ``memory_mib`` 0 means, of a GPU, the same share of the memory as of the compute.
    """

    lease: str
    devices: tuple[str, ...]
    milli: int
    memory_mib: int
    ttl_s: float
    layer: str = "operator"
    tenant: str = "default"
    agent: str = ""
    priority: int = 50
    preemptible: bool = False


def memory_of(record: Record, milli: int, memory_mib: int) -> int:
    """The memory that goes with so much compute: all of it with a whole GPU, else what is asked or its share."""
    if record.kind == "cpu":
        return memory_mib
    if milli >= record.milli:
        return record.memory_mib
    return memory_mib or record.memory_mib * milli // WHOLE


def obstacle(record: Record, milli: int, memory_mib: int) -> str:
    """Why so much can't be lent of a device now; empty = it can."""
    if record.trouble:
        return f"{record.id} is in trouble: {record.trouble}"
    if record.drained:
        return f"{record.id} is drained: {record.drained}"
    memory = memory_of(record, milli, memory_mib)
    if record.free_milli < milli or record.free_mib < memory:
        return f"{record.id} has {record.free_milli} milli and {record.free_mib} MiB left"
    if len(record.grants) >= MOST_GRANTS:
        return f"{record.id} is shared by {len(record.grants)} leases"
    if len(record.lines) >= MOST_LINES:
        return f"{record.id} has usage that is not in the ledger yet"
    return ""


def grant(record: Record, ask: Ask, now: float) -> Record | Refusal:
    """Lend a share. Asked again for a lease that has one, it changes nothing."""
    present = record.find(ask.lease)
    if present is not None and present.ended:
        return Refusal("conflict", f"lease {ask.lease} has ended before")
    if present is not None and present.devices != ask.devices:  # another broker's: a gang of two grants is none
        return Refusal("conflict", f"lease {ask.lease} was granted before, with other devices")
    if present is not None:
        return record
    why = obstacle(record, ask.milli, ask.memory_mib)
    if why:
        return Refusal("no-capacity", why)
    token = next_token(record.token, now)
    new = Grant(
        ask.lease, ask.devices, ask.milli, memory_of(record, ask.milli, ask.memory_mib), token, now, now + ask.ttl_s,
        ask.ttl_s, ask.layer, ask.tenant, ask.agent, ask.priority, ask.preemptible, now,
    )  # fmt: skip
    return _next(record, (*record.grants, new), token=token)


def renew(
    record: Record, lease: str, token: int, now: float, *, ttl_s: float | None = None, busy: bool = True
) -> Record | Refusal:
    """Extend a lease from now on; one that has notice, at most until it is taken back.

    ``token`` is the largest of the lease's tokens: that of this device is not larger.
    """
    old = _alive(record, lease, now)
    if isinstance(old, Refusal):
        return old
    if token < old.token:
        return Refusal("fenced", f"the token {token} is not that of lease {lease}")
    ttl = old.ttl_s if ttl_s is None else ttl_s
    until = max(old.expires_at, now + ttl) if ttl_s is None else now + ttl
    until = min(until, old.revoke_at) if old.revoke_at else until
    return _swap(record, replace(old, expires_at=until, ttl_s=ttl, busy_at=now if busy else old.busy_at))


def end(record: Record, lease: str, how: End, now: float, reason: str = "") -> Record | Refusal:
    """A lease is over. On a fenced device its share is free when ``gone`` says so, elsewhere at once."""
    old = record.find(lease)
    if old is None or old.ended:
        return Refusal("no-lease", f"lease {lease} is over")
    at = min(now, old.expires_at)
    line = Line(
        old.lease, old.layer, old.tenant, old.agent, old.milli, old.memory_mib, old.token, old.granted_at,
        max(at, old.granted_at), how,
    )  # fmt: skip
    record = replace(record, lines=(*record.lines, line))
    if not record.fenced:
        return _next(record, tuple(one for one in record.grants if one is not old))
    return _swap(record, replace(old, ended=how, ended_in=record.version + 1, reason=reason))


def notice(record: Record, lease: str, revoke_at: float, reason: str, now: float) -> Record | Refusal:
    """Tell a holder that its lease is taken back; an earlier notice stands if it is for an earlier time."""
    old = _alive(record, lease, now)
    if isinstance(old, Refusal):
        return old
    if old.revoke_at and old.revoke_at <= revoke_at:
        return record
    until = min(old.expires_at, max(revoke_at, now))
    return _swap(record, replace(old, revoke_at=max(revoke_at, now), expires_at=until, reason=reason))


def gone(record: Record, seen: int, held: Collection[str]) -> Record:
    """A fence that has seen version ``seen`` says whose processes and memory are still there.

    Only that frees the share of an ended lease: a word from before its end does not speak of its holder's last start.
    """
    left = tuple(one for one in record.grants if not one.ended or one.lease in held or one.ended_in > seen)
    return record if len(left) == len(record.grants) else _next(record, left)


def is_due(one: Grant, now: float) -> bool:
    """Whether a lease must be ended now, for it was not renewed or its notice is over."""
    return not one.ended and (one.expires_at <= now or bool(one.revoke_at and one.revoke_at <= now))


def stored(record: Record, tokens: Collection[tuple[str, int]]) -> Record:
    """Ledger lines, told by lease and token, are stored: the record may forget them."""
    left = tuple(line for line in record.lines if (line.lease, line.token) not in tokens)
    return record if len(left) == len(record.lines) else replace(record, lines=left, version=record.version + 1)


def drain(record: Record, reason: str) -> Record:
    """Lend nothing more of it, for a reason; an empty one lends it again."""
    return record if record.drained == reason else replace(record, drained=reason, version=record.version + 1)


def _alive(record: Record, lease: str, now: float) -> Grant | Refusal:
    old = record.find(lease)
    if old is None or old.ended or old.expires_at <= now:
        return Refusal("no-lease", f"lease {lease} is over")
    return old


def _swap(record: Record, new: Grant) -> Record:
    return _next(record, tuple(new if one.lease == new.lease else one for one in record.grants))


def _next(record: Record, grants: tuple[Grant, ...], *, token: int | None = None) -> Record:
    return replace(
        record, grants=grants, version=record.version + 1, token=record.token if token is None else token
    )  # fmt: skip
