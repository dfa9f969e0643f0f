"""Bytes: two codecs told apart by the first byte, and the small positional envelope.

A body that is a *map* is a plain message, as anybody may send it (``nats req … '{"job_id": …}'``). A body that is an
*array* is our envelope around one:

    request  [0, deadline, chain, trace, message]
    reply    [1, value]            stream chunk  [3, value]
             [2, problem]          stream end    [4]

``deadline`` is Unix milliseconds or nil; ``chain`` is the list of actor instances that wait for the answer; ``trace``
a W3C traceparent. The reply subject names the ask. NATS headers would halve throughput, so they are used only where
NATS itself or a plain caller reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar, cast

import msgspec

from subjects import MAX_BODY_BYTES, MAX_DEPTH
from subjects.problem import Problem

from .errors import BadMessageError, ChimeraError, TooLargeError, from_problem

T = TypeVar("T")
Codec = Literal["json", "msgpack"]

_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.Encoder()
_json_any = msgspec.json.Decoder()
_msgpack_any = msgspec.msgpack.Decoder()

_CONTAINER_BYTES = {"json": b"{[", "msgpack": bytes([*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF])}
_ARRAY_BYTES = frozenset([*range(0x90, 0xA0), 0xDC, 0xDD])
_JSON_BYTES = frozenset(b'{["-0123456789tfn \t\r\n')
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError, OverflowError)
"""What msgspec raises for bytes that are no message: ``TypeError`` for a map as the key of a map, for one."""

REQUEST, VALUE, PROBLEM, CHUNK, END = range(5)

_VALUE_HEAD = bytes([0x92, VALUE])
"""How a packed ``(VALUE, value)`` begins."""


class Envelope(msgspec.Struct, array_like=True, frozen=True):
    """A request between nodes. ``message`` is still encoded: only the receiving handler knows its type."""

    kind: int
    deadline: int | None
    chain: tuple[str, ...]
    trace: str
    message: msgspec.Raw


class ReplyEnvelope(msgspec.Struct, array_like=True, frozen=True):
    """An answer between nodes: a value, a chunk of a stream, a problem, or the end of a stream."""

    kind: int
    body: msgspec.Raw = msgspec.Raw(b"\xc0")


_envelope = msgspec.msgpack.Decoder(Envelope)
_reply = msgspec.msgpack.Decoder(ReplyEnvelope)
_problem = msgspec.msgpack.Decoder(Problem)
_decoders: dict[tuple[Any, Codec], Callable[[Any], Any]] = {}


def codec_of(body: bytes | memoryview) -> Codec:
    """Which codec wrote ``body``: JSON if empty or if its first byte can begin a JSON text, else msgpack."""
    return "json" if not body or body[0] in _JSON_BYTES else "msgpack"


def is_envelope(body: bytes | memoryview) -> bool:
    """True for a msgpack array, which only our own nodes send."""
    return bool(body) and body[0] in _ARRAY_BYTES


def encode(value: Any, codec: Codec = "msgpack") -> bytes:
    """``value`` as bytes. msgspec Structs, containers and scalars."""
    return _json.encode(value) if codec == "json" else _msgpack.encode(value)


def decode(body: bytes | memoryview | msgspec.Raw, kind: type[T], codec: Codec | None = None) -> T:
    """``body`` as a ``kind``.

    Raises:
        BadMessageError: If it does not fit; the detail names the field.
    """
    chosen = codec or codec_of(memoryview(body))
    read = _decoders.get((kind, chosen))
    if read is None:
        decoder: Any = msgspec.json.Decoder(kind) if chosen == "json" else msgspec.msgpack.Decoder(kind)
        read = _decoders[kind, chosen] = decoder.decode
    try:
        return read(body if len(body) or codec else b"{}")
    except _UNREADABLE as error:
        raise BadMessageError(_explain(error)) from error


def decode_any(body: bytes | memoryview) -> Any:
    """``body`` as plain containers and scalars; depth is checked.

    Raises:
        BadMessageError: If it is not valid JSON or msgpack, or is too deep.
    """
    try:
        value = (_json_any if codec_of(body) == "json" else _msgpack_any).decode(body)
    except _UNREADABLE as error:
        raise BadMessageError(_explain(error)) from error
    check_depth(value)
    return value


def check_body(body: bytes | memoryview | msgspec.Raw, codec: Codec | None = None) -> None:
    """Refuse a body nested deeper than 32 levels, before a typed decoder builds its free-form fields.

    A body with no more than 32 bytes that can open a container is not looked at any closer: that is nearly every one.

    Raises:
        BadMessageError: If it is too deep, or is not valid.
    """
    data = bytes(body)
    if len(data) - len(data.translate(None, _CONTAINER_BYTES[codec or codec_of(data)])) > MAX_DEPTH:
        decode_any(data)


def check_size(size: int, limit: int = MAX_BODY_BYTES) -> None:
    """Refuse a body over ``limit`` bytes.

    Raises:
        TooLargeError: With both sizes in the detail.
    """
    if size > limit:
        raise TooLargeError(f"{size} bytes; at most {limit} are taken", hint="send less, or split it")


def check_depth(value: Any, limit: int = MAX_DEPTH) -> None:
    """Refuse a value nested deeper than ``limit``.

    Raises:
        BadMessageError: If it is too deep.
    """
    stack: list[tuple[Any, int]] = [(value, 1)]
    while stack:
        item, depth = stack.pop()
        if not isinstance(item, dict | list):
            continue
        if depth > limit:
            raise BadMessageError(f"nested deeper than {limit} levels")
        box = cast("dict[str, Any] | list[Any]", item)
        children = list(box.values()) if isinstance(box, dict) else box
        stack.extend((child, depth + 1) for child in children)


def pack_request(message: Any, *, deadline: int | None, chain: tuple[str, ...], trace: str) -> bytes:
    """The bytes of an ask or a tell between nodes."""
    return _msgpack.encode((REQUEST, deadline, chain, trace, message))


def unpack_request(body: bytes) -> Envelope:
    """The envelope of a request.

    Raises:
        BadMessageError: If it is not one.
    """
    try:
        envelope = _envelope.decode(body)
    except _UNREADABLE as error:
        raise BadMessageError(_explain(error)) from error
    if envelope.kind != REQUEST:
        raise BadMessageError(f"an envelope of kind {envelope.kind} is no request")
    return envelope


def pack_value(value: Any) -> bytes:
    """The bytes of an answer."""
    return _msgpack.encode((VALUE, value))


def pack_chunk(value: Any) -> bytes:
    """The bytes of one element of a streamed answer."""
    return _msgpack.encode((CHUNK, value))


def pack_end() -> bytes:
    """The bytes that end a streamed answer."""
    return _msgpack.encode((END, None))


def pack_problem(error: ChimeraError) -> bytes:
    """The bytes of a failed answer."""
    return _msgpack.encode((PROBLEM, error.problem()))


def value_of(body: bytes) -> bytes | None:
    """The encoded value of an answer that is packed as we do it, without a look at it; else ``None``."""
    return body[2:] if body.startswith(_VALUE_HEAD) else None


def unpack_reply(body: bytes) -> ReplyEnvelope:
    """The envelope of an answer.

    Raises:
        BadMessageError: If it is not one.
        ChimeraError: The error that the answer carries.
    """
    try:
        reply = _reply.decode(body)
        problem = _problem.decode(reply.body) if reply.kind == PROBLEM else None
    except _UNREADABLE as error:
        raise BadMessageError(_explain(error)) from error
    if problem is not None:
        raise from_problem(problem)
    return reply


def _explain(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"nested deeper than {MAX_DEPTH} levels"
    return str(error)
