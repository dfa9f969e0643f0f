"""Whatever an agent declares: a vector is exactly one genome, and a genome exactly one vector."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.evolving.codec import Codec
from actors.execution.genome import complete_genome
from subjects.agent import Parameter

finite = st.floats(-1e6, 1e6, allow_nan=False)


@st.composite
def declarations(draw: st.DrawFn) -> list[Parameter]:
    """A sound declaration with something to search, some of it conditional."""
    made = [Parameter(name="first", low=0.5, high=draw(st.floats(1.0, 1e6)), default=0.75)]
    for index in range(draw(st.integers(0, 7))):
        made.append(draw(declaration(f"p{index}", made)))
    return made


@st.composite
def declaration(draw: st.DrawFn, name: str, earlier: list[Parameter]) -> Parameter:
    """Any parameter that may stand after those before it."""
    fields: dict[str, Any] = {"name": name}
    kind: Any = draw(st.sampled_from(["real", "log", "integer", "many", "categorical", "boolean"]))
    if kind == "categorical":
        fields |= {"type": kind, "choices": ["a", "b", "c"][: draw(st.integers(1, 3))], "default": "a"}
    elif kind == "boolean":
        fields |= {"type": kind, "default": draw(st.booleans())}
    elif kind == "real":
        low = draw(finite)
        high = low + draw(st.sampled_from([0.0, 1.0, 1e5]))
        fields |= {"low": low, "high": high, "default": draw(st.floats(low, high)), "size": draw(st.integers(1, 3))}
    elif kind == "log":
        low = draw(st.sampled_from([1e-9, 1e-3, 0.7, 20.0]))
        fields |= {"low": low, "high": low * 1e6, "default": draw(st.floats(low, low * 1e6))}
    else:
        low = draw(st.integers(1, 50))
        high = low + draw(st.integers(0, 20)) if kind == "integer" else low * 10_000
        fields |= {"type": "integer", "low": low, "high": high, "default": draw(st.integers(low, high))}
    parents = [one for one in earlier if one.type in ("boolean", "categorical")]
    if parents and draw(st.booleans()):
        parent = draw(st.sampled_from(parents))
        wanted: Any = draw(st.booleans()) if parent.type == "boolean" else draw(st.sampled_from(parent.choices))
        fields["when"] = {parent.name: wanted}
    return Parameter(**fields)


@given(declarations(), st.integers(0, 2**32))
@settings(deadline=None)
def test_a_vector_is_one_genome_and_a_genome_one_vector(genome: list[Parameter], seed: int):
    """Encoding what a vector decodes to gives it back to the last bit, and the agent takes every genome."""
    codec = Codec.of(genome)
    random = np.random.default_rng(seed)
    wild = random.uniform(codec.lower - 1.0, codec.upper + 1.0, (6, codec.box.width))
    rows = codec.clip(np.concatenate([codec.box.draw(random, 5), wild, [codec.lower, codec.upper]]))
    assert codec.box.holds(rows)
    assert np.array_equal(codec.clip(rows), rows)
    for row, decoded in zip(rows, codec.decode_all(rows), strict=True):
        assert np.array_equal(codec.encode(decoded.searched), row)
        whole = complete_genome(genome, decoded.genes)
        assert {name: whole[name] for name in decoded.genes} == decoded.genes
        assert set(decoded.searched) <= set(decoded.genes)


@given(declarations())
@settings(deadline=None)
def test_the_live_genome_comes_back_to_the_last_digit(genome: list[Parameter]):
    """The live genome is in the search exactly as it is, on whatever scale."""
    codec = Codec.of(genome)
    live = complete_genome(genome, {})
    decoded = codec.decode(codec.live()).genes
    assert decoded == {name: live[name] for name in decoded}
