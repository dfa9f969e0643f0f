"""Groups stored as a whole or not at all (ADR-50), and the one read that settles what a lost answer was."""

from __future__ import annotations

import base64
import random
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, cast

import msgspec

from chimera.errors import (
    BusDownError,
    ChimeraError,
    DeadlineError,
    NotFoundError,
    NotRunningError,
    UnavailableError,
)

from ._api import ATTEMPT_S, Answer, Api, read
from ._headers import read_headers
from ._streams import EXPECTED_LAST, MSG_ID, BatchAck, to_micros
from .contract import Appended, Stored
from .subject import check_group

if TYPE_CHECKING:
    from ._connection import Connection
    from ._hot import HotPath

_PAUSE_S = 0.1


class Raw(msgspec.Struct):
    """A message as the API gives it; ``hdrs`` and ``data`` are base64."""

    seq: int = 0
    subject: str = ""
    hdrs: str = ""
    data: str = ""
    time: str = ""


class Last(Answer):
    """The last message of a subject."""

    message: Raw = msgspec.field(default_factory=Raw)


class Groups:
    """Atomic batches with a compare-and-set for each message."""

    def __init__(self, api: Api, hot: HotPath, connection: Connection, rng: random.Random) -> None:
        self._api, self._hot, self._connection, self._rng = api, hot, connection, rng

    async def append(
        self, messages: Sequence[tuple[str, bytes, int]], *, msg_id: str, timeout_s: float
    ) -> list[Appended]:
        """Store all or none; what became of an unanswered try is read from the leader before the next one.

        Raises:
            BadMessageError: If the group is no good.
            FencedError: If a sequence was not the last of its subject.
            UnavailableError: If the stream takes no batches.
        """
        check_group(messages, msg_id, self._hot.max_payload)
        clock = self._hot.clock
        deadline, stream = clock.monotonic() + timeout_s, ""
        while True:
            left = deadline - clock.monotonic()
            try:
                await self._connection.wait_up(left)
                return await self._once(messages, msg_id, min(ATTEMPT_S, left))
            except (BusDownError, DeadlineError, NotRunningError) as error:
                if clock.monotonic() + _PAUSE_S >= deadline:
                    raise _final(error, messages[0][0]) from error
            await clock.sleep(_PAUSE_S)
            stream = stream or await self._stream_of(messages[0][0], deadline - clock.monotonic())
            own = await self._stored(stream, messages, msg_id, deadline - clock.monotonic())
            if own:
                return own

    async def last(self, stream: str, subject: str, *, timeout_s: float) -> Stored | None:
        """The last message of a subject, as the leader has it."""
        try:
            answer = await self._api.call(
                f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject}, kind=Last, timeout_s=timeout_s
            )
        except NotFoundError as error:
            if (error.data or {}).get("err_code") == 10037:  # noqa: PLR2004 - no message found; else there is no stream
                return None
            raise
        raw = answer.message
        headers = read_headers(base64.b64decode(raw.hdrs)) or {}
        at = datetime.fromisoformat(to_micros(raw.time)).timestamp()
        return Stored(stream, raw.seq, raw.subject, base64.b64decode(raw.data), at, headers)

    async def _once(self, messages: Sequence[tuple[str, bytes, int]], msg_id: str, timeout_s: float) -> list[Appended]:
        batch, count = f"{self._rng.getrandbits(128):032x}", len(messages)

        def headers(number: int) -> dict[str, str]:
            return {
                "Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number), MSG_ID: f"{msg_id}.{number - 1}",
                EXPECTED_LAST: str(messages[number - 1][2]),
            }  # fmt: skip

        for number, (subject, data, _) in enumerate(messages[:-1], 1):
            await self._hot.publish(subject, data, headers=headers(number))
        last_subject, last_data, _ = messages[-1]
        final = {**headers(count), "Nats-Batch-Commit": "1"}
        answer = await self._hot.request(last_subject, last_data, timeout_s=timeout_s, headers=final)
        ack = read(answer.data, BatchAck)
        if count > 1 and ack.count != count:
            raise UnavailableError(f"{last_subject} is in a stream that takes no groups", hint="nats-server 2.12 does")
        return [Appended(ack.stream, ack.seq - count + number) for number in range(1, count + 1)]

    async def _stored(
        self, stream: str, messages: Sequence[tuple[str, bytes, int]], msg_id: str, timeout_s: float
    ) -> list[Appended]:
        """Where the group is, if one of its messages still is its subject's last."""
        for number, (subject, _, _) in enumerate(messages):
            last = await self.last(stream, subject, timeout_s=max(0.1, timeout_s))
            if last is not None and last.headers.get(MSG_ID) == f"{msg_id}.{number}":
                first = last.seq - number
                return [Appended(stream, first + index, duplicate=True) for index in range(len(messages))]
        return []

    async def _stream_of(self, subject: str, timeout_s: float) -> str:
        answer = await self._api.call(
            "STREAM.NAMES", {"subject": subject}, kind=Names, timeout_s=max(0.1, timeout_s)
        )  # fmt: skip
        if not answer.streams:
            raise UnavailableError(f"no stream or JetStream service takes {subject}")
        return answer.streams[0]


class Names(Answer):
    """Names of streams."""

    streams: list[str] = msgspec.field(default_factory=lambda: cast("list[str]", []))


def _final(error: ChimeraError, subject: str) -> ChimeraError:
    if isinstance(error, NotRunningError):
        return UnavailableError(f"no stream or JetStream service takes {subject}")
    return error
