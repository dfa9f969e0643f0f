"""Bytes in and out: sizes, depth, envelopes."""

from __future__ import annotations

import pytest

from chimera.errors import BadMessageError, TooLargeError
from chimera.wire import check_body, check_size, decode, decode_any, encode, is_envelope, unpack_request
from subjects import MAX_DEPTH
from tests.support.probe import Echo


def test_an_empty_body_is_an_empty_object():
    """``nats req chimera.agent.health ''`` works."""
    assert decode(b"", Echo) == Echo()


def test_the_field_that_is_wrong_is_named():
    """The detail leads to it."""
    with pytest.raises(BadMessageError, match="text"):
        decode(b'{"text": 3}', Echo)
    with pytest.raises(BadMessageError, match="other"):
        decode(b'{"other": 3}', Echo)


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_the_depth_limit_is_exact(codec: str):
    """32 levels pass, 33 do not, however long the body is."""
    value: dict[str, object] = {}
    for _ in range(MAX_DEPTH - 1):
        value = {"x": value}
    check_body(encode(value, codec))  # type: ignore[arg-type] - the two codecs
    with pytest.raises(BadMessageError, match="deeper"):
        check_body(encode({"x": value}, codec))  # type: ignore[arg-type] - the two codecs
    with pytest.raises(BadMessageError, match="deeper"):
        decode_any(b"[" * 10_000 + b"]" * 10_000)


def test_a_wide_body_is_not_deep():
    """Many small containers beside each other are fine."""
    check_body(encode([{} for _ in range(1000)], "json"))


def test_an_answer_is_no_request():
    """The kind of an envelope is checked."""
    body = encode([1, None, [], "", {}])
    assert is_envelope(body)
    with pytest.raises(BadMessageError, match="kind 1"):
        unpack_request(body)


def test_a_size_limit_names_both_sizes():
    """So that the caller knows by how much."""
    check_size(10, 10)
    with pytest.raises(TooLargeError, match="11 bytes; at most 10"):
        check_size(11, 10)
