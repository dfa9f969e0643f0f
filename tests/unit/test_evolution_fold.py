"""An evolution as the fold of its log: what is next, what was used, who is best, and what the book remembers."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from actors.breeding.book import KEPT, EvolutionBook, configured
from actors.breeding.fold import cells_of
from actors.breeding.log import Configured, Ended, Gated, Halted, Judged, Paused, Told
from actors.breeding.notes import genome_in, note_for
from chimera.errors import ConflictError, NoEvolutionError
from subjects.evolution import Descriptor, EvolutionBudget, ListEvolutions, StartEvolution
from subjects.evolver import ConfigurePopulation, PopulationConfig
from tests.support.brood import began, bred, championed, folded, record, shown, take, trained

GATED = Gated(id="v-1", at=100.0, experiment="v-1")
JUDGED = Judged(id="v-1", at=100.0, experiment="v-1", release=2, harmed=0, reason="promoted")
ENDED = Ended(id="v-1", at=150.0, state="exhausted", reason="all were bred")
FIRST = [record(number) for number in range(4)]
ALL = [*(record(number) for number in range(12)), bred(0), bred(1), bred(2)]


@pytest.mark.parametrize(("entries", "due"), [
    ([], "measure"), ([trained()], "breed"), ([trained(), *ALL], "validate"), ([trained(), *ALL, championed()], "gate"),
    ([trained(), *ALL, championed(better=False)], "end"), ([trained(), *ALL, championed(), GATED], "gate"),
    ([trained(), *ALL, championed(), GATED, JUDGED], "end"), ([ENDED], "done"),
    ([Paused(id="v-1", at=1.0, on=True)], "wait"),
    ([Paused(id="v-1", at=1.0, on=True), Paused(id="v-1", at=1.0, on=False)], "measure"),
    ([Halted(id="v-1", at=1.0, note="")], "end"),
    ([trained(), *ALL, championed(), GATED, Halted(id="v-1", at=1.0, note="")], "gate"),
    ([trained(), *FIRST, bred(0, converged=True)], "validate"),
])  # fmt: skip
def test_what_is_next_follows_from_the_log(entries: list[Any], due: str):
    """One step after the other; an experiment is seen to its end even if the evolution was stopped meanwhile."""
    assert folded(*entries).next(100.0) == due


@pytest.mark.parametrize(("budget", "words"), [
    (EvolutionBudget(evaluations=4), "4 evaluations"), (EvolutionBudget(tasks=120), "120 tasks"),
    (EvolutionBudget(cpu_s=3.0), "3 CPU seconds"), (EvolutionBudget(seconds=60.0), "60 seconds"),
])  # fmt: skip
def test_each_budget_ends_the_breeding(budget: EvolutionBudget, words: str):
    """What is used up is named, and the best so far is validated; before, breeding goes on."""
    fold = folded(trained(), *FIRST[:3], first=began(budget=budget))
    assert (fold.over(159.0), fold.next(159.0)) == ("", "breed")
    take(fold, FIRST[3])
    assert words in fold.over(160.0)
    assert fold.next(160.0) == "validate"


def test_a_genome_counts_once():
    """Told again it changes no figure."""
    fold = folded(*FIRST, FIRST[0])
    assert (len(fold.marks), fold.tasks, fold.cpu_s) == (4, 40, 2.0)


def test_the_best_is_who_is_best_by_now():
    """One that was measured again and found worse is no finalist before the others; twins are one."""
    twin = record(9, fitness=0.05, genes={"x": 0.03})
    fold = folded(*FIRST, twin)
    assert fold.best_record == FIRST[3]
    fold.apply(Told(id="v-1", island=0, number=3, asked=4, losses=[-0.1], again=True))
    assert [one.number for one in fold.finalists(3)] == [2, 3, 1]


def test_a_champion_is_shown_with_its_figures():
    """And the axes of the map, the live genome's figure, and what was used."""
    axes = [Descriptor(name="score")]
    fold = folded(trained(), *ALL, championed(), first=began(algorithm="steady"))
    told = shown(fold)
    assert (told.champion and told.champion.id, told.champion_value, told.incumbent_value) == ("v-1-3", 0.8, 0.5)
    assert (told.baseline, told.evaluations, told.generation, told.step) == (0.25, 12, 3, "gate")
    assert shown(folded(first=replace(began(algorithm="map-elites"), descriptors=axes))).descriptors == axes


def test_the_middle_is_of_the_last_generation_and_of_the_sound():
    """Nothing is stopped early before there is one, nor where most of it failed."""
    assert folded(*FIRST).middle() is None
    assert folded(*FIRST, bred(0)).middle() == 0.2
    failed = [replace(one, fitness=None, failure="trapped") if one.number else one for one in FIRST]
    assert folded(*failed, bred(0)).middle() is None


@pytest.mark.parametrize(("value", "cell"), [(-1.0, 0), (0.0, 0), (0.26, 1), (0.99, 3), (7.0, 3), (float("nan"), 0)])
def test_what_lies_outside_belongs_to_the_edge(value: float, cell: int):
    """Every figure has a cell."""
    assert cells_of([[value]], [Descriptor(name="score", cells=4)]) == [[cell]]


def test_settings_reach_what_runs_but_not_what_the_request_named():
    """Size and mutation from the next generation; algorithm, islands and named tasks stay, and so do ended ones."""
    book = EvolutionBook()
    for entry in (began("v-1", tasks=64), ENDED, began("v-2", tasks=64)):
        book.apply(entry)
    book.apply(Configured(at=1.0, config=PopulationConfig(population_size=9, algorithm="nsga2", tasks=99, islands=3)))
    now = book.find("v-2").config
    assert (now.population_size, now.algorithm, now.tasks, now.islands) == (9, "cmaes", 64, 1)
    assert book.find("v-1").config.population_size == 4


def test_only_what_is_named_is_changed():
    """Zero islands is a value, not an absence."""
    before = PopulationConfig(islands=2)
    assert configured(before, ConfigurePopulation()) == before
    assert configured(before, ConfigurePopulation(islands=0, migrate_every=0)).islands == 0


def test_a_request_finds_what_is_there():
    """By its id, else what runs for the agent; an id of another agent is refused."""
    book = EvolutionBook()
    book.apply(began("v-1"))
    assert book.asked(StartEvolution(agent="echo", id="v-9")) is book.find("v-1")
    book.apply(ENDED)
    assert book.asked(StartEvolution(agent="echo", id="v-9")) is None
    assert book.asked(StartEvolution(agent="echo", id="v-1")) is book.find("v-1")
    with pytest.raises(ConflictError, match="is of 'echo'"):
        book.asked(StartEvolution(agent="other", id="v-1"))
    with pytest.raises(NoEvolutionError, match="nothing of 'other'"):
        book.newest(agent="other")
    assert [one.id for one in book.listed(ListEvolutions(state="exhausted"), 1.0).evolutions] == ["v-1"]
    assert not book.listed(ListEvolutions(state="running"), 1.0).evolutions


def test_the_book_forgets_the_oldest_ends_alone():
    """What runs is never forgotten, however old."""
    book = EvolutionBook()
    book.apply(began("v-0"))
    for number in range(1, KEPT + 3):
        book.apply(began(f"v-{number}"))
        book.apply(Ended(id=f"v-{number}", at=1.0, state="stopped", reason=""))
    book.apply(began("v-last"))
    assert list(book.evolutions)[:2] == ["v-0", "v-3"]
    book.apply(record(1, run="v-1"))  # of a forgotten one: nobody asks for it


def test_a_note_leads_back_to_its_genome():
    """Whatever else is said in it; a note of a person leads nowhere."""
    assert genome_in(note_for("v-1-7", "better: genome of the day")) == "v-1-7"
    assert genome_in("tried by hand") == ""
    assert len(note_for("v-1-7", "x" * 5000)) == 2000
