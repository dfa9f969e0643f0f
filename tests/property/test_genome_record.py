"""A sealed record is what was sealed, or it is refused: any bit of it may rot."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.evolving.record import (
    OPERATORS,
    DataWindow,
    GenomeRecord,
    Schema,
    check,
    checksum_of,
    pack_record,
    seal,
    unpack_record,
)
from chimera.errors import CorruptError
from subjects.agent import Limits, Parameter

PARAMETERS = [
    Parameter(name="mode", type="categorical", choices=["plain", "deep"], default="plain"),
    Parameter(name="depth", type="integer", low=1, high=9, default=2, when={"mode": "deep"}),
    Parameter(name="rate", low=0.0, high=1.0, default=0.5),
    Parameter(name="on", type="boolean", default=True),
    Parameter(name="weights", size=3, low=-4, high=4),
]
WINDOW = DataWindow(first=17, last=1040, count=512, digest="ab" * 32)
finite = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def records(draw: st.DrawFn) -> GenomeRecord:
    """Sound, sealed records."""
    deep = draw(st.booleans())
    genes: dict[str, Any] = {
        "mode": "deep" if deep else "plain", "depth": draw(st.integers(1, 9)) if deep else 2,
        "rate": draw(st.floats(0, 1)), "on": draw(st.booleans()),
        "weights": draw(st.lists(st.floats(-4, 4), min_size=3, max_size=3)),
    }  # fmt: skip
    operator = draw(st.sampled_from(OPERATORS))
    parents = draw(st.lists(st.sampled_from(["v-0", "v-1"]), min_size=1, max_size=2))
    failed = draw(st.booleans())
    return seal(GenomeRecord(
        id="v-7", run="v", number=7, agent="sentiment", release=draw(st.integers(1, 1 << 40)), genes=genes,
        operator=operator, seed=draw(st.integers(0, 1 << 62)), generation=draw(st.integers(0, 1000)), window=WINDOW,
        at=draw(st.floats(0, 2e9)), island=draw(st.integers(0, 63)),
        limits=draw(st.none() | st.builds(Limits, cpu_ms=st.floats(1, 1000))),
        parents=parents if operator in ("crossover", "mutation") else [],
        fitness=None if failed else draw(finite), half_width=draw(st.none() | st.floats(0, 1)),
        values=draw(st.lists(finite, max_size=3)), tasks=draw(st.integers(0, 512)), cpu_s=draw(st.floats(0, 100)),
        failure=draw(st.text(min_size=1, max_size=40)) if failed else "",
    ))  # fmt: skip


@settings(deadline=None)
@given(records())
def test_a_sealed_record_comes_back_and_is_sound(record: GenomeRecord):
    """Packed and unpacked, it is the same, and nothing is wrong with it."""
    assert unpack_record(pack_record(record)) == record
    assert check(record, Schema(PARAMETERS, cap=Limits())) == []


@settings(deadline=None)
@given(records(), st.data())
def test_any_flipped_bit_is_found(record: GenomeRecord, data: st.DataObject):
    """Whatever single bit of the stored bytes turns, the record can't be read or is refused."""
    packed = pack_record(record)
    place = data.draw(st.integers(0, len(packed) * 8 - 1))
    with pytest.raises(CorruptError):
        unpack_record(flipped(packed, place))


def flipped(packed: bytes, place: int) -> bytes:
    """The bytes with one bit turned."""
    turned = bytearray(packed)
    turned[place // 8] ^= 1 << place % 8
    return bytes(turned)


def full() -> GenomeRecord:
    """A record with every field set, zeros among its figures."""
    return seal(GenomeRecord(
        id="v-1-7", run="v-1", number=7, agent="sentiment", release=3,
        genes={"mode": "deep", "depth": 3, "rate": 0.0, "on": False, "weights": [0.0, -0.0, 1.5]},
        operator="crossover", seed=0, generation=2, window=WINDOW, at=0.0, island=1, limits=Limits(cpu_ms=0.5),
        parents=["v-1-1", "v-1-2"], fitness=0.0, half_width=0.0, values=[0.0, 1.0], tasks=512, cpu_s=1.25,
        failure="3 of 512 tasks trapped",
    ))  # fmt: skip


def test_every_bit_of_a_full_record_counts():
    """All of them, one after the other."""
    packed = pack_record(full())
    passed: list[int] = []
    for place in range(len(packed) * 8):
        try:
            unpack_record(flipped(packed, place))
        except CorruptError:
            continue
        passed.append(place)
    assert passed == []


def test_what_decodes_to_another_record_has_a_fault():
    """Inside a larger message, where the record's own bytes are not at hand, the checksum alone tells."""
    record = full()
    packed, decoder = pack_record(record), msgspec.msgpack.Decoder(GenomeRecord)
    same = 0
    for place in range(len(packed) * 8):
        try:
            found = decoder.decode(flipped(packed, place))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if found == record and repr(found) == repr(record):
            same += 1
        else:
            assert check(found, Schema(PARAMETERS)), place
    assert same < 10, "few bits change only how the same number is written"


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xc1" * 8, b"\x80", msgspec.msgpack.encode({"type": "other"})])
def test_what_is_no_record_is_refused(data: bytes):
    """Anything else than a record is corrupt, not a crash."""
    with pytest.raises(CorruptError):
        unpack_record(data)


def test_bytes_after_the_record_are_refused():
    """A record is all of its bytes."""
    with pytest.raises(CorruptError):
        unpack_record(pack_record(full()) + b"\x00")


def test_a_record_sealed_with_another_content_is_refused():
    """A record that is changed and keeps its checksum is named in the error; sealed again, it is another record."""
    forged = msgspec.structs.replace(full(), fitness=1.0)
    with pytest.raises(CorruptError, match="v-1-7"):
        unpack_record(pack_record(forged))
    assert unpack_record(pack_record(seal(forged))).fitness == 1.0


def test_the_order_of_genes_does_not_matter():
    """The checksum is of the content: keys are sorted in the canonical encoding."""
    record = full()
    turned = msgspec.structs.replace(record, genes=dict(reversed(list(record.genes.items()))))
    assert list(turned.genes) != list(record.genes)
    assert checksum_of(turned) == record.checksum
    assert unpack_record(pack_record(turned)) == record


def test_whole_numbers_in_float_fields_are_sealed_as_floats():
    """An integer where the type says float would come back as a float, and the checksum would not fit."""
    record = seal(msgspec.structs.replace(full(), fitness=1, at=5, values=[2]))
    assert isinstance(record.fitness, float)
    assert unpack_record(pack_record(record)) == record


def changed(**fields: Any) -> GenomeRecord:
    """The full record, changed and sealed again."""
    return seal(msgspec.structs.replace(full(), **fields))


def with_genes(**genes: Any) -> GenomeRecord:
    """The full record with some genes changed, sealed again."""
    return changed(genes={**full().genes, **genes})


def without(name: str) -> GenomeRecord:
    """The full record without a gene, sealed again."""
    return changed(genes={key: value for key, value in full().genes.items() if key != name})


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        (msgspec.structs.replace(full(), seed=1), "checksum"),
        (with_genes(other=1.0), "unknown gene 'other'"),
        (without("rate"), "gene 'rate' is missing"),
        (with_genes(rate=1.5), "1.5 is outside 0.0 to 1.0"),
        (with_genes(rate=math.nan), "finite"),
        (with_genes(rate="much"), "a number is needed, not a text"),
        (with_genes(rate=1), "written as int, not float"),
        (with_genes(depth=3.0), "written as float, not int"),
        (with_genes(depth=2.5), "whole number"),
        (with_genes(on=1), "true or false"),
        (with_genes(mode="shallow", depth=2), "plain, deep"),
        (with_genes(weights=[1.0]), "3 numbers"),
        (with_genes(mode="plain"), "depth counts only while mode = deep"),
        (changed(limits=Limits(cpu_ms=2000.0)), "limit cpu_ms: 2000.0 is above the cap of 1000.0"),
        (changed(operator="magic"), "unknown operator 'magic'"),
        (changed(operator="drawn"), "has no parents"),
        (changed(parents=[]), "none is named"),
        (changed(parents=["v-1-7"]), "its own parent"),
        (changed(fitness=math.inf), "fitness is not a finite"),
        (changed(values=[math.nan]), "objective's value"),
        (changed(fitness=None, failure=""), "neither a fitness nor a failure"),
        (changed(tasks=-1), "below zero"),
    ],
)
def test_every_fault_is_named(record: GenomeRecord, fault: str):
    """Each kind of fault alone, and nothing else is said."""
    faults = check(record, Schema(PARAMETERS, cap=Limits()))
    assert len(faults) == 1, faults
    assert fault in faults[0]


def test_all_faults_are_told_at_once():
    """A record with several faults names each."""
    record = msgspec.structs.replace(full(), genes={"other": 1.0, "rate": 9.0}, operator="magic")
    faults = " / ".join(check(record, Schema(PARAMETERS)))
    for one in ("checksum", "'other'", "'weights' is missing", "outside", "magic"):
        assert one in faults


def test_genes_that_are_not_searched_may_stand_in_the_release():
    """Conditions are looked up there, and what is searched must be in the record all the same."""
    base = {"mode": "deep", "depth": 2, "rate": 0.5, "on": True, "weights": [0.0, 0.0, 0.0]}
    record = changed(genes={"depth": 7})
    assert check(record, Schema(PARAMETERS, base, searched=("depth",))) == []
    assert check(record, Schema(PARAMETERS, {**base, "mode": "plain"}, searched=("depth",)))
    assert check(record, Schema(PARAMETERS, base, searched=("depth", "rate"))) == ["gene 'rate' is missing"]
