"""Ancestors are found once each, within bounds, and impossible lineages are named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.evolving.lineage import ancestors, circular, faults


@dataclass(frozen=True)
class Born:
    """A genome as far as lineage looks."""

    id: str
    parents: Sequence[str] = ()
    generation: int = 0
    operator: str = "crossover"


def book(*births: Born) -> dict[str, Born]:
    """By id."""
    return {birth.id: birth for birth in births}


@st.composite
def histories(draw: st.DrawFn) -> dict[str, Born]:
    """Genomes whose parents came before them."""
    made: list[Born] = []
    for number in range(draw(st.integers(1, 25))):
        parents = draw(st.lists(st.sampled_from(made), max_size=2)) if made else []
        generation = max((parent.generation for parent in parents), default=0) + draw(st.integers(0, 2))
        made.append(Born(f"v-{number}", [parent.id for parent in parents], generation))
    return book(*made)


def reach(id_: str, births: dict[str, Born]) -> set[str]:
    """All ancestors by recursion."""
    found = {id_}
    for parent in births[id_].parents:
        found |= reach(parent, births)
    return found


@settings(deadline=None)
@given(histories(), st.data())
def test_the_tree_holds_every_ancestor_once(births: dict[str, Born], data: st.DataObject):
    """Unbounded, it is all ancestors, nearest first, each edge between two of them."""
    id_ = data.draw(st.sampled_from(sorted(births)))
    tree = ancestors(id_, births, depth=100)
    ids = [one.id for one in tree.ancestors]
    assert ids[0] == id_
    assert set(ids) == reach(id_, births)
    assert len(ids) == len(set(ids))
    depths = [one.depth for one in tree.ancestors]
    assert depths == sorted(depths)
    assert all(parent in ids and child in ids for parent, child in tree.edges)
    assert (tree.cut, tree.unknown) == (False, ())
    assert faults(births.values()) == {}


@settings(deadline=None)
@given(histories(), st.data(), st.integers(0, 4), st.integers(1, 6))
def test_the_tree_is_bounded_and_says_so(births: dict[str, Born], data: st.DataObject, depth: int, most: int):
    """Never deeper or larger than asked for; ``cut`` exactly if something is left out."""
    id_ = data.draw(st.sampled_from(sorted(births)))
    tree = ancestors(id_, births, depth=depth, most=most)
    assert len(tree.ancestors) <= most
    assert all(one.depth <= depth for one in tree.ancestors)
    assert tree.cut == (len(tree.ancestors) < len(reach(id_, births)))


def test_circles_end_and_are_named():
    """A tree of a circle is finite; who is on it, or comes of it, is named."""
    births = book(Born("a", ["b"]), Born("b", ["a"]), Born("c", ["b"]), Born("d"))
    assert [one.id for one in ancestors("c", births).ancestors] == ["c", "b", "a"]
    assert circular(births) == ["a", "b", "c"]
    assert set(faults(births.values())) == {"a", "b", "c"}
    assert circular(book(Born("e", ["e"]))) == ["e"]


def test_unknown_and_later_parents_are_named():
    """Each fault with the parent it is about; a parent of the same generation is fine."""
    births = book(Born("a", ["x"], 1), Born("b", ["c"], 1), Born("c", [], 2), Born("d", ["c"], 2))
    found = faults(births.values())
    assert found == {"a": ["its parent 'x' is not known"], "b": ["its parent 'c' is of generation 2, after its own"]}
    assert ancestors("a", births).unknown == ("x",)
    with pytest.raises(KeyError):
        ancestors("x", births)


def test_long_lineages_do_not_recurse():
    """Fifty thousand generations are a list, not a stack."""
    births = book(*(Born(f"{i}", [f"{i - 1}"] if i else [], i) for i in range(50_000)))
    assert faults(births.values()) == {}
    assert len(ancestors("49999", births, depth=10**6, most=10**6).ancestors) == 50_000
