"""Whatever an agent declares: points stand for genomes exactly, and nothing that is proposed is out of bounds."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.execution.genome import complete_genome
from actors.tuning import Dimension, Space, Study
from actors.tuning.cube import Cube
from chimera.errors import BadGenomeError
from subjects.agent import Parameter
from tests.support.tuning import MIXED, plan_of

finite = st.floats(-1e6, 1e6, allow_nan=False)


@st.composite
def parameters(draw: st.DrawFn) -> list[Parameter]:
    """A sound declaration with at least one real dimension, some of it conditional."""
    made = [Parameter(name="first", low=0.5, high=draw(st.floats(1.0, 1e6)), default=0.75)]
    for index in range(draw(st.integers(0, 6))):
        made.append(draw(parameter(f"p{index}", made)))
    return made


@st.composite
def parameter(draw: st.DrawFn, name: str, earlier: list[Parameter]) -> Parameter:
    """Any parameter that may stand after those before it."""
    fields: dict[str, Any] = {"name": name}
    kind: Any = draw(st.sampled_from(["real", "integer", "categorical", "boolean"]))
    if kind == "categorical":
        fields |= {"choices": ["a", "b", "c"][: draw(st.integers(1, 3))], "default": "a"}
    elif kind == "boolean":
        fields["default"] = draw(st.booleans())
    else:
        low = draw(st.integers(-50, 50))
        fields |= {
            "low": low,
            "high": low + draw(st.integers(0, 5000)),
            "default": low,
            "size": draw(st.integers(1, 3)),
        }
    switches = [other for other in earlier if other.type in {"boolean", "categorical"}]
    if switches and draw(st.booleans()):
        switch = draw(st.sampled_from(switches))
        fields["when"] = {switch.name: draw(st.sampled_from(switch.choices or [True, False]))}
    return Parameter(type=kind, **fields)


def anything(draw: st.DrawFn, dimension: Dimension) -> Any:
    """A value of the dimension."""
    if dimension.kind == "choice":
        return draw(st.sampled_from(dimension.choices))
    if dimension.kind == "integer":
        return draw(st.integers(int(dimension.low), int(dimension.high)))
    return draw(st.floats(dimension.low, dimension.high))


@given(parameters(), st.data())
def test_points_and_genomes_are_the_same_thing(declared: list[Parameter], data: st.DataObject) -> None:
    """Point to genome to point, and genome to point to genome, change nothing, and the agent accepts the genome."""
    space = Space.of(declared, declared)
    point = space.walk(lambda dimension: anything(data.draw, dimension))  # pyright: ignore[reportArgumentType] - the same call
    found = space.decode(point)
    assert space.encode(found.genome, found.settings) == point
    assert list(space.encode(found.genome, found.settings)) == list(point)
    assert complete_genome(declared, found.genome) == found.genome
    assert space.decode(space.encode(found.genome, found.settings)) == found
    assert space.check(point) == point


@given(parameters())
def test_the_known_good_setting_is_a_point(declared: list[Parameter]) -> None:
    """What is live comes back from its point to the last bit."""
    space = Space.of(declared)
    assert space.decode(space.start()).genome == complete_genome(declared, {})


@given(parameters(), st.data())
def test_the_cube_keeps_bounds_and_meaning(declared: list[Parameter], data: st.DataObject) -> None:
    """Any row of the unit cube stands for a point within bounds, and snapping a row does not change its point."""
    space = Space.of(declared)
    cube = Cube(space)
    row = cube.row({})
    row[:] = data.draw(st.lists(st.floats(-0.5, 1.5), min_size=cube.width, max_size=cube.width))
    snapped = cube.snap(row[None])
    point = space.walk(lambda dimension: cube.values(snapped[0])[dimension.key])
    assert space.walk(lambda dimension: cube.values(row.clip(0, 1))[dimension.key]) == point
    again = cube.snap(snapped)
    assert abs(again - snapped).max() < 1e-9
    whole = {key: value for key, value in point.items() if not isinstance(value, float)}
    back = cube.values(cube.row(point))
    assert {key: back[key] for key in whole} == whole


@pytest.mark.parametrize("algorithm", ["bayesian", "gp", "cmaes", "random"])
@settings(max_examples=8, deadline=None)
@given(declared=parameters(), seed=st.integers(0, 2**40), values=st.lists(finite, min_size=14, max_size=14))
def test_proposals_stay_within_bounds(
    algorithm: str, declared: list[Parameter], seed: int, values: list[float]
) -> None:
    """Whatever the results are, each algorithm proposes points which the space accepts."""
    study = Study(plan_of(algorithm, genome=declared, seed=seed, start_known=False))
    for value in values:
        asked = study.ask(0.0)
        assert study.space.check(asked.point) == asked.point
        study.apply(asked)
        study.apply(study.tell(asked.number, 0.0, value))


def test_conditional_dimensions_are_in_a_point_only_while_they_count():
    """A dimension whose condition does not hold is absent, and its parameter at the default."""
    space = Space.of(MIXED)
    flat = space.walk(lambda dimension: False if dimension.key == "genome.deep" else dimension.default)
    assert "genome.depth" not in flat
    deep = {**flat, "genome.deep": True, "genome.depth": 9, "genome.style": "hard", "genome.edge": 1.5}
    assert space.decode(deep).genome["depth"] == 9
    with pytest.raises(BadGenomeError, match=r"genome\.depth does not count"):
        space.decode({**flat, "genome.depth": 9})
    with pytest.raises(BadGenomeError, match=r"lacks genome\.depth"):
        space.decode({key: value for key, value in deep.items() if key != "genome.depth"})


def test_scales_follow_the_bounds_or_what_is_said():
    """Positive bounds a hundredfold apart mean a log scale; a name may say otherwise; nonsense is refused."""
    wide, narrow = (
        Parameter(name="wide", low=0.1, high=200.0, default=1.0),
        Parameter(name="narrow", low=1, high=9, default=1),
    )
    assert [dimension.log for dimension in Space.of([wide, narrow]).dimensions] == [True, False]
    said = Space.of([wide, narrow], scales={"wide": "linear", "narrow": "log"})
    assert [dimension.log for dimension in said.dimensions] == [False, True]
    with pytest.raises(BadGenomeError, match="above 0"):
        Space.of([Parameter(name="x", low=0.0, high=1.0)], scales={"x": "log"})


def test_what_is_not_tuned_keeps_its_base_value():
    """Named parameters only are searched; the rest is as it is live, and a genome that changes it is no point."""
    space = Space.of(MIXED, base={"shift": 0.75, "deep": True, "depth": 5}, tune=["rate"])
    assert [dimension.key for dimension in space.dimensions] == ["genome.rate"]
    genome = space.decode({"genome.rate": 2.0}).genome
    assert (genome["rate"], genome["shift"], genome["depth"]) == (2.0, 0.75, 5)
    with pytest.raises(BadGenomeError, match="not searched"):
        space.encode({"shift": 0.5})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tune": ["rat"]}, "no parameter 'rat'"),
        ({"scales": {"depht": "log"}}, "no parameter 'depht'"),
        ({"base": {"rate": 99.0}}, "outside"),
        ({"genome": [Parameter(name="open", low=0.0)]}, "0 dimensions"),
        ({"genome": [Parameter(name="open", low=0.0)], "tune": ["open"]}, "can't be tuned"),
        ({"genome": [Parameter(name="many", low=0.0, high=1.0, size=300)]}, "300 dimensions"),
    ],
)
def test_unsound_spaces_are_refused(fields: dict[str, Any], words: str):
    """Names nobody knows, bases out of bounds, nothing or too much to search: each with a clear error."""
    with pytest.raises(BadGenomeError, match=words):
        plan_of(**fields).space()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.5", None, True, 11.0])
def test_bad_values_are_refused(value: Any):
    """A point with a value of the wrong type, not finite or out of bounds is refused by its dimension's name."""
    space = Space.of(MIXED, tune=["rate"])
    with pytest.raises(BadGenomeError, match=r"genome\.rate"):
        space.check({"genome.rate": value})
