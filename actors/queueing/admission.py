"""Whether a new task is taken: a full queue, a full disk and a hopeless deadline are told at once."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from chimera.errors import ChimeraError, DeadlineError, OverloadedError, UnavailableError

_LEAST_WAIT_S, _MOST_WAIT_S = 0.1, 60.0
_DRAIN_WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Capacity:
    """What there is room for.

    Attributes:
        tasks: Unfinished tasks in all.
        bytes: Their inputs in all.
        disk_bytes: What the disk must have free.
        store_bytes: What the server's own store must have free: to rewrite the log takes room, too.
    """

    tasks: int = 200_000
    bytes: int = 512 << 20
    disk_bytes: int = 64 << 20
    store_bytes: int = 64 << 20


class Load(msgspec.Struct, frozen=True, gc=False):
    """What there is now.

    Attributes:
        tasks, bytes: Unfinished tasks and their inputs.
        ahead: Tasks of the same agent that will be done before a new one.
        out_per_s: Tasks of that agent that can be done per second; 0 = nothing known.
        run_s: What a slow attempt takes (p95); 0 = nothing known.
        disk_free: Free bytes where the log is; ``None`` = not known.
        store_free: Bytes that the server may still store; ``None`` = not known.
        draining: New tasks are not taken.
    """

    tasks: int
    bytes: int
    ahead: int = 0
    out_per_s: float = 0.0
    run_s: float = 0.0
    disk_free: int | None = None
    store_free: int | None = None
    draining: bool = False


def queue_time_s(load: Load) -> float:
    """Seconds until a new task would start, by Little's law; 0 where nothing is known."""
    return load.ahead / load.out_per_s if load.out_per_s > 0 else 0.0


def refusal(load: Load, room: Capacity, *, size: int, now: float, deadline: float) -> ChimeraError | None:
    """Why a task of ``size`` bytes is not taken, or ``None``. ``deadline`` 0 = none."""
    if load.draining:
        return _closed("the scheduler is draining", "end it with: POST /api/queue/resume", _DRAIN_WAIT_S)
    if load.disk_free is not None and load.disk_free < room.disk_bytes:
        return _closed(
            f"the disk is nearly full: {load.disk_free >> 20} MiB free, {room.disk_bytes >> 20} MiB are kept free",
            "free some space; tasks already taken go on", _MOST_WAIT_S,
        )  # fmt: skip
    if load.store_free is not None and load.store_free < room.store_bytes:
        return _closed(
            f"the server's store is nearly full: {max(0, load.store_free) >> 10} KiB are left, "
            f"{room.store_bytes >> 10} KiB are kept free",
            "raise nats.max_file_bytes, or let tasks end; those already taken go on", _MOST_WAIT_S,
        )  # fmt: skip
    if load.tasks >= room.tasks or load.bytes + size > room.bytes:
        wait = min(_MOST_WAIT_S, max(_LEAST_WAIT_S, 1.0 / load.out_per_s if load.out_per_s > 0 else 1.0))
        return OverloadedError(f"the queue is full: {load.tasks} tasks of {load.bytes >> 20} MiB", retry_after_s=wait)
    if deadline and (late := hopeless(load, now, deadline)):
        estimate = {"queue_s": round(queue_time_s(load), 3), "run_s": round(load.run_s, 3)}
        return DeadlineError(late, stage="queued", data=estimate)
    return None


def _closed(why: str, hint: str, wait_s: float) -> ChimeraError:
    error = UnavailableError(why, hint=hint, retry_after_s=wait_s)
    error.executed = "no"
    return error


def hopeless(load: Load, now: float, deadline: float) -> str:
    """Why the deadline can't be met at today's queue time; empty if it can."""
    left = deadline - now
    if left <= 0:
        return "the deadline has passed already"
    wait = queue_time_s(load)
    if wait + load.run_s > left:
        return f"the deadline is in {left:.1f} s, but the queue takes {wait:.1f} s and a run {load.run_s:.2f} s"
    return ""
