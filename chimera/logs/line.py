"""One line of the event log: the same record for the file, the console and the reader."""

from __future__ import annotations

import logging
import traceback
from typing import Any, Literal

import msgspec

from chimera.config import redact, redact_text

from .context import bound_now
from .names import EventName, Layer, find_layer, layer_of

Level = Literal["debug", "info", "warning", "error"]
LEVELS: dict[Level, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
"""Levels by name, with the numbers of the standard library."""

_NUMBERS: dict[str, int] = {**LEVELS}
_EVENT = "chimera_event"
_LINE = "chimera_line"
_FOREIGN: tuple[str, str, dict[str, Any]] = ("", "", {})
_GRAVE: tuple[Level, ...] = ("error", "warning", "info")
_MAX_TEXT = 8_192
_MAX_BYTES = 65_536


class LogLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happened, where, when, and to whom.

    Attributes:
        at: Unix time in seconds.
        level: How grave it is.
        layer: Which layer states it.
        event: One of ``EventName``; empty for a line of a foreign library.
        message: One sentence for people.
        node: The node.
        actor: Address of the actor that was at work.
        trace: W3C trace id of the request that was at work.
        message_id: Id of the message that was at work.
        logger: The logger of a foreign library.
        error: Traceback, if an exception was logged.
        fields: Everything else, secrets hidden.
    """

    at: float
    level: Level
    layer: str
    event: str = ""
    message: str = ""
    node: str = ""
    actor: str = ""
    trace: str = ""
    message_id: str = ""
    logger: str = ""
    error: str = ""
    fields: dict[str, Any] = {}


_decoder = msgspec.json.Decoder(LogLine)
_encoder = msgspec.json.Encoder(enc_hook=str)


def event(
    name: EventName, layer: Layer, message: str = "", /, *, level: Level = "info", error: BaseException | None = None,
    **fields: Any,
) -> None:  # fmt: skip
    """State that something happened. Returns at once: lines are written by another thread.

    Args:
        name: What.
        layer: Which layer states it.
        message: One sentence for people.
        level: How grave it is.
        error: An exception whose traceback belongs to it.
        fields: Details by name; fields named like a secret are hidden.
    """
    log_event(name, layer, message, level, fields if error is None else {**fields, "error": error})


def log_event(name: str, layer: str, message: str, level: str, fields: dict[str, Any], /) -> None:
    """State an event whose parts are data: what a system's event sink is given.

    An exception in ``fields["error"]`` becomes the line's traceback. An actor's name is taken for its layer.
    """
    found = find_layer(layer) or layer
    logger = logging.getLogger(f"chimera.{found}")
    number = _NUMBERS.get(level, logging.INFO)
    if not logger.isEnabledFor(number):
        return
    error = fields.get("error")
    if isinstance(error, BaseException):
        fields = {key: value for key, value in fields.items() if key != "error"}
    else:
        error = None
    logger.log(number, "%s", message, exc_info=error, extra={_EVENT: (str(name), str(found), fields)})


def line_of(record: logging.LogRecord, node: str) -> LogLine:
    """The line for a record of the standard library, with what is bound here and now; made once for all handlers."""
    made: LogLine | None = getattr(record, _LINE, None)
    if made is None or made.node != node:
        made = _make(record, node)
        setattr(record, _LINE, made)
    return made


def _make(record: logging.LogRecord, node: str) -> LogLine:
    stated: tuple[str, str, dict[str, Any]] = getattr(record, _EVENT, _FOREIGN)
    name, layer, fields = stated
    context = {"node": node, **bound_now()}
    return LogLine(
        at=record.created,
        level=_level(record.levelno),
        layer=layer or layer_of(record.name).value,
        event=name,
        message=redact_text(record.getMessage())[:_MAX_TEXT],
        logger="" if name else record.name,
        error=redact_text(_traceback(record))[-_MAX_TEXT:],
        fields=redact(fields),
        **context,
    )


def encode_line(line: LogLine) -> bytes:
    """The line as JSON, with its newline; details that can't be encoded or are over 64 KiB are shortened."""
    try:
        raw = _encoder.encode(line) + b"\n"
    except Exception:  # noqa: BLE001 - a field's own __str__ may raise anything
        raw = b""
    if not raw or len(raw) > _MAX_BYTES:
        plain = {"shortened": ascii(line.fields)[:_MAX_TEXT]}
        printable = msgspec.structs.replace(line, fields=plain, message=_ascii(line.message), error=_ascii(line.error))
        raw = _encoder.encode(printable) + b"\n"
    return raw


def decode_line(raw: bytes) -> LogLine | None:
    """The line, or ``None`` if it is torn or not one of ours."""
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode("ascii")


def _level(number: int) -> Level:
    for name in _GRAVE:
        if number >= LEVELS[name]:
            return name
    return "debug"


def _traceback(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    return "".join(traceback.format_exception(record.exc_info[1])).rstrip()
