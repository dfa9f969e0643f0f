import struct

import pytest

from edge.guests import shipped_guest, tables
from subjects.agent import Manifest, Parameter

LEXICON = """:)	2.0	0.8	[1]
good	1.9	0.9	[2]
bad	-2.5	0.7	[3]
good	2.1	0	[]
:D	2.3	0	[]
fed up	-1.8	0	[]
"""
MODULE = """
B_INCR = 0.293
NEGATE = \\
    ["not", "bad"]
BOOSTER_DICT = {"very": B_INCR, "kind of": B_DECR}
SPECIAL_CASES = {"the bomb": 3, "badass": 1.5}
raise SystemExit("this source is read, never run")
"""
FUNCTION_WORDS = "# comment words\nthe and\nvery\n"


def look_up(word: str, buckets: bytes, records: bytes) -> tuple[int, int] | None:
    """What lexicon.c does, in Python."""
    starts = struct.unpack(f"<{len(buckets) // 4}I", buckets)
    bucket = tables.hash_word(word.encode()) % tables.BUCKETS
    at = starts[bucket]
    while at < starts[bucket + 1]:
        length, flags, tenths = struct.unpack_from("<BBb", records, at)
        if records[at + 3 : at + 3 + length] == word.encode():
            return flags, tenths
        at += 3 + length
    return None


def test_words_carry_everything_known_about_them():
    """Lists are merged: valence of the last row, flags added up, unreachable entries left out."""
    words = tables.merge_words(LEXICON, MODULE, FUNCTION_WORDS)
    assert words == {
        ":)": (tables.RATED, 20),
        "good": (tables.RATED, 21),
        "bad": (tables.RATED | tables.NEGATES, -25),
        "very": (tables.BOOSTS | tables.FUNCTION, 0),
        "kind of": (tables.DAMPENS, 0),
        "the bomb": (tables.IDIOM, 30),
        "not": (tables.NEGATES, 0),
        "the": (tables.FUNCTION, 0),
        "and": (tables.FUNCTION, 0),
    }


def test_every_packed_word_is_found_and_no_other():
    """The hash table answers every word with its flags and valence, and an unknown word with nothing."""
    words = tables.merge_words(LEXICON, MODULE, FUNCTION_WORDS)
    packed = tables.pack_words(words)
    assert {word: look_up(word, *packed) for word in words} == words
    assert look_up("goo", *packed) is None


def test_packing_does_not_depend_on_the_order_of_words():
    """Bytes are the same whichever way round the words came."""
    words = tables.merge_words(LEXICON, MODULE, FUNCTION_WORDS)
    assert tables.pack_words(dict(reversed(words.items()))) == tables.pack_words(words)


def test_emojis_are_sorted_and_single():
    """Code points ascend, each with its description; sequences of several code points are left out."""
    points, starts, text = tables.pack_emojis("😀\tgrinning face\n❤\tred heart\n👨‍👩\tfamily\n")
    assert struct.unpack("<2I", points) == (0x2764, 0x1F600)
    assert struct.unpack("<3H", starts) == (0, 9, 22)
    assert text == b"red heartgrinning face"


def test_missing_list_is_named():
    """A module without one of the lists stops the build with the list's name."""
    with pytest.raises(ValueError, match="assigns no NEGATE"):
        tables.merge_words(LEXICON, MODULE.replace("NEGATE", "OTHER"), FUNCTION_WORDS)


def test_hash_is_fnv_1a():
    """The published test vectors of FNV-1a hold."""
    assert [tables.hash_word(word) for word in (b"", b"a", b"foobar")] == [0x811C9DC5, 0xE40C292C, 0xBF9CF968]


def test_genome_header_follows_the_manifest():
    """Index, size, bounds, wholeness and defaults of each gene stand in the C header."""
    genes = [
        Parameter(name="step", low=0, high=2, default=0.5),
        Parameter(name="marks", type="integer", low=0, high=9, default=4, size=2),
    ]
    header = tables.genome_header(Manifest(name="x", genome=genes))
    assert "#define GENE_MARKS 1\n#define GENE_MARKS_COUNT 2\n#define GENE_COUNT 3\n" in header
    assert 'ROW("step", 0, 1, 0.0, 2.0, false) ROW("marks", 1, 2, 0.0, 9.0, true)' in header
    assert "{0.5, 4.0, 4.0}" in header


def test_gene_without_bounds_is_refused():
    """The guest checks bounds, so a gene must have them."""
    with pytest.raises(ValueError, match="gene step needs low and high"):
        tables.genome_header(Manifest(name="x", genome=[Parameter(name="step", low=0)]))


def test_sentiment_has_eighty_genes():
    """16 constants and 64 domain genes: what hosts and optimizers send."""
    assert "#define GENE_COUNT 80\n" in tables.genome_header(shipped_guest("sentiment").manifest)
