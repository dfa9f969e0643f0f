"""Genes as vectors: order, scales, what counts, what is carried, and limits as further genes."""

from typing import Any

import numpy as np
import pytest

from actors.evolving.codec import Codec
from actors.tuning.knobs import execution_parameters
from chimera.errors import BadGenomeError
from edge.guests.catalog import shipped_guest
from tests.support.tuning import MIXED


def row_of(codec: Codec, **values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The live vector with some coordinates set."""
    row = codec.live()
    for name, value in values.items():
        row[codec.names.index(name)] = value
    return row


def test_continuous_coordinates_come_first_and_whole_ones_last():
    """The layout is pygmo's: names, units and kinds in the vector's order, with the number of whole ones."""
    codec = Codec.of(MIXED)
    assert codec.names == (
        "rate", "shift", "edge", "domain.0", "domain.1", "domain.2", "marks", "deep", "depth", "style",
    )  # fmt: skip
    assert codec.nix == 4
    assert codec.kinds == ("real",) * 6 + ("integer", "choice", "integer", "choice")
    assert codec.lower[6:].tolist() == [0.0, 0.0, 1.0, 0.0]
    assert codec.upper[6:].tolist() == [16.0, 1.0, 9.0, 2.0]
    assert len(codec.units) == codec.box.width == 10


def test_a_log_scale_is_a_logarithm():
    """Bounds far apart are searched by factors: the middle of the coordinate is the geometric mean."""
    codec = Codec.of(MIXED)
    assert (codec.lower[0], codec.upper[0]) == (pytest.approx(np.log(0.001)), pytest.approx(np.log(10.0)))
    middle = codec.decode(row_of(codec, rate=np.log(0.1)))
    assert middle.genes["rate"] == 0.1
    assert Codec.of(MIXED, scales={"rate": "linear"}).upper[0] == 10.0


def test_what_does_not_count_is_left_out_and_makes_no_difference():
    """Conditional genes are in the genome only under their condition; without it all their values are one vector."""
    codec = Codec.of(MIXED)
    plain = codec.decode(row_of(codec, deep=0.0, depth=9.0, style=2.0, edge=1.9))
    assert not {"depth", "edge"} & set(plain.genes)
    same = codec.clip(np.stack([row_of(codec, deep=0.0, depth=depth) for depth in (1.0, 5.0, 9.0)]))
    assert len({row.tobytes() for row in same}) == 1
    deep = codec.decode(row_of(codec, deep=1.0, depth=9.0, style=2.0, edge=1.9))
    assert (deep.genes["depth"], deep.genes["edge"]) == (9, 1.9)


def test_genes_that_are_not_searched_are_carried():
    """They keep the live value, are told apart, and can't be given another."""
    codec = Codec.of(MIXED, {"shift": -0.5}, tune=["rate", "marks"])
    decoded = codec.decode(codec.box.upper)
    assert codec.names == ("rate", "marks")
    assert decoded.genes["shift"] == -0.5
    assert decoded.searched == {"rate": 10.0, "marks": 16}
    assert codec.encode({"shift": -0.5}).tolist() == codec.live().tolist()
    with pytest.raises(BadGenomeError, match="not searched"):
        codec.encode({"shift": 0.5})


def test_a_condition_on_a_gene_that_is_not_searched_holds_or_not():
    """The live value of a parent decides whether its children count."""
    for deep in (True, False):
        codec = Codec.of(MIXED, {"deep": deep}, tune=["rate", "depth"])
        assert ("depth" in codec.decode(codec.box.upper).genes) == deep


def test_limits_are_further_genes():
    """Execution settings within bounds are searched beside the genes, under their prefix; bytes stay whole."""
    codec = Codec.of(MIXED, settings=execution_parameters({"cpu_ms": 200.0, "memory_bytes": 1 << 24}))
    assert codec.names[-5:] != codec.names[:5]
    assert {"settings.cpu_ms", "settings.memory_bytes"} <= set(codec.names)
    decoded = codec.decode(codec.live())
    assert decoded.settings == {"cpu_ms": 200.0, "memory_bytes": 1 << 24}
    assert "cpu_ms" not in decoded.genes
    assert codec.names.index("settings.memory_bytes") < codec.box.reals
    drawn = codec.decode_all(codec.box.draw(np.random.default_rng(1), 20))
    assert all(isinstance(one.settings["memory_bytes"], int) for one in drawn)


def test_the_sentiment_agent_has_a_codec():
    """All its genes but one are continuous; a hundred genomes come back as they were."""
    codec = Codec.of(shipped_guest("sentiment").manifest.genome)
    assert (codec.box.width, codec.nix, codec.names[-1]) == (80, 1, "exclamation_limit")
    rows = codec.box.draw(np.random.default_rng(1), 100)
    again = codec.encode_all([one.genes for one in codec.decode_all(rows)])
    assert np.array_equal(again, rows)


def test_unknown_and_unbounded_genes_are_refused():
    """A misspelt name gets a proposal, nothing to search a reason."""
    with pytest.raises(BadGenomeError, match="no parameter 'rte'"):
        Codec.of(MIXED, tune=["rte"])
    with pytest.raises(BadGenomeError, match="no parameter 'nothing'"):
        Codec.of(MIXED).encode({"nothing": 1.0})
    with pytest.raises(BadGenomeError, match="0 dimensions"):
        Codec.of([])
    assert Codec.of(MIXED).encode_all([]).shape == (0, 10)
