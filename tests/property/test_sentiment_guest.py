import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.guests import shipped_guest
from edge.guests.plain import GuestRefusalError, PlainGuest
from subjects.agent import Parameter

GENOME = shipped_guest("sentiment").manifest.genome
FIELDS = {"label", "compound", "positive", "neutral", "negative", "words"}

WORDS = r"""good bad GREAT not very never so this without doubt no or but least at kind of sort yeah right n't isn't
😀 💔 ❤ :) :( !!! ??? É ÿ Ω Я \ " '"""
spice = st.sampled_from([*WORDS.split(), "\u00a0", "\u2028", "\ufeff", "\0", "\ud800", "\U0010ffff"])
texts = st.one_of(st.text(max_size=2000), st.lists(st.one_of(spice, st.text(max_size=8)), max_size=60).map(" ".join))
documents = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)),
    max_leaves=20,
)


def genes_of(gene: Parameter) -> st.SearchStrategy[list[float]]:
    """Values for one parameter of the manifest, its bounds and default more often than others."""
    low, high = float(gene.low or 0), float(gene.high or 0)
    inside = st.floats(low, high) if gene.type == "real" else st.integers(int(low), int(high)).map(float)
    value = st.sampled_from([low, high, float(gene.default)]) | inside
    return st.lists(value, min_size=gene.size, max_size=gene.size)


@pytest.fixture(scope="module")
def guest() -> PlainGuest:
    """One instance for all examples: what a task leaves behind would show in the next."""
    return PlainGuest(shipped_guest("sentiment").module)


def check(answer: bytes) -> dict[str, Any]:
    """The answer, once everything that must hold of any answer was seen to hold."""
    fields = json.loads(answer)
    assert set(fields) == FIELDS
    assert fields["label"] in {"positive", "neutral", "negative"}
    assert -1 <= fields["compound"] <= 1
    shares = fields["positive"] + fields["neutral"] + fields["negative"]
    assert shares == pytest.approx(1 if fields["words"] else 0, abs=2e-6)
    assert min(fields["positive"], fields["neutral"], fields["negative"]) >= 0
    return fields


def parse(payload: bytes) -> Any:
    """What Python's parser makes of it, as strict as RFC 8259 about constants.

    Raises:
        ValueError: If it is not JSON.
    """

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return json.loads(payload.decode("utf-8"), parse_constant=refuse)


def outcome(guest: PlainGuest, payload: bytes) -> str:
    """``ok``, or the guest's refusal."""
    try:
        check(guest.call("predict", payload))
    except GuestRefusalError as refusal:
        return str(refusal)
    return "ok"


def expected(payload: bytes) -> str:
    """A part of the refusal that Python's parser would lead to, or ``ok``."""
    try:
        document = parse(payload)
    except ValueError:
        return "not JSON"
    if not isinstance(document, dict):
        return "must be an object"
    text: Any = document.get("text", ...)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - any JSON
    if text is ...:
        return 'no field "text"'
    return "ok" if isinstance(text, str) else "must be a string"


@given(texts)
@settings(max_examples=300, deadline=None)
def test_any_text_gets_a_valid_answer(guest: PlainGuest, text: str):
    """Whatever the text, the guest does not trap, and both ways to write it as JSON give the same answer."""
    escaped = check(guest.call("predict", json.dumps({"text": text}).encode()))
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if "\ud800" not in text:
        assert check(guest.call("predict", json.dumps({"text": whole}, ensure_ascii=False).encode())) == escaped


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_as_python_reads_them(guest: PlainGuest, payload: bytes):
    """Arbitrary bytes are accepted or refused for the same reason as by Python's JSON parser."""
    assert expected(payload) in outcome(guest, payload)


@given(documents, st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_document_is_read_as_python_reads_it(guest: PlainGuest, document: Any, ascii_only: bool):  # noqa: FBT001 - drawn
    """Any JSON document, alone and beside a text, is accepted or refused for the same reason as by Python's parser."""
    for value in (document, {"more": document, "text": "good"}, {"text": document}):
        payload = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "replace")
        assert expected(payload) in outcome(guest, payload)


@given(
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40),
    st.lists(
        st.tuples(st.floats(0, 1), st.sampled_from(list(b'{}[]:,"\\tru0123456789.eE+-ux \n\x00\x80\xc3\xed\xf0\xff'))),
        max_size=6,
    ),
)
@settings(max_examples=500, deadline=None)
def test_damaged_json_is_read_as_python_reads_it(guest: PlainGuest, text: str, damage: list[tuple[float, int]]):
    """Documents with some bytes overwritten, near the border of JSON, are judged as by Python's parser."""
    document = {"a": [1.5e3, True, None, {"text": "x"}], "text": text, "z": -0.25}
    payload = bytearray(json.dumps(document, ensure_ascii=len(text) % 2 == 0).encode())
    for place, byte in damage:
        payload[int(place * (len(payload) - 1))] = byte
    assert expected(bytes(payload)) in outcome(guest, bytes(payload))


@given(st.tuples(*map(genes_of, GENOME)), st.lists(texts, min_size=1, max_size=5))
@settings(max_examples=150, deadline=None)
def test_any_genome_within_bounds_gives_valid_answers(
    guest: PlainGuest, genes: tuple[list[float], ...], some: list[str]
):
    """Every genome that the manifest allows, ends included, gives scores in range and never NaN."""
    guest.configure([value for vector in genes for value in vector])
    for text in [*some, "GOOD but VERY bad!!!! not so kind of awful ???? least no heart " * 20]:
        check(guest.call("predict", json.dumps({"text": text}).encode()))


@given(st.binary(max_size=700), st.integers(0, 90), st.integers(0, 20))
@settings(max_examples=200, deadline=None)
def test_any_configuration_is_refused_or_leaves_valid_answers(guest: PlainGuest, tail: bytes, genes: int, config: int):
    """Arbitrary bytes as configuration never trap, and whatever the guest took, its answers stay valid."""
    guest.configure()
    for payload in (tail, struct.pack("<II", genes, config) + tail, struct.pack("<II", 80, 0) + (tail * 640)[:640]):
        try:
            guest.call("chimera_configure", payload)
        except GuestRefusalError as refusal:
            assert str(refusal)  # noqa: PT017 - both ways are right
        check(guest.call("predict", b'{"text": "not so good, but fine!"}'))
