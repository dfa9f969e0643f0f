"""The sandbox's codecs, for all inputs: packed results, the configure payload, records in arbitrary pieces."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.sandbox import GuestFailure, GuestResult
from chimera.sandbox.abi import pack_configure, pack_result, unpack_configure, unpack_result
from chimera.sandbox.records import BadRecordError, RecordReader, pack, pack_outcome, unpack_outcome

sizes = st.integers(0, 2**32 - 1)
times = st.floats(0, 1e6)
logs = st.lists(st.text(max_size=20), max_size=3).map(tuple)
results = st.builds(
    GuestResult, st.binary(max_size=200), times, times, sizes, logs, sizes,
    st.lists(st.tuples(st.text(max_size=9), st.binary(max_size=9)), max_size=3).map(tuple),
)  # fmt: skip
kinds = st.sampled_from(["agent-error", "agent-trap", "agent-limit", "agent-contract", "lost"])
failures = st.builds(
    GuestFailure, kinds, st.text(max_size=50), st.text(max_size=9), times, times, sizes, st.booleans(), logs
)


@given(pointer=sizes, length=st.integers(0, 2**31 - 1), is_error=st.booleans())
def test_packed_result(pointer: int, length: int, *, is_error: bool):
    """Every pointer, length and flag survives, and fits a signed 64-bit integer."""
    packed = pack_result(pointer, length, is_error=is_error)
    assert -(2**63) <= packed < 2**63
    assert unpack_result(packed) == (pointer, length, is_error)
    assert unpack_result(packed & (2**64 - 1)) == (pointer, length, is_error)


@given(st.lists(st.floats(), max_size=80), st.binary(max_size=80))
def test_configure_payload(genome: list[float], config: bytes):
    """Genes and opaque bytes survive; the floats start 8-aligned after the header."""
    payload = pack_configure(genome, config)
    assert len(payload) == 8 + 8 * len(genome) + len(config)
    genes, rest = unpack_configure(payload)
    assert rest == config
    assert all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(genes, genome, strict=True))


@given(st.binary(max_size=60))
def test_a_wrong_configure_payload_is_refused(payload: bytes):
    """Whatever the bytes: either the lengths add up and packing gives them back, or it is an error."""
    try:
        genes, config = unpack_configure(payload)
    except ValueError:
        return
    assert len(pack_configure(genes, config)) == len(payload)


@given(st.lists(results | failures, min_size=1, max_size=6), st.lists(st.integers(1, 40), min_size=1, max_size=40))
def test_records_in_pieces(outcomes: list[GuestResult | GuestFailure], cuts: list[int]):
    """However the stream is cut, the same outcomes come out in the same order."""
    stream = b"".join(pack_outcome(seq, 1, outcome) for seq, outcome in enumerate(outcomes))
    reader, at, turn = RecordReader(), 0, 0
    found: list[tuple[Any, ...]] = []
    while at < len(stream):
        step = cuts[turn % len(cuts)]
        found.extend(reader.feed(stream[at : at + step]))
        at, turn = at + step, turn + 1
    assert [record[1] for record in found] == list(range(len(outcomes)))
    assert [unpack_outcome(record) for record in found] == outcomes


@given(st.binary(min_size=1, max_size=300))
def test_garbage_raises_one_error(data: bytes):
    """A worker may send any bytes: the reader gives records or raises BadRecordError, nothing else."""
    try:
        for record in RecordReader().feed(data):
            unpack_outcome(record)
    except BadRecordError:
        pass


def test_a_record_that_is_too_long_is_refused():
    """The reader never holds more than its bound."""
    reader = RecordReader(max_record_bytes=1000)
    data = pack((1, b"x" * 600_000))

    def feed_all() -> None:
        for at in range(0, len(data), 100_000):
            list(reader.feed(data[at : at + 100_000]))

    with pytest.raises(BadRecordError):
        feed_all()
