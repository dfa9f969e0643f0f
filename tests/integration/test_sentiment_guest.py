import json
import struct
from pathlib import Path
from typing import Any

import pytest

from edge.guests import shipped_guest, tables
from edge.guests.plain import GuestRefusalError, PlainGuest

SENTENCES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "data" / "sentiment_sentences.json").read_text("utf-8")
)
GENOME = shipped_guest("sentiment").manifest.genome
DEFAULTS = [float(gene.default) for gene in GENOME for _ in range(gene.size)]
FIRST = {gene.name: sum(g.size for g in GENOME[:index]) for index, gene in enumerate(GENOME)}


@pytest.fixture
def guest() -> PlainGuest:
    """A fresh instance with its defaults."""
    return PlainGuest(shipped_guest("sentiment").module)


def predict(guest: PlainGuest, text: str) -> dict[str, Any]:
    """The agent's answer for a text."""
    return json.loads(guest.call("predict", json.dumps({"text": text}).encode()))


def genome(**changes: float) -> list[float]:
    """The default genome with some genes changed; ``domain_<n>`` is one gene of the vector."""
    genes = list(DEFAULTS)
    for name, value in changes.items():
        vector, _, index = name.rpartition("_")
        genes[FIRST["domain"] + int(index) if vector == "domain" else FIRST[name]] = value
    return genes


@pytest.mark.parametrize("rule", sorted({row["rule"] for row in SENTENCES}))
def test_scores_are_the_references(guest: PlainGuest, rule: str):
    """On sentences for each rule, compound and shares are those of the Python package (rounded to 4 and 3 digits)."""
    for row in [row for row in SENTENCES if row["rule"] == rule]:
        answer = predict(guest, row["text"])
        assert answer["compound"] == pytest.approx(row["compound"], abs=1e-4), row["text"]
        for share in ("positive", "neutral", "negative"):
            assert answer[share] == pytest.approx(row[share], abs=6e-4), row["text"]


def test_default_genome_sent_explicitly_changes_nothing(guest: PlainGuest):
    """Configured with the manifest's defaults, or with none, the agent answers as it does unconfigured."""
    unconfigured = [predict(guest, row["text"]) for row in SENTENCES]
    guest.configure(DEFAULTS)
    assert [predict(guest, row["text"]) for row in SENTENCES] == unconfigured
    guest.configure(genome(negation_scalar=0.5))
    assert [predict(guest, row["text"]) for row in SENTENCES] != unconfigured
    guest.configure()
    assert [predict(guest, row["text"]) for row in SENTENCES] == unconfigured


@pytest.mark.parametrize("gene", [gene.name for gene in GENOME if gene.size == 1])
@pytest.mark.parametrize("end", ["low", "high"])
def test_every_gene_matters(guest: PlainGuest, gene: str, end: str):
    """Moving any constant to either end of its range changes some answer, and every answer stays in range."""
    before = [predict(guest, row["text"]) for row in SENTENCES]
    guest.configure(genome(**{gene: getattr(GENOME[list(FIRST).index(gene)], end)}))
    after = [predict(guest, row["text"]) for row in SENTENCES]
    assert after != before
    assert all(-1 <= answer["compound"] <= 1 for answer in after)


def test_thresholds_decide_the_label(guest: PlainGuest):
    """The label follows the compound score and the two thresholds, ends included."""
    assert [predict(guest, text)["label"] for text in ("good", "nine", "bad")] == ["positive", "neutral", "negative"]
    guest.configure(genome(positive_threshold=0.5, negative_threshold=-0.9))
    assert [predict(guest, text)["label"] for text in ("good", "nine", "bad")] == ["neutral"] * 3
    guest.configure(genome(positive_threshold=0.0))
    assert predict(guest, "nine")["label"] == "positive"


def test_domain_gene_teaches_an_unknown_word(guest: PlainGuest):
    """A word the lexicon lacks gets the valence of its gene, and all rules then apply to it; others are untouched."""
    bucket = tables.hash_word(b"bullish") % 64
    assert predict(guest, "a bullish chart")["compound"] == 0
    guest.configure(genome(**{f"domain_{bucket}": 2.0}))
    plain = predict(guest, "a bullish chart")["compound"]
    assert plain == pytest.approx(2 / (4 + 15) ** 0.5, abs=1e-6)
    assert predict(guest, "a BULLISH chart")["compound"] > plain
    assert predict(guest, "a very bullish chart")["compound"] > plain
    assert predict(guest, "not a bullish chart")["compound"] < 0
    assert predict(guest, "a bearish chart")["compound"] == 0


def test_domain_gene_corrects_a_rated_word(guest: PlainGuest):
    """The gene adds to a rated word's own valence: here "sick" turns into praise."""
    assert predict(guest, "sick beat")["compound"] < 0
    guest.configure(genome(**{f"domain_{tables.hash_word(b'sick') % 64}": 4.0}))
    assert predict(guest, "sick beat")["compound"] > 0


def test_domain_genes_leave_grammar_alone(guest: PlainGuest):
    """With every domain gene up, words without content, modifiers, negations and short words stay neutral."""
    guest.configure(genome(**{f"domain_{index}": 4.0 for index in range(64)}))
    for text in ("the", "and of with they", "very not isn't", "xq 42 --", "kind of", "about everything"):
        assert predict(guest, text)["compound"] == 0, text
    assert predict(guest, "ledger")["compound"] > 0.7


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "shorter than its header"),
        (struct.pack("<II", 79, 0) + bytes(79 * 8), "has 79 genes; this agent takes 80"),
        (struct.pack("<II", 0xFFFFFFFF, 0), "has 4294967295 genes"),
        (struct.pack("<II", 80, 0) + bytes(79 * 8), "length does not match"),
        (struct.pack("<II", 0, 4) + b"abc", "length does not match"),
        (struct.pack("<II", 0, 2) + b"{}", "no further configuration"),
    ],
)
def test_wrong_configurations_are_refused(guest: PlainGuest, payload: bytes, message: str):
    """Each way to get the payload wrong has its own sentence, and the genome in force stays."""
    guest.configure(genome(capitals_increment=2.0))
    before = predict(guest, "I am HAPPY")
    with pytest.raises(GuestRefusalError, match=message):
        guest.call("chimera_configure", payload)
    assert predict(guest, "I am HAPPY") == before


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 2.5])
def test_gene_out_of_bounds_is_named(guest: PlainGuest, value: float):
    """NaN, infinity and values beyond the bounds are refused with the gene and its range."""
    with pytest.raises(GuestRefusalError, match=r"gene booster_increment must be a number from 0\.000 to 2\.000"):
        guest.configure(genome(booster_increment=value))


def test_integer_gene_takes_integers_only(guest: PlainGuest):
    """Half an exclamation mark is refused."""
    with pytest.raises(GuestRefusalError, match=r"exclamation_limit must be an integer from 0\.000 to 16\.000"):
        guest.configure(genome(exclamation_limit=2.5))


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"text": "a"} x', "not JSON"),
        (b'{"text": "a", }', "not JSON"),
        (b'{"text": "\xff"}', "not JSON in UTF-8"),
        (b'{"text": "\xed\xa0\x80"}', "not JSON in UTF-8"),
        (b'{"text": "\\x"}', "not JSON"),
        (b'{"text": "a\nb"}', "not JSON"),
        (b'{"text": 01}', "not JSON"),
        (b'"text"', "must be an object"),
        (b"[]", "must be an object"),
        (b"{}", 'no field "text"'),
        (b'{"tex": "a", "texts": "b", "Text": "c"}', 'no field "text"'),
        (b'{"text": null}', "must be a string"),
        (b'{"text": ["a"]}', "must be a string"),
    ],
)
def test_wrong_inputs_are_refused(guest: PlainGuest, payload: bytes, message: str):
    """Each way to get the input wrong has its own sentence; the instance goes on working."""
    with pytest.raises(GuestRefusalError, match=message):
        guest.call("predict", payload)
    assert predict(guest, "good")["label"] == "positive"


@pytest.mark.parametrize(
    "payload",
    [
        b'{"text":"good"}',
        b' \t\r\n{ "text" : "good" } \n',
        b'{"text": "bad", "text": "good"}',
        b'{"\\u0074ext": "\\u0067ood"}',
        b'{"lang": "en", "more": {"text": "bad", "a": [1, -0.5e+3, true, false, null, "\\""]}, "text": "good"}',
        b'{"text": "good", "more": ' + b"[" * 31 + b"]" * 31 + b"}",
    ],
)
def test_right_inputs_are_read(guest: PlainGuest, payload: bytes):
    """White space, escapes, repeated, unknown and nested fields are read as JSON says."""
    assert json.loads(guest.call("predict", payload)) == predict(guest, "good")


def test_nesting_has_a_limit(guest: PlainGuest):
    """33 levels are refused, and a hundred thousand do not overflow the stack."""
    for depth in (32, 100_000):
        with pytest.raises(GuestRefusalError, match="at most 32 deep"):
            guest.call("predict", b'{"text": "good", "more": ' + b"[" * depth + b"]" * depth + b"}")


def test_escapes_reach_the_words(guest: PlainGuest):
    """A surrogate pair is one emoji; a lone half becomes U+FFFD and what follows it is still read."""
    assert predict(guest, "😀") == json.loads(guest.call("predict", b'{"text": "\\ud83d\\ude00"}'))
    lone = json.loads(guest.call("predict", '{"text": "\ufffd good \ufffd"}'.encode()))
    assert json.loads(guest.call("predict", b'{"text": "\\ud83d good \\uDE00"}')) == lone
    assert lone["label"] == "positive"


def test_length_of_a_text_is_limited(guest: PlainGuest):
    """64 KiB of UTF-8 are scored, one byte more is refused with the limit."""
    assert predict(guest, "good " * 13107)["words"] == 13107
    with pytest.raises(GuestRefusalError, match="longer than 65536 bytes"):
        predict(guest, "x" * 65537)


def test_longest_text_of_emojis_fits_the_memory_limit(guest: PlainGuest):
    """The text that grows most when its emojis are described stays within the manifest's memory."""
    answer = predict(guest, "㊙" * 21845)
    assert answer["words"] == 3 * 21845
    assert guest.memory_bytes <= shipped_guest("sentiment").manifest.limits.memory_bytes


def test_memory_does_not_grow_with_tasks(guest: PlainGuest):
    """An instance that is reused gives back what each task took."""
    predict(guest, "good " * 1000)
    before = guest.memory_bytes
    for _ in range(300):
        predict(guest, "good " * 1000)
    assert guest.memory_bytes == before


def test_answer_counts_words(guest: PlainGuest):
    """Words are counted after emojis were replaced by theirs; an empty text has none and scores 0."""
    assert predict(guest, "two words")["words"] == 2
    assert predict(guest, "😀")["words"] == 2
    empty = {"label": "neutral", "compound": 0, "positive": 0, "neutral": 0, "negative": 0, "words": 0}
    assert predict(guest, "  ") == empty


def test_manifest_names_fields_that_the_answer_has(guest: PlainGuest):
    """Label, score and descriptors of the manifest are fields of the real output."""
    manifest = shipped_guest("sentiment").manifest
    answer = predict(guest, "good")
    assert {manifest.label, manifest.score, *manifest.descriptors} <= set(answer)


def test_echo_answers_its_input():
    """Both tasks of the echo guest return the bytes they got, none and many included."""
    echo = PlainGuest(shipped_guest("echo").module)
    for payload in (b"", b"{}", bytes(range(256)) * 1024):
        assert echo.call("echo", payload) == echo.call("predict", payload) == payload
