"""The life of a task: which states follow which, and the only functions that make one status from another.

queued, scheduled -> running -> succeeded | scheduled (again later) | dead; anything not final -> cancelled | expired.
No path leads out of a final state: reviving a dead task begins a new life of the same id.
"""

from __future__ import annotations

from msgspec.structs import replace

from .records import Spec, Status, Try

NEXT: dict[str, frozenset[str]] = {
    "queued": frozenset({"running", "cancelled", "expired"}),
    "scheduled": frozenset({"queued", "cancelled", "expired"}),
    "running": frozenset({"succeeded", "scheduled", "dead", "cancelled", "expired"}),
    "succeeded": frozenset(),
    "dead": frozenset(),
    "cancelled": frozenset(),
    "expired": frozenset(),
}
"""State to the states that may follow it."""

KEEP_TRIES = 20
"""Attempts that are remembered with their reasons; older ones go."""

LOSSES = 5
"""Attempts that may be lost without counting; a task that ends whatever runs it must end, too."""

_KEEP_DETAIL = 500


class IllegalMoveError(ValueError):
    """A defect of the caller: that state does not follow."""


def is_final(state: str) -> bool:
    """True if nothing follows it."""
    return not NEXT[state]


def submitted(spec: Spec, now: float) -> Status:
    """The first status of a new task."""
    if spec.not_before > now:
        return Status("scheduled", now, due=spec.not_before)
    return Status("queued", now)


def queued(status: Status, now: float) -> Status:
    """Its time has come."""
    return replace(_to(status, "queued", now), due=0.0)


def started(status: Status, now: float) -> Status:
    """A new attempt begins; it counts against the limit."""
    number = status.attempt + 1
    tries = (*status.tries, Try(number, now))[-KEEP_TRIES:]
    return replace(_to(status, "running", now), attempt=number, used=status.used + 1, tries=tries)


def fences(status: Status, attempt: int) -> bool:
    """True if what attempt ``attempt`` says does not count (any more): it is not the one that runs."""
    return status.state != "running" or status.attempt != attempt


def succeeded(status: Status, now: float, output: bytes, release: int) -> Status:
    """The running attempt's result counts."""
    return replace(_end(status, "succeeded", now, "ok", ""), output=output, release=release)


def failed(status: Status, spec: Spec, now: float, code: str, detail: str, *, wait_s: float, again: bool) -> Status:
    """The running attempt failed: once more after ``wait_s`` if ``again`` and attempts are left, else dead."""
    if again and status.used < spec.attempts:
        return replace(_end(status, "scheduled", now, code, detail), due=now + wait_s)
    why = f"{code}: {detail}" if detail else code
    if again:
        why = f"{why} (attempt {status.used} of {spec.attempts})"
    return replace(_end(status, "dead", now, code, detail), reason=why[:_KEEP_DETAIL])


def put_back(status: Status, now: float, code: str, *, wait_s: float) -> Status:
    """The running attempt never began (the agent was full or away): later again, and it does not count."""
    ended = _end(status, "scheduled", now, code, "")
    return replace(ended, due=now + wait_s, used=status.used - 1, tries=ended.tries[:-1])


def due_at(status: Status, due: float) -> Status:
    """The same, but for when it may start."""
    return replace(status, due=due)


def lost(status: Status, now: float, detail: str, *, wait_s: float) -> Status:
    """Nobody knows what became of the running attempt: again after ``wait_s``, uncounted; the 6th loss is the end.

    An attempt is lost with its node or its connection, seldom by its own fault: whoever asks for one attempt does not
    mean that a restart elsewhere should use it up.
    """
    losses = status.losses + 1
    if losses > LOSSES:
        reason = f"lost: {detail} ({losses} attempts were lost: it may end what runs it)"
        return replace(_end(status, "dead", now, "lost", detail), reason=reason[:_KEEP_DETAIL], losses=losses)
    ended = _end(status, "scheduled", now, "lost", detail)
    return replace(ended, due=now + wait_s, used=status.used - 1, losses=losses)


def cancelled(status: Status, now: float) -> Status:
    """Nobody wants it any more."""
    return replace(_end(status, "cancelled", now, "cancelled", ""), reason="cancelled")


def expired(status: Status, now: float) -> Status:
    """Its deadline passed before it was done."""
    return replace(_end(status, "expired", now, "deadline", ""), reason="its deadline passed")


def revived(status: Status, now: float) -> Status:
    """A new life of a dead task. Attempts go on counting up, so that a zombie of the old life stays fenced."""
    if status.state != "dead":
        raise IllegalMoveError(f"only a dead task can be revived, not a {status.state} one")
    return Status("queued", now, attempt=status.attempt, tries=status.tries)


def _to(status: Status, state: str, now: float) -> Status:
    if state not in NEXT[status.state]:
        raise IllegalMoveError(f"{status.state} -> {state}")
    return replace(status, state=state, since=now)


def _end(status: Status, state: str, now: float, outcome: str, detail: str) -> Status:
    tries = status.tries
    if status.state == "running" and tries:
        last = replace(tries[-1], ended_at=now, outcome=outcome, detail=detail[:_KEEP_DETAIL])
        tries = (*tries[:-1], last)
    return replace(_to(status, state, now), tries=tries)
