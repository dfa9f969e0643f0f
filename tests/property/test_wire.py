"""Codecs and envelopes under any value and any garbage."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.errors import BadMessageError, ChimeraError, ConflictError
from chimera.wire import (
    check_body,
    codec_of,
    decode,
    decode_any,
    encode,
    is_envelope,
    pack_chunk,
    pack_problem,
    pack_request,
    pack_value,
    unpack_reply,
    unpack_request,
)
from subjects import MAX_DEPTH
from tests.support.probe import Echo, Free

scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text()
values: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)
objects = st.dictionaries(st.text(), values, max_size=5)


@given(objects)
def test_objects_are_told_apart_by_their_first_byte(value: dict[str, Any]):
    """Both codecs, and any other JSON writer, are recognised, and decode to the same."""
    finite: dict[str, Any] = (
        json.loads(json.dumps(value, allow_nan=True)) if "Infinity" not in json.dumps(value) else {}
    )
    for body in (encode(finite, "json"), encode(finite, "msgpack"), json.dumps(finite, indent=1).encode()):
        assert decode_any(body) == finite
        assert not is_envelope(body)
    assert codec_of(encode(value, "msgpack")) == "msgpack"


@given(values, st.integers(0, 2**50) | st.none(), st.lists(st.text(), max_size=5), st.text())
def test_a_request_survives_its_envelope(value: Any, deadline: int | None, chain: list[str], trace: str):
    """Deadline, chain and trace come back, and the message still encoded."""
    body = pack_request(value, deadline=deadline, chain=tuple(chain), trace=trace)
    assert is_envelope(body)
    envelope = unpack_request(body)
    assert (envelope.deadline, list(envelope.chain), envelope.trace) == (deadline, chain, trace)
    assert decode_any(bytes(envelope.message)) == value or codec_of(bytes(envelope.message)) == "json"


@given(values)
def test_an_answer_survives_its_envelope(value: Any):
    """Values and elements of streams."""
    for body in (pack_value(value), pack_chunk(value)):
        assert decode_any(bytes(unpack_reply(body).body)) == value or codec_of(bytes(unpack_reply(body).body)) == "json"


@given(st.text(), st.text(), st.floats(0, 1e6) | st.none(), objects | st.none())
def test_a_failure_survives_its_envelope(detail: str, hint: str, after: float | None, data: dict[str, Any] | None):
    """It is raised where the answer is read."""
    error = ConflictError(detail, hint=hint, retry_after_s=after, data=data)
    with pytest.raises(ConflictError) as caught:
        unpack_reply(pack_problem(error))
    assert caught.value.problem() == error.problem()


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda tail: b"\x95\x00\xc0\x90\xa0" + tail))
def test_garbage_is_refused_politely(body: bytes):
    """Nothing but BadMessageError comes out of any reader."""
    readers: tuple[Callable[[bytes], object], ...] = (
        decode_any, check_body, unpack_request, unpack_reply, lambda data: decode(data, Echo),
        lambda data: decode(data, Free), lambda data: decode(data, Free, "msgpack"),
    )  # fmt: skip
    for read in readers:
        try:
            read(body)
        except BadMessageError:
            continue
        except ChimeraError:
            assert read is unpack_reply, "only an answer may carry another error"


@given(st.integers(1, 80), st.sampled_from(["json", "msgpack"]), st.sampled_from(["list", "dict"]))
def test_depth_is_refused_exactly_beyond_the_limit(depth: int, codec: Any, kind: str):
    """Whatever it is nested in."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind == "list" else {"k": value}
    try:
        check_body(encode(value, codec), codec)
    except BadMessageError:
        assert depth > MAX_DEPTH
    else:
        assert depth <= MAX_DEPTH
