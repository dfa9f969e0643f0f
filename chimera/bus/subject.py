"""Subjects, sizes and names: what may be sent, checked before the server would close the connection for it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from chimera.errors import BadMessageError, TooLargeError

MAX_SUBJECT_BYTES = 1024
"""Subject and reply share the server's protocol line of 4,096 bytes; longer ones cost the whole connection."""

MOST_IN_GROUP = 256
"""Messages that are stored as one; the server takes a thousand."""

_WORD = r"[!-)+-\-/-=?-~]+"  # printable ASCII without space, '.', '*' and '>'
is_subject = re.compile(rf"{_WORD}(?:\.{_WORD})*").fullmatch
"""Truthy for tokens of printable ASCII, separated by single dots, without wildcards. Length is not looked at."""

_is_pattern = re.compile(rf"(?:(?:{_WORD}|\*)\.)*(?:{_WORD}|\*|>)").fullmatch
_is_token = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_is_key = re.compile(r"[A-Za-z0-9_=/-]+(?:\.[A-Za-z0-9_=/-]+)*").fullmatch
_is_header_name = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_HEADER_PREAMBLE = len(b"NATS/1.0\r\n\r\n")
_HEADER_LINE = len(b": \r\n")


def check_subject(subject: str) -> None:
    """Refuse what can't be published to.

    Raises:
        BadMessageError: If it is empty or too long, has an empty token, a wildcard, a space or a non-ASCII character.
    """
    if not is_subject(subject) or len(subject) > MAX_SUBJECT_BYTES:
        raise BadMessageError(
            f"the subject {_shown(subject)} can't be published to",
            hint=f"use printable ASCII tokens joined by single dots, no '*' or '>', {MAX_SUBJECT_BYTES} bytes at most",
        )


def check_pattern(pattern: str) -> None:
    """Refuse what can't be subscribed to: like a subject, but a token may be ``*`` and the last one ``>``.

    Raises:
        BadMessageError: If it is not such a pattern.
    """
    if not _is_pattern(pattern) or len(pattern) > MAX_SUBJECT_BYTES:
        raise BadMessageError(
            f"the subject {_shown(pattern)} can't be subscribed to",
            hint=f"'*' stands for one token, '>' for the rest at the end; {MAX_SUBJECT_BYTES} bytes at most",
        )


def check_name(name: str, what: str) -> None:
    """Refuse a name of a stream, consumer, bucket or queue group that is not ``[A-Za-z0-9_-]{1,64}``.

    Raises:
        BadMessageError: Naming ``what`` it was to name.
    """
    if not _is_token(name):
        raise BadMessageError(f"{_shown(name)} is no name for a {what}", hint="use 1 to 64 of A-Z a-z 0-9 _ -")


def check_key(key: str) -> None:
    """Refuse a key that a bucket can't hold.

    Raises:
        BadMessageError: If it is not dot-separated tokens of ``A-Z a-z 0-9 _ = / -``, or is too long.
    """
    if not _is_key(key) or len(key) > MAX_SUBJECT_BYTES // 2:
        raise BadMessageError(
            f"{_shown(key)} is no key", hint="use tokens of A-Z a-z 0-9 _ = / - joined by single dots"
        )


def header_size(headers: Mapping[str, str]) -> int:
    """Bytes that ``headers`` take on the wire.

    Raises:
        BadMessageError: If a name is not an RFC 7230 token, or a value holds a line break, surrounding
            space or a lone surrogate.
    """
    size = _HEADER_PREAMBLE
    for name, value in headers.items():
        if not _is_header_name(name):
            raise BadMessageError(f"{_shown(name)} is no header name")
        if "\r" in value or "\n" in value or value != value.strip():
            raise BadMessageError(f"the value of header {name} has a line break or surrounding space")
        try:
            size += len(name) + len(value.encode()) + _HEADER_LINE
        except UnicodeEncodeError as error:  # a lone surrogate
            raise BadMessageError(f"the value of header {name} is no text that UTF-8 can hold") from error
    return size


def check_size(data: bytes, headers: Mapping[str, str] | None, max_payload: int) -> None:
    """Refuse a message that is larger than the server takes, headers included.

    Raises:
        TooLargeError: With both sizes in the detail.
        BadMessageError: If a header is malformed.
    """
    size = len(data) + (header_size(headers) if headers else 0)
    if size > max_payload:
        raise TooLargeError(
            f"the message has {size} bytes; the server takes {max_payload}",
            hint="send less, or put it into an object bucket and send its name",
        )


def matches(pattern: str, subject: str) -> bool:
    """True if a subscription to ``pattern`` gets what is published to ``subject``."""
    wanted, tokens = pattern.split("."), subject.split(".")
    for index, word in enumerate(wanted):
        if word == ">":
            return len(tokens) > index
        if index >= len(tokens) or word not in {"*", tokens[index]}:
            return False
    return len(wanted) == len(tokens)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")  # noqa: PLR2004 - one line of a terminal


def check_group(messages: Sequence[tuple[str, bytes, int]], msg_id: str, max_payload: int) -> None:
    """Refuse a group that can't be stored as one.

    Raises:
        BadMessageError: Without messages, without an id, with too many, a bad subject, or one that stands twice.
        TooLargeError: If one is.
    """
    if not msg_id or not 0 < len(messages) <= MOST_IN_GROUP:
        raise BadMessageError(f"a group needs a msg_id and 1 to {MOST_IN_GROUP} messages, not {len(messages)}")
    if len({subject for subject, _, _ in messages}) < len(messages):
        raise BadMessageError("a group has one message for each subject")
    for subject, data, _ in messages:
        check_subject(subject)
        check_size(data, {"Nats-Msg-Id": msg_id, "Nats-Batch-Id": "0" * 32}, max_payload)
