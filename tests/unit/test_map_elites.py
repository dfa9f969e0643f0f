"""The map of good and different genomes, and islands that send their best around."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from actors.evolving.box import Array, Box
from actors.evolving.engine import FAILED, Members, Setup
from actors.evolving.engines import Name, make
from actors.evolving.islands import Island, Islands
from actors.evolving.map_elites import Axis, MapElites
from actors.evolving.steady import Steady
from tests.support.breeds import engine_of, measured

UNIT = Box(np.zeros(4), np.ones(4))
AXES = (Axis(0.0, 1.0, 8), Axis(0.0, 1.0, 4))


def shown(rows: Array) -> Array:
    """A bowl, and the first two genes as behaviour; every 13th slice of the third gene fails."""
    found = np.column_stack([((rows - 0.4) ** 2).sum(axis=1), rows[:, 0], rows[:, 1]])
    found[np.floor(rows[:, 2] * 130.0) % 13 == 7] = np.inf
    return found


def one(loss: float, *place: float) -> Members:
    """A genome from elsewhere."""
    return Members(np.full((1, 4), 0.5), np.array([[loss, *place]]), ((9, int(loss * 100)),))


def test_cells_only_get_better():
    """Over 60 steps no cell is lost and none gets worse; failures are never on the map."""
    engine = MapElites(UNIT, Setup(size=30, seed=1), axes=AXES)
    before: dict[tuple[int, ...], float] = {}
    for _ in range(60):
        engine.step(shown)
        now = {elite.cell: elite.values[0] for elite in engine.cells()}
        assert all(now[cell] <= loss for cell, loss in before.items())
        assert max(now.values()) < FAILED
        before = now
    assert engine.coverage == len(before) / 32 == 1.0
    assert engine.score(2.0) == pytest.approx(sum(2.0 - loss for loss in before.values()))


def test_each_genome_is_in_the_cell_of_its_behaviour():
    """Cells follow the descriptors, with the edges belonging to the outermost cells and beyond."""
    engine = MapElites(UNIT, Setup(size=2, seed=1), axes=AXES)
    for place, cell in (((0.0, 0.0), (0, 0)), ((0.99, 0.5), (7, 2)), ((1.0, 1.0), (7, 3)), ((-3.0, 9.0), (0, 3))):
        engine.receive(one(0.5, *place))
        assert cell in {elite.cell for elite in engine.cells()}
    assert len(engine.cells()) == 4
    engine.receive(one(0.4, 0.0, 0.0))
    engine.receive(one(0.6, 0.01, 0.01))
    assert [elite.values[0] for elite in engine.cells() if elite.cell == (0, 0)] == [0.4]


def test_an_elite_measured_again_moves_to_where_it_belongs():
    """Its old cell is free, its new one has it if it is the better one there; strangers change nothing."""
    engine = MapElites(UNIT, Setup(size=2, seed=1), axes=AXES)
    for loss, place in ((0.1, 0.0), (0.2, 0.5), (0.3, 0.9)):
        engine.receive(one(loss, place, 0.0))
    assert engine.update((9, 10), [0.15, 0.95, 0.0])
    assert [(elite.cell, elite.birth) for elite in engine.cells()] == [((4, 0), (9, 20)), ((7, 0), (9, 10))]
    assert engine.update((9, 20), [0.9, 0.95, 0.0])
    assert [elite.birth for elite in engine.cells()] == [(9, 10)]
    assert not engine.update((9, 20), [0.0, 0.0, 0.0])
    assert engine.update((9, 10), [np.nan, 0.0, 0.0])
    assert engine.coverage == 0.0
    assert engine.step(shown).generation == 0


def test_a_map_that_lost_everything_begins_anew():
    """With no elite left, the next brood is drawn."""
    engine = MapElites(UNIT, Setup(size=5, seed=1), axes=AXES)
    engine.step(lambda rows: np.full((len(rows), 3), np.nan))
    assert set(engine.step(shown).brood.operators) == {"drawn"}
    assert set(engine.step(shown).brood.operators) == {"crossover"}


def test_limits_come_before_losses_in_a_cell():
    """A genome that keeps the limit takes the cell from a better one that breaks it."""
    engine = MapElites(UNIT, Setup(size=4, seed=1, constraints=1), axes=AXES)
    engine.receive(Members(np.zeros((1, 4)), np.array([[0.1, 0.5, 0.2, 0.2]]), ((9, 0),)))
    engine.receive(Members(np.ones((1, 4)), np.array([[0.9, 0.0, 0.2, 0.2]]), ((9, 1),)))
    assert [elite.birth for elite in engine.cells()] == [(9, 1)]


def test_axes_must_make_sense():
    """An empty range, no cells, or no axis at all raise."""
    for low, high, cells in ((1.0, 1.0, 4), (0.0, 1.0, 0)):
        with pytest.raises(ValueError, match="an axis needs"):
            Axis(low, high, cells)
    with pytest.raises(ValueError, match="an axis at least"):
        MapElites(UNIT, Setup(size=4), axes=())


def steady_ring(count: int, size: int = 20) -> Islands:
    """Islands after one generation; the losses of island i are around i."""
    engines = [cast("Steady", make("steady", UNIT, Setup(size=size, seed=1, island=place))) for place in range(count)]
    for place, engine in enumerate(engines):
        for number in range(size):
            engine.tell(engine.ask().number, [place + number / 100.0])
    return Islands(engines)


def test_the_best_move_on_around_the_ring_all_at_once():
    """Each island's best as they were before anybody moved go to the next one, in the order of the islands."""
    ring = steady_ring(3)
    moves = ring.migrate()
    assert [(move.source, move.target, move.members.births) for move in moves] == [
        (0, 1, ((0, 0),)), (1, 2, ((1, 0),)), (2, 0, ((2, 0),)),
    ]  # fmt: skip
    assert all((move.source, 0) in ring.engines[move.target].emigrants(20).births for move in moves)


def test_a_migration_is_applied_elsewhere_as_it_was():
    """What a ring logged makes another one the same, and the same again when it asks."""
    ring, other = steady_ring(4), steady_ring(4)
    other.apply(ring.migrate())
    for mine, theirs in zip(cast("list[Steady]", ring.engines), cast("list[Steady]", other.engines), strict=True):
        assert mine.population.births == theirs.population.births
        assert np.array_equal(mine.ask().vector, theirs.ask().vector)


@pytest.mark.parametrize("name", ["cmaes", "gaco", "nsga2", "map-elites"])
def test_engines_of_generations_can_be_islands(name: Name):
    """They send their best; those that can use migrants have them as members afterwards."""
    engines = [engine_of(name, island=place) for place in range(2)]
    for engine in engines:
        for _ in range(2):
            engine.step(lambda rows, engine=engine: measured(engine, rows))
    best = [engine.emigrants(1).values[0, 0] for engine in engines]
    moves = Islands(engines).migrate()
    assert len(moves) == (0 if name == "cmaes" else 2)
    for move in moves:
        assert move.members.values[0, 0] == best[move.source]
        if name != "map-elites":
            assert move.members.births[0] in engines[move.target].population.births


def test_one_island_sends_to_nobody():
    """A ring of one is a population; a ring of none, or a share beyond one half, raises."""
    assert steady_ring(1).migrate() == ()
    with pytest.raises(ValueError, match="an engine at least"):
        Islands([])
    with pytest.raises(ValueError, match="up to one half"):
        Islands([cast("Island", engine_of("nsga2"))], share=0.6)
