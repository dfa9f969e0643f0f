"""The data that C sources embed: word tables from the pinned distribution, the gene table from the manifest.

Everything is a pure function of its inputs, so that the same inputs give the same bytes on every machine.
"""

from __future__ import annotations

import ast
import struct
from collections.abc import Iterable
from pathlib import Path

from subjects.agent import Manifest, Parameter

BUCKETS = 4096
RATED, BOOSTS, DAMPENS, NEGATES, IDIOM, FUNCTION = (1 << bit for bit in range(6))
Words = dict[str, tuple[int, int]]
"""Word to (flags, valence in tenths)."""


def hash_word(word: bytes) -> int:
    """FNV-1a, 32 bits, as ``lexicon_hash`` in lexicon.c."""
    value = 2166136261
    for byte in word:
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return value


def merge_words(lexicon: str, module: str, function_words: str) -> Words:
    """Every word with what is known about it.

    Args:
        lexicon: ``word TAB valence TAB …`` per line; the last of repeated words counts.
        module: Python source with the literals NEGATE, BOOSTER_DICT and SPECIAL_CASES. It is parsed, not run.
        function_words: Words separated by white space; lines starting with # are comments.
    """
    tree = ast.parse(module)
    words: Words = {word: (RATED, tenths) for word, tenths in _rated_words(lexicon)}
    for word, direction in _mapped(tree, "BOOSTER_DICT").items():
        _add(words, word, BOOSTS if direction == "B_INCR" else DAMPENS)
    for phrase, valence in _mapped(tree, "SPECIAL_CASES").items():
        if " " in phrase:  # single words never match as an idiom
            _add(words, phrase, IDIOM, round(float(valence) * 10))
    for word in _listed(tree, "NEGATE"):
        _add(words, word, NEGATES)
    for word in _plain_words(function_words):
        _add(words, word, FUNCTION)
    return words


def pack_words(words: Words) -> tuple[bytes, bytes]:
    """The hash table for lexicon.c: bucket starts, and records of length, flags, valence and word."""
    buckets: list[list[bytes]] = [[] for _ in range(BUCKETS)]
    for word, (flags, tenths) in sorted(words.items()):
        raw = word.encode()
        buckets[hash_word(raw) % BUCKETS].append(struct.pack("<BBb", len(raw), flags, tenths) + raw)
    packed = [b"".join(bucket) for bucket in buckets]
    return _starts(packed, "I"), b"".join(packed)


def pack_emojis(lexicon: str) -> tuple[bytes, bytes, bytes]:
    """Code points, starts of the descriptions, and the descriptions, from ``emoji TAB description`` lines.

    Emojis of several code points are left out: the rules look at one code point at a time.
    """
    rows = [line.split("\t")[:2] for line in lexicon.split("\n") if line.strip()]
    described = sorted({ord(emoji): text.strip().encode() for emoji, text in rows if len(emoji) == 1}.items())
    points = struct.pack(f"<{len(described)}I", *(point for point, _ in described))
    return points, _starts([text for _, text in described], "H"), b"".join(text for _, text in described)


def genome_header(manifest: Manifest) -> str:
    """C declarations of the manifest's genes: index, bounds and default of each."""
    lines = ["/* Made from manifest.json by edge/guests/tables.py. */"]
    rows: list[str] = []
    defaults: list[str] = []
    for gene in manifest.genome:
        name = gene.name.upper()
        lines += [f"#define GENE_{name} {len(defaults)}", f"#define GENE_{name}_COUNT {gene.size}"]
        rows.append(_gene_row(gene, len(defaults)))
        defaults += [repr(float(gene.default))] * gene.size
    lines.append(f"#define GENE_COUNT {len(defaults)}")
    lines.append(f"#define GENOME_PARAMETERS(ROW) {' '.join(rows)}")
    lines.append(f"#define GENOME_DEFAULTS {{{', '.join(defaults)}}}")
    return "\n".join(lines) + "\n"


def write_sentiment_tables(folder: Path, words: Words, emojis: str, manifest: Manifest) -> None:
    """Write what sentiment's sources embed into ``folder``."""
    buckets, records = pack_words(words)
    points, starts, texts = pack_emojis(emojis)
    files = {"words": records, "buckets": buckets, "emoji_points": points, "emoji_starts": starts, "emoji_text": texts}
    for name, content in files.items():
        (folder / f"{name}.bin").write_bytes(content)
    (folder / "genome_table.h").write_text(genome_header(manifest))


def _gene_row(gene: Parameter, first: int) -> str:
    if gene.low is None or gene.high is None:
        raise ValueError(f"gene {gene.name} needs low and high")
    whole = "true" if gene.type == "integer" else "false"
    return f'ROW("{gene.name}", {first}, {gene.size}, {float(gene.low)!r}, {float(gene.high)!r}, {whole})'


def _starts(parts: Iterable[bytes], kind: str) -> bytes:
    starts = [0]
    for part in parts:
        starts.append(starts[-1] + len(part))
    return struct.pack(f"<{len(starts)}{kind}", *starts)


def _rated_words(lexicon: str) -> Iterable[tuple[str, int]]:
    for line in lexicon.split("\n"):
        word, valence = [*line.split("\t"), ""][:2]
        # Texts are lower-cased and split at spaces before the look-up: other entries can never be found.
        if word and word == word.lower() and " " not in word:
            yield word, round(float(valence) * 10)


def _plain_words(text: str) -> Iterable[str]:
    return (word for line in text.splitlines() if not line.startswith("#") for word in line.split())


def _add(words: Words, word: str, flag: int, tenths: int = 0) -> None:
    flags, valence = words.get(word, (0, tenths))
    words[word] = (flags | flag, valence)


def _assigned(tree: ast.Module, name: str) -> ast.expr:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return node.value
    raise ValueError(f"the module assigns no {name}")


def _listed(tree: ast.Module, name: str) -> list[str]:
    value: list[str] = ast.literal_eval(_assigned(tree, name))
    return value


def _mapped(tree: ast.Module, name: str) -> dict[str, str | float]:
    """A dictionary literal; a variable used as a value stays its name."""
    value = _assigned(tree, name)
    if not isinstance(value, ast.Dict):
        raise TypeError(f"{name} is no dictionary literal")
    pairs = zip(value.keys, value.values, strict=True)
    return {ast.literal_eval(key): _name_or_number(item) for key, item in pairs if key is not None}


def _name_or_number(node: ast.expr) -> str | float:
    if isinstance(node, ast.Name):
        return node.id
    number: float = ast.literal_eval(node)
    return number
