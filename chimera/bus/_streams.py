"""Streams: declared, appended to, measured."""

from __future__ import annotations

import base64
import contextlib
import random
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from chimera.errors import (
    BusDownError,
    ConflictError,
    ConnectionLostError,
    DeadlineError,
    FencedError,
    NotFoundError,
    NotRunningError,
    UnavailableError,
)

from ._api import ATTEMPT_S, FORMING_S, Answer, Api, PubAck, read
from .contract import Appended, StreamHolding, StreamSpec
from .subject import check_name, check_pattern, check_size, check_subject, matches

if TYPE_CHECKING:
    from ._connection import Connection
    from ._hot import HotPath

CHUNK_MESSAGES = 256
CHUNK_BYTES = 1024 * 1024
"""A pipelined chunk stays far below the server's ingest queue, which drops what overflows."""

WHOLE_FROM = 16
"""Chunks from this size on are stored as one batch: one fsync for all of it, where every message alone costs one."""

MSG_ID = "Nats-Msg-Id"
EXPECTED_LAST = "Nats-Expected-Last-Subject-Sequence"
_NS = 1_000_000_000
_BATCHES_SINCE = _ASYNC_SINCE = (2, 12)


class StreamState(msgspec.Struct):
    """What is used of a stream's state."""

    messages: int = 0
    first_seq: int = 0
    last_seq: int = 0
    bytes: int = 0
    first_ts: str = ""


class AccountInfo(Answer):
    """What the account uses."""

    storage: int = 0


class StreamInfo(Answer):
    """What is used of a stream's description."""

    config: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    state: StreamState = msgspec.field(default_factory=StreamState)


class BatchAck(PubAck):
    """The acknowledgement of a batch, and how many messages it speaks for."""

    count: int = 0


class RawMessage(msgspec.Struct):
    """What is used of a message read by the API; ``hdrs`` is base64."""

    seq: int = 0
    hdrs: str = ""


class LastMessage(Answer):
    """The last message of a subject."""

    message: RawMessage = msgspec.field(default_factory=RawMessage)


class Streams:
    """JetStream's streams over the core connection."""

    def __init__(
        self, api: Api, hot: HotPath, connection: Connection, rng: random.Random, *,
        most_bytes: int | None = None, replicas: int = 1,
    ) -> None:  # fmt: skip
        self._api, self._hot, self._connection, self._rng = api, hot, connection, rng
        self._most_bytes, self._replicas = most_bytes, replicas
        self._whole: set[str] = set()
        """Subjects of declared streams that take batches."""
        self._lone: set[str] = set()
        """Subjects of declared streams that are on one server: what is sent on one connection arrives in one piece."""

    async def declare(self, spec: StreamSpec) -> None:
        """Create the stream or bring it to ``spec``."""
        check_name(spec.name, "stream")
        for subject in spec.subjects:
            check_pattern(subject)
        lazy = spec.telemetry and max(spec.replicas, self._replicas) == 1 and self._server_is(_ASYNC_SINCE)
        config = config_of(spec, async_persistence=lazy, batches=not lazy and self._server_is(_BATCHES_SINCE))
        found = await self.declare_raw(config)
        if found.get("allow_atomic"):
            self._whole.update(spec.subjects)
        (self._lone.update if found.get("num_replicas") == 1 else self._lone.difference_update)(spec.subjects)

    async def declare_raw(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Create a stream or bring it to ``config``; what that does not name stays as it is. Gives what it is now."""
        name, most = config["name"], self._most_bytes
        config = {**config, "num_replicas": max(config["num_replicas"], self._replicas)}
        if most is not None and config.get("max_bytes", -1) > most:
            config = {**config, "max_bytes": most}
        try:
            info = await self._api.call(f"STREAM.INFO.{name}", timeout_s=FORMING_S, kind=StreamInfo)
        except NotFoundError:
            await self._api.place(f"STREAM.CREATE.{name}", config)
            return config
        copies = max(config["num_replicas"], info.config.get("num_replicas", 1))  # a person takes copies away, not we
        wanted = {**info.config, **config, "num_replicas": copies}
        if "persist_mode" in info.config or "persist_mode" in config:  # it is fixed at creation
            wanted["persist_mode"] = info.config.get("persist_mode", "default")
        if wanted.get("persist_mode") == "async":  # such a stream takes no batches
            wanted.pop("allow_atomic", None)
        if wanted != info.config:
            await self._api.place(f"STREAM.UPDATE.{name}", wanted)
        return wanted

    async def state(self, stream: str) -> tuple[int, int, int]:
        """(first sequence, last sequence, messages)."""
        check_name(stream, "stream")
        state = (await self._api.call(f"STREAM.INFO.{stream}", kind=StreamInfo)).state
        return state.first_seq, state.last_seq, state.messages

    async def holding(self, stream: str) -> StreamHolding:
        """Limits in force, and contents."""
        check_name(stream, "stream")
        info = await self._api.call(f"STREAM.INFO.{stream}", kind=StreamInfo)
        config, state = info.config, info.state
        oldest = datetime.fromisoformat(to_micros(state.first_ts)).timestamp() if state.messages else None
        return StreamHolding(
            config.get("max_age", 0) / _NS, config.get("max_bytes", -1), config.get("num_replicas", 1), state.messages,
            state.bytes, oldest,
        )  # fmt: skip

    async def stored_bytes(self) -> int:
        """Bytes that the account's streams take on disk."""
        return (await self._api.call("INFO", kind=AccountInfo)).storage

    async def purge(self, stream: str, before_seq: int) -> None:
        """Remove the messages below ``before_seq`` (0 would mean all of them to the server)."""
        check_name(stream, "stream")
        if before_seq > 1:
            await self._api.call(f"STREAM.PURGE.{stream}", {"seq": before_seq})

    async def append(
        self, subject: str, data: bytes, *, msg_id: str = "", expected_last: int | None = None,
        headers: Mapping[str, str] | None = None, timeout_s: float = 5.0,
    ) -> Appended:  # fmt: skip
        """Store one message; repeated with the same ``msg_id`` until acknowledged or the deadline."""
        sent = {**(headers or {}), **({MSG_ID: msg_id} if msg_id else {})}
        if expected_last is not None:
            sent[EXPECTED_LAST] = str(expected_last)
        answer = await self._api.insist(subject, data, timeout_s=timeout_s, headers=sent)
        try:
            ack = read(answer.data, PubAck)
        except FencedError as error:
            own = await self._own_last(str((error.data or {}).get("stream", "")), subject, msg_id)
            if own is None:
                raise
            return own
        if not ack.stream:
            raise UnavailableError(f"{subject} is answered by somebody who is not a stream")
        return Appended(ack.stream, ack.seq, ack.duplicate)

    async def _own_last(self, stream: str, subject: str, msg_id: str) -> Appended | None:
        # the server compares sequences before it looks for duplicates: a repeated try is fenced by its own first one
        if not stream or not msg_id:
            return None
        with contextlib.suppress(NotFoundError):
            last = await self._api.call(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject}, kind=LastMessage)
            if f"{MSG_ID}: {msg_id}\r\n".encode() in base64.b64decode(last.message.hdrs):
                return Appended(stream, last.message.seq, duplicate=True)
        return None

    async def append_many(self, messages: Sequence[tuple[str, bytes, str]], *, timeout_s: float) -> None:
        """Store many, in chunks. On one server a chunk's last acknowledgement speaks for it, elsewhere each its own."""
        for subject, data, msg_id in messages:  # nothing is sent if one is bad
            check_subject(subject)
            check_size(data, {MSG_ID: msg_id}, self._hot.max_payload)
        deadline = self._hot.clock.monotonic() + timeout_s
        for chunk in chunks(messages):
            await self._append_chunk(chunk, deadline)

    async def _append_chunk(self, chunk: Sequence[tuple[str, bytes, str]], deadline: float) -> None:
        whole = len(chunk) >= WHOLE_FROM and any(matches(pattern, chunk[0][0]) for pattern in self._whole)
        lone = any(matches(pattern, chunk[0][0]) for pattern in self._lone)
        clock, wait = self._hot.clock, 0.05
        while True:
            left = deadline - clock.monotonic()
            try:
                await self._connection.wait_up(left)
                if whole:
                    whole = False  # whatever refuses it, or loses the answer: one by one, duplicates are told apart
                    if await self._append_whole(chunk, min(left, 2 * ATTEMPT_S)):
                        return
                else:
                    await (self._append_once(chunk, min(left, ATTEMPT_S)) if lone else self._append_each(chunk, left))
                    return
            except NotRunningError as error:
                wait = min(2 * wait, 0.5)
                if clock.monotonic() + wait >= deadline:
                    raise UnavailableError(f"no stream takes {chunk[0][0]}") from error
                await clock.sleep(wait)
            except (BusDownError, DeadlineError):
                if clock.monotonic() >= deadline:
                    raise

    async def _append_whole(self, chunk: Sequence[tuple[str, bytes, str]], timeout_s: float) -> bool:
        """Store a chunk as one atomic batch (ADR-50); false if the stream refuses it."""
        batch = f"{self._rng.getrandbits(128):032x}"
        for number, (subject, data, msg_id) in enumerate(chunk[:-1], 1):
            headers = {MSG_ID: msg_id, "Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
            await self._hot.publish(subject, data, headers=headers)
        subject, data, msg_id = chunk[-1]
        headers = {
            MSG_ID: msg_id,
            "Nats-Batch-Id": batch,
            "Nats-Batch-Sequence": str(len(chunk)),
            "Nats-Batch-Commit": "1",
        }
        try:
            answer = await self._hot.request(subject, data, timeout_s=timeout_s, headers=headers)
            return read(answer.data, BatchAck).count == len(chunk)
        except (ConflictError, NotRunningError):
            return False

    async def _append_once(self, chunk: Sequence[tuple[str, bytes, str]], timeout_s: float) -> None:
        """One try of the whole chunk: were its last message alone repeated, it would speak for lost ones."""
        client = self._hot.client
        for subject, data, msg_id in chunk[:-1]:
            await self._hot.publish(subject, data, headers={MSG_ID: msg_id})
        if self._hot.client is not client:  # the first ones went down with the old connection
            raise ConnectionLostError
        subject, data, msg_id = chunk[-1]
        answer = await self._hot.request(subject, data, timeout_s=timeout_s, headers={MSG_ID: msg_id})
        if not read(answer.data, PubAck).stream:
            raise UnavailableError(f"{subject} is answered by somebody who is not a stream")
        if self._hot.client is not client:
            raise ConnectionLostError

    async def _append_each(self, chunk: Sequence[tuple[str, bytes, str]], timeout_s: float) -> None:
        """One by one: while a cluster's stream has no leader, some are lost and the next is stored."""
        deadline = self._hot.clock.monotonic() + timeout_s
        for subject, data, msg_id in chunk:
            await self.append(subject, data, msg_id=msg_id, timeout_s=deadline - self._hot.clock.monotonic())

    def _server_is(self, least: tuple[int, int]) -> bool:
        client = self._hot.client
        if client is None:
            return False
        try:
            version = client.connected_server_version
        except ValueError:  # a development build
            return False
        return (version.major, version.minor) >= least


def config_of(spec: StreamSpec, *, async_persistence: bool, batches: bool) -> dict[str, Any]:
    """``spec`` in JetStream's words. A full work queue refuses; other streams drop their oldest messages."""
    window = min(spec.duplicate_window_s, spec.max_age_s) if spec.max_age_s else spec.duplicate_window_s
    config: dict[str, Any] = {
        "name": spec.name, "subjects": list(spec.subjects), "retention": spec.retention, "storage": "file",
        "max_age": int(spec.max_age_s * _NS), "max_bytes": spec.max_bytes, "duplicate_window": int(window * _NS),
        "num_replicas": spec.replicas, "discard": "new" if spec.retention == "workqueue" else "old",
        "allow_direct": True,
    }  # fmt: skip
    if spec.per_subject:
        config["max_msgs_per_subject"] = spec.per_subject
    if async_persistence:
        config["persist_mode"] = "async"
    if batches:
        config["allow_atomic"] = True
    return config


def chunks(messages: Sequence[tuple[str, bytes, str]]) -> list[Sequence[tuple[str, bytes, str]]]:
    """``messages`` in order, cut to ``CHUNK_MESSAGES`` and, where possible, ``CHUNK_BYTES``."""
    cut: list[Sequence[tuple[str, bytes, str]]] = []
    begin, size = 0, 0
    for index, (_, data, _) in enumerate(messages):
        if index > begin and (index - begin >= CHUNK_MESSAGES or size + len(data) > CHUNK_BYTES):
            cut.append(messages[begin:index])
            begin, size = index, 0
        size += len(data)
    return [*cut, messages[begin:]] if messages else []


def to_micros(stamp: str) -> str:
    """An RFC 3339 time of the server with at most six digits of a second: Python 3.11 reads no more."""
    return re.sub(r"(\.\d{6})\d+", r"\1", stamp)
