"""Genomes that fit are completed and flattened; everything else is refused, for any manifest."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.execution.genome import carry_genome, complete_genome, flatten_genome
from actors.execution.manifest import allows, check_parameters
from chimera.errors import BadGenomeError
from subjects.agent import Parameter

bounds = st.tuples(st.floats(-1e6, 0), st.floats(0, 1e6))


@st.composite
def parameters(draw: st.DrawFn) -> list[Parameter]:
    """A sound declaration."""
    made: list[Parameter] = []
    for index in range(draw(st.integers(0, 5))):
        name, kind = f"p{index}", draw(st.sampled_from(["real", "integer", "categorical", "boolean"]))
        if kind == "categorical":
            made.append(Parameter(name=name, type="categorical", choices=["a", "b"], default="b"))
        elif kind == "boolean":
            made.append(Parameter(name=name, type="boolean", default=draw(st.booleans())))
        else:
            low, high = draw(bounds)
            size = draw(st.integers(1, 4))
            made.append(Parameter(name=name, type=kind, low=low, high=high, size=size))  # pyright: ignore[reportArgumentType] - sampled from the literals
    return made


@given(parameters())
def test_defaults_make_a_whole_genome(declared: list[Parameter]) -> None:
    """A sound declaration is accepted, and nothing given means every default, one float per gene."""
    check_parameters(declared)
    genome = complete_genome(declared, {})
    assert list(genome) == [parameter.name for parameter in declared]
    floats = flatten_genome(declared, genome)
    assert len(floats) == sum(parameter.size for parameter in declared)
    assert all(math.isfinite(gene) for gene in floats)


@given(parameters())
def test_completing_is_idempotent(declared: list[Parameter]) -> None:
    """A whole genome given back is the same genome."""
    genome = complete_genome(declared, {})
    assert complete_genome(declared, genome) == genome


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=8,
)


@given(parameters(), st.dictionaries(st.sampled_from(["p0", "p1", "p2", "p9"]), json_values, max_size=3))
def test_anything_given_is_accepted_within_bounds_or_refused(declared: list[Parameter], given_: dict[str, Any]) -> None:
    """Whatever is given, the result is a finite genome within bounds, or the one error."""
    try:
        genome = complete_genome(declared, given_)
    except BadGenomeError:
        return
    assert set(given_) <= set(genome)
    assert all(math.isfinite(gene) for gene in flatten_genome(declared, genome))
    for parameter in declared:
        if parameter.low is not None and parameter.high is not None:
            value: Any = genome[parameter.name]
            numbers: list[float] = value if parameter.size > 1 else [value]
            assert all(parameter.low <= number <= parameter.high for number in numbers)


MODE = Parameter(name="mode", type="categorical", choices=["plain", "deep"], default="plain")
DEPTH = Parameter(name="depth", type="integer", low=1, high=9, default=2, when={"mode": "deep"})


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"dept": 3}, "no parameter 'dept'"),
        ({"mode": "shallow"}, "plain, deep"),
        ({"mode": "deep", "depth": 10}, "outside 1 to 9"),
        ({"mode": "deep", "depth": 2.5}, "whole number"),
        ({"mode": "deep", "depth": math.nan}, "finite"),
        ({"mode": "deep", "depth": True}, "not a boolean"),
        ({"depth": 3}, "counts only while mode = deep"),
    ],
)
def test_what_does_not_fit_is_named(given_: dict[str, Any], message: str) -> None:
    """The error names the parameter and what would fit; a near miss gets a suggestion."""
    with pytest.raises(BadGenomeError, match=message) as caught:
        complete_genome([MODE, DEPTH], given_)
    if "dept" in given_:
        assert "'depth'" in caught.value.hint


def test_a_condition_that_ends_resets_what_depended_on_it() -> None:
    """A carried value that no longer counts is at its default, so that equal behaviour is an equal genome."""
    deep = complete_genome([MODE, DEPTH], {"mode": "deep", "depth": 5})
    assert complete_genome([MODE, DEPTH], {"mode": "plain"}, deep) == {"mode": "plain", "depth": 2}
    assert complete_genome([MODE, DEPTH], {"depth": 6}, deep)["depth"] == 6


def test_flat_order_and_encoding() -> None:
    """Manifest order; booleans 0 or 1, categories by index, vectors in line."""
    declared = [Parameter(name="on", type="boolean", default=True), MODE, Parameter(name="v", size=2, low=-1, high=1)]
    genome = complete_genome(declared, {"mode": "deep", "v": [0.5, -1]})
    assert flatten_genome(declared, genome) == (1.0, 1.0, 0.5, -1.0)


def test_values_at_their_default_follow_a_new_default() -> None:
    """Only values set on purpose are carried to a new manifest, and only if they still have a parameter."""
    old = [Parameter(name="a", default=1.0), Parameter(name="b", default=1.0), Parameter(name="c", default=1.0)]
    new = [Parameter(name="a", default=5.0), Parameter(name="b", default=5.0)]
    assert carry_genome(old, new, {"a": 1.0, "b": 2.0, "c": 3.0}) == {"b": 2.0}


@pytest.mark.parametrize(
    "declared",
    [
        [Parameter(name="a"), Parameter(name="a")],
        [Parameter(name="a", low=2, high=1, default=1.5)],
        [Parameter(name="a", low=0, high=1, default=2.0)],
        [Parameter(name="a", low=0, high=math.inf)],
        [Parameter(name="a", type="categorical", default="x")],
        [Parameter(name="a", type="categorical", default="x", choices=["y"])],
        [Parameter(name="a", type="boolean", default=False, size=2)],
        [Parameter(name="a", type="boolean", default=0.0)],
        [DEPTH, MODE],
        [MODE, Parameter(name="a", when={"mode": "other"})],
    ],
)
def test_unsound_declarations_are_refused(declared: list[Parameter]) -> None:
    """No genome could satisfy these, or they say two things."""
    with pytest.raises(BadGenomeError):
        check_parameters(declared)


tokens = st.lists(st.sampled_from(["a", "b", "*", ">"]), min_size=1, max_size=4)


@given(tokens, tokens, st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=4))
def test_a_pattern_that_is_allowed_reaches_no_subject_beyond(
    rule: list[str], asked: list[str], sent: list[str]
) -> None:
    """If the rule allows a pattern, whatever the pattern matches is matched by the rule."""
    rule_text, asked_text, subject = ".".join(rule), ".".join(asked), ".".join(sent)
    if ">" in asked[:-1] or ">" in rule[:-1]:
        return
    if allows(rule_text, asked_text) and allows(asked_text, subject):
        assert allows(rule_text, subject)
