"""JetStream's JSON API: requests that are repeated inside their deadline, and its refusals as our errors."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import msgspec

from chimera.clock import Clock
from chimera.errors import (
    BusDownError,
    ChimeraError,
    ConflictError,
    DeadlineError,
    FencedError,
    NotFoundError,
    NotRunningError,
    UnavailableError,
)

from .contract import Delivery

ATTEMPT_S = 2.0
"""How long one try waits for its answer before the same request, with the same id, is sent again."""

FORMING_S = 15.0
"""How long a cluster may take until it knows its servers, and that they can keep what is asked of them."""

_WRONG_LAST_SEQUENCE = frozenset({10071, 10164})
_NO_PEERS, _NOT_CLUSTERED, _NO_LEADER = 10005, 10074, 10008
_TOO_FEW_SERVERS = frozenset({_NO_PEERS, _NOT_CLUSTERED})
_FORMING = frozenset({_NO_PEERS, _NO_LEADER})
T = TypeVar("T")


class Refusal(msgspec.Struct):
    """Why JetStream did not do it."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class Answer(msgspec.Struct):
    """What every answer may hold."""

    error: Refusal | None = None


class PubAck(Answer):
    """The acknowledgement of an append."""

    stream: str = ""
    seq: int = 0
    duplicate: bool = False


class Requester(Protocol):
    """The part of the bus that JetStream needs."""

    clock: Clock

    async def request(
        self, subject: str, data: bytes, *, timeout_s: float = 5.0, headers: Mapping[str, str] | None = None
    ) -> Delivery:
        """One answer."""
        ...


class Upness(Protocol):
    """Knows when there is a connection."""

    async def wait_up(self, timeout_s: float) -> None:
        """Wait for it; ``BusDownError`` if it does not come."""
        ...


class Api:
    """Asks JetStream and insists until the deadline: everything sent through here may be sent twice."""

    def __init__(self, core: Requester, connection: Upness, rng: random.Random) -> None:
        self._core, self._connection, self._rng = core, connection, rng

    async def call(self, verb: str, body: Any = None, *, timeout_s: float = 5.0, kind: type[T] = Answer) -> T:
        """Ask ``$JS.API.<verb>`` and read the answer as ``kind``.

        Raises:
            ChimeraError: What ``refused`` makes of a refusal, and like ``insist``.
        """
        data = msgspec.json.encode(body) if body is not None else b""
        answer = await self.insist(f"$JS.API.{verb}", data, timeout_s=timeout_s)
        return read(answer.data, kind)

    async def place(self, verb: str, body: Any, *, timeout_s: float = FORMING_S) -> None:
        """``call`` for what needs servers to keep it: a cluster that has just started does not know all of its own yet.

        Raises:
            UnavailableError: If there were too few until the deadline, and like ``call``.
        """
        clock = self._core.clock
        deadline, wait = clock.monotonic() + timeout_s, 0.05
        while True:
            try:
                await self.call(verb, body, timeout_s=max(deadline - clock.monotonic(), ATTEMPT_S))
            except UnavailableError as error:
                if (error.data or {}).get("err_code") not in _FORMING or clock.monotonic() + wait >= deadline:
                    raise
                await clock.sleep(wait)
                wait = min(2 * wait, 0.5)
            else:
                return

    async def insist(
        self, subject: str, data: bytes, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> Delivery:
        """A request repeated on silence, on "nobody listens" and across outages.

        Raises:
            BusDownError: If there was no connection until the deadline.
            DeadlineError: If there was one, but no answer.
            UnavailableError: If nothing answers there: no JetStream, or no stream that captures the subject.
        """
        clock = self._core.clock
        deadline, wait = clock.monotonic() + timeout_s, 0.05
        while True:
            left = deadline - clock.monotonic()
            try:
                await self._connection.wait_up(left)
                return await self._core.request(subject, data, timeout_s=min(ATTEMPT_S, left), headers=headers)
            except (NotRunningError, BusDownError, DeadlineError) as error:
                wait = min(wait * 2, 0.5)
                pause = wait * self._rng.uniform(0.5, 1.0)
                if clock.monotonic() + pause >= deadline:
                    raise _final(error, subject) from error
                if not isinstance(error, DeadlineError):
                    await clock.sleep(pause)


def read(data: bytes, kind: type[T]) -> T:
    """An answer of the API as ``kind``.

    Raises:
        ChimeraError: If it is a refusal.
        UnavailableError: If it can't be read.
    """
    try:
        answer = msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise UnavailableError(f"JetStream's answer can't be read: {error}") from error
    if isinstance(answer, Answer) and answer.error is not None:
        raise refused(answer.error, answer.stream if isinstance(answer, PubAck) else "")
    return answer


def refused(refusal: Refusal, stream: str = "") -> ChimeraError:
    """The error that fits a refusal; JetStream's own number is in its ``data``."""
    detail, data = refusal.description, {"err_code": refusal.err_code, "stream": stream}
    if refusal.err_code in _WRONG_LAST_SEQUENCE:
        return FencedError(detail, data=data)
    if refusal.code == 404:  # noqa: PLR2004 - as in HTTP
        return NotFoundError(detail, data=data)
    few = refusal.err_code in _TOO_FEW_SERVERS
    if refusal.code == 400 and not few:  # noqa: PLR2004 - as in HTTP
        return ConflictError(detail, data=data)
    hint = "set nats.replicas to at most as many as the cluster has servers with JetStream" if few else ""
    return UnavailableError(detail, hint=hint, data=data)


def _final(error: ChimeraError, subject: str) -> ChimeraError:
    if isinstance(error, NotRunningError):
        return UnavailableError(f"no stream or JetStream service takes {subject}")
    return error
