"""A sweep on the worker processes, piece by piece, through the deaths of workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from chimera.clock import Clock
from chimera.errors import BadGenomeError, BadModuleError

from .call import Call
from .contract import GuestFailure, Swept
from .link import Piece, WorkerLink
from .pool import WorkerPool, death, kill_after_s
from .residents import Residence
from .sweep import DEAR, Wish, join

PIECE_S = 0.01
"""Longest that a sweep means to hold a worker at a time: others may have to wait for one that runs and one more."""

PIECE_BYTES, MOST_AT_ONCE = 4 << 20, 512
"""Payloads that are sent for one piece, in bytes and in number."""

MARGIN = 1.25
"""More payloads than the piece before ran are sent, for it may go faster now; those not run are sent again."""


class Sweep(NamedTuple):
    """What is to be run: the guest, its task, the payloads, and what is wanted of the answers."""

    order: Residence
    task: str
    payloads: Sequence[bytes]
    wish: Wish


class CorruptGuestError(Exception):
    """The compiled module is damaged on disk."""


async def sweep_on(pool: WorkerPool, clock: Clock, sweep: Sweep, timeout_s: float | None) -> Swept:
    """Run all payloads, or as many as the wish allows.

    After a death the piece is run again, one payload at a time at first, to know under which one workers die.

    Raises:
        BadGenomeError, BadModuleError: If the guest can't be started.
        CorruptGuestError: If its compiled file is damaged.
        DeadlineError: If ``timeout_s`` passed.
        OverloadedError, UnavailableError: If there is no worker to be had.
    """
    call = Call()
    timer = clock.call_later(timeout_s, call.expire) if timeout_s is not None else None
    try:
        return await _pieces(pool, sweep, call)
    finally:
        if timer is not None:
            timer.cancel()


async def _pieces(pool: WorkerPool, sweep: Sweep, call: Call) -> Swept:
    parts: list[Swept] = []
    done, size, left = 0, MOST_AT_ONCE, sweep.wish.give_up
    while done < len(sweep.payloads) and (left or not sweep.wish.give_up):
        payloads = _piece(sweep.payloads, done, size)
        part, link = await _run(pool, sweep, payloads, left, call)
        if part is None and len(payloads) > 1:
            size = 1
            continue
        part = part or _died(death(link, sweep.order), len(sweep.wish.fields))
        parts.append(part)
        ran = len(part.run_s)
        # a piece that ran to its end had time for more
        size = 2 * ran if ran == len(payloads) else max(1, int(MARGIN * ran))
        done += ran
        left -= min(left, sum(failure.kind in DEAR for failure in part.failures.values()))
    return join(parts, len(sweep.wish.fields))


def _piece(payloads: Sequence[bytes], begin: int, size: int) -> Sequence[bytes]:
    found = payloads[begin : begin + min(size, MOST_AT_ONCE)]
    total = 0
    for count, payload in enumerate(found):
        total += len(payload)
        if count and total > PIECE_BYTES:
            return found[:count]
    return found


async def _run(
    pool: WorkerPool, sweep: Sweep, payloads: Sequence[bytes], give_up: int, call: Call
) -> tuple[Swept | None, WorkerLink]:
    """What a worker made of a piece; ``None`` if it died under it."""
    order = sweep.order
    # waits under a name of its own: what a sweep holds must not count as the live agent's
    agent = f"{order.spec.agent}~trial"
    wish = Wish(sweep.wish.fields, give_up)
    piece = Piece(agent, order, sweep.task, payloads, wish=wish, piece_s=PIECE_S, kill_s=PIECE_S + kill_after_s(order))
    link = await pool.hand(piece, call)
    match piece.status:
        case "":
            return piece.swept, link
        case "genome":
            raise BadGenomeError(piece.detail)
        case "corrupt":
            raise CorruptGuestError(piece.detail)
        case _:
            raise BadModuleError(piece.detail)


def _died(failure: GuestFailure, fields: int) -> Swept:
    return Swept([[None] for _ in range(fields)], [failure.run_s], [failure.cpu_s], {0: failure})
