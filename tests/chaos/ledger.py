"""A system outside of Chimera where effects are applied: keyed by the task, fenced by the attempt's number.

It is what a payment service or a machine controller has to be, for "at least once" on one side to become "once" on the
other: the first attempt that comes applies the effect, a later attempt of the same task finds it applied, and an
earlier one that comes late, from a process that slept, is refused.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import anyio
import msgspec
from anyio.abc import SocketStream, TaskStatus
from anyio.streams.buffered import BufferedByteReceiveStream

SOCKET = "CHAOS_LEDGER"
"""Environment variable with the path of the ledger's socket."""

_LONGEST_LINE = 65_536
_ANSWER_S = 10.0

Verdict = Literal["applied", "known", "refused", "changed"]


class Effect(msgspec.Struct, frozen=True):
    """What an attempt wants to be so."""

    task: str
    token: int
    value: str
    node: str


@dataclass(slots=True)
class Row:
    """The effect of one task.

    Attributes:
        value: What was applied, once.
        token: The newest attempt that came.
    """

    value: str
    token: int


@dataclass(slots=True)
class Ledger:
    """Plain state; ``serve`` puts it behind a socket."""

    rows: dict[str, Row] = field(default_factory=dict[str, Row])
    verdicts: Counter[Verdict] = field(default_factory=Counter[Verdict])

    def apply(self, effect: Effect) -> Verdict:
        """Take an effect.

        ``changed`` means that two attempts of a task wanted different effects: it is not applied.
        """
        verdict = self._judge(effect)
        self.verdicts[verdict] += 1
        return verdict

    def _judge(self, effect: Effect) -> Verdict:
        row = self.rows.get(effect.task)
        if row is None:
            self.rows[effect.task] = Row(effect.value, effect.token)
            return "applied"
        if effect.token < row.token:
            return "refused"
        row.token = effect.token
        return "known" if effect.value == row.value else "changed"


async def serve(ledger: Ledger, path: Path, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
    """Answer until cancelled: one JSON line in, one word out. Started once it listens."""

    async def answer(stream: SocketStream) -> None:
        async with stream:
            line = await BufferedByteReceiveStream(stream).receive_until(b"\n", _LONGEST_LINE)
            verdict = ledger.apply(msgspec.json.decode(line, type=Effect))
            await stream.send(verdict.encode() + b"\n")

    async def calmly(stream: SocketStream) -> None:
        try:
            await answer(stream)
        except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.IncompleteRead, OSError):
            return  # the attempt was killed while it told us

    async with await anyio.create_unix_listener(path) as listener:
        task_status.started()
        await listener.serve(calmly)


async def apply_at(path: str, effect: Effect) -> str:
    """Tell the ledger whose socket is at ``path``; its verdict."""
    with anyio.fail_after(_ANSWER_S):
        async with await anyio.connect_unix(path) as stream:
            await stream.send(msgspec.json.encode(effect) + b"\n")
            return (await BufferedByteReceiveStream(stream).receive_until(b"\n", _LONGEST_LINE)).decode()


def socket_path() -> str:
    """Where this process finds the ledger."""
    return os.environ[SOCKET]
