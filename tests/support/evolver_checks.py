"""What must hold of every log of the evolver, whatever happened, and how one run is held against another. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from actors.breeding.book import EvolutionBook
from actors.breeding.log import Began, Bred, Championed, Configured, Ended, Gated, Judged, Led, Measured, Paused, Told
from actors.evolving.record import GenomeRecord, checksum_of
from subjects.evolution import Evolution, ListEvolutions
from subjects.evolver import PopulationConfig

FINAL = {"converged", "exhausted", "stopped", "failed"}
MOST = {"Bred": 1, "Measured": 1, "Championed": 1, "Gated": 0, "Told": 4}
"""What may be finished after a pause began: steady evolutions have three genomes under way, and one measured again."""

NEXT = {"running": {"running", "paused", *FINAL}, "paused": {"running", "paused", *FINAL}}
"""What may be told of an evolution after what was told before; an end is an end."""


class Run(NamedTuple):
    """One evolution's part of the log, with the settings that were changed while it ran."""

    id: str
    entries: list[Any]

    @property
    def began(self) -> Began:
        """Its first entry."""
        found = self.entries[0]
        assert isinstance(found, Began)
        return found

    def of(self, kind: type[Any]) -> list[Any]:
        """Its entries of a kind."""
        return [entry for entry in self.entries if isinstance(entry, kind)]

    @property
    def genomes(self) -> list[tuple[Any, ...]]:
        """Every genome of a finished generation with its figures, in the order of generation, island and number."""
        finished = len(self.of(Bred))
        found = [record for record in self.of(GenomeRecord) if record.generation < finished]
        return [
            (one.generation, one.island, one.number, sorted(one.genes.items()), one.fitness, one.operator)
            for one in sorted(found, key=lambda one: (one.generation, one.island, one.number))
        ]

    @property
    def champion(self) -> tuple[Any, ...] | None:
        """Who won by the validation tasks, if that is known."""
        found = self.of(Championed)
        return (found[0].genome.rpartition("-")[2], found[0].value, found[0].incumbent) if found else None

    @property
    def changes(self) -> list[tuple[int, PopulationConfig]]:
        """Settings changed under way, each with how many generations were finished by then."""
        found: list[tuple[int, PopulationConfig]] = []
        finished = 0
        for entry in self.entries:
            finished += isinstance(entry, Bred)
            if isinstance(entry, Configured):
                found.append((finished, entry.config))
        return found


def runs_of(entries: Iterable[Any]) -> list[Run]:
    """Each evolution's part of a log."""
    found: dict[str, Run] = {}
    for entry in entries:
        if isinstance(entry, Began):
            found[entry.id] = Run(entry.id, [entry])
        elif isinstance(entry, Configured):
            for run in found.values():
                if not run.of(Ended):
                    run.entries.append(entry)
        elif not isinstance(entry, Led):
            found[entry.run if isinstance(entry, GenomeRecord) else entry.id].entries.append(entry)
    return list(found.values())


def one_writer(log: Sequence[tuple[str, Any]]) -> None:
    """Each leader's epoch follows the one before, and nobody writes in another one's term."""
    term, epoch = "", 0
    for writer, entry in log:
        if isinstance(entry, Led):
            assert entry.epoch == epoch + 1, "an epoch was left out or taken twice"
            term, epoch = writer, entry.epoch
        assert writer == term, f"{type(entry).__name__} was written by who does not lead"


def each_once(run: Run) -> None:
    """No genome is told twice, and numbers have no gap where nothing can be under way."""
    records, steady = run.of(GenomeRecord), run.began.config.algorithm == "steady"
    ids = [record.id for record in records]
    assert len(set(ids)) == len(ids), "a genome was told twice"
    assert all(checksum_of(record) == record.checksum for record in records), "a genome was told corrupt"
    if steady:
        told = [(one.island, one.number) for one in run.of(Told) if not one.again]
        assert sorted(told) == sorted((one.island, one.number) for one in records), "a told genome has no record"
    ended = run.of(Ended)
    if not steady or (ended and ended[0].state in {"exhausted", "converged"}):
        for island in range(len(run.began.islands)):
            numbers = sorted(record.number for record in records if record.island == island)
            assert numbers == list(range(len(numbers))), f"an evaluation was lost: {numbers}"


def generations_without_gap(run: Run) -> None:
    """Generations count from 0, and each is finished once with all of its genomes."""
    bred = run.of(Bred)
    assert [entry.figures.number for entry in bred] == list(range(len(bred))), "a generation is missing, or is twice"
    if run.began.config.algorithm != "steady":
        sizes = [sum(one.generation == entry.figures.number for one in run.of(GenomeRecord)) for entry in bred]
        assert sizes == [entry.figures.evaluations for entry in bred], "a generation lacks genomes"
        assert len(run.of(GenomeRecord)) == sum(sizes), "genomes of no generation are in the log"


def in_order(run: Run) -> None:
    """Its steps come in their order, none twice, none while it is paused, none after its end."""
    kinds: list[type[Any]] = [type(entry) for entry in run.entries]
    for once in (Began, Championed, Gated, Judged, Ended):
        assert kinds.count(once) <= 1, f"{once.__name__} is there twice"
    line = [kind for kind in kinds if kind in (Began, Measured, Championed, Gated, Judged, Ended)]
    full = [Began, Measured, Championed, Gated, Judged, Ended]
    assert [kind for kind in full if kind in line] == line, f"steps are not in order: {line}"
    if Ended in kinds:
        after = run.entries[kinds.index(Ended) + 1 :]
        assert all(isinstance(entry, Configured) for entry in after), f"something happened after the end: {after}"
    waiting_waits(run)


def waiting_waits(run: Run) -> None:
    """While it is paused only what was under way is finished."""
    waits, finished = False, Counter[str]()
    for entry in run.entries:
        if isinstance(entry, Paused):
            assert entry.on != waits, "it was paused twice, or resumed without a pause"
            waits, finished = entry.on, Counter[str]()
        elif waits:
            kind = entry.__class__.__name__
            finished[kind] += 1
            assert finished[kind] <= MOST.get(kind, math.inf), f"it went on while paused: {finished}"


def folded(entries: Iterable[Any], now: float) -> dict[str, Evolution]:
    """What must be told of every evolution."""
    book = EvolutionBook()
    for entry in entries:
        if not isinstance(entry, Led):
            book.apply(entry)
    return {one.id: comparable(one) for one in book.listed(ListEvolutions(limit=1000), now).evolutions}


def differences(told: dict[str, Evolution], logged: dict[str, Evolution]) -> list[str]:
    """Where what is told is not what the log says."""
    if told.keys() != logged.keys():
        return [f"{sorted(told)} are told, {sorted(logged)} are logged"]
    return [
        f"{id_}.{name}: {getattr(one, name)!r} is told, {getattr(logged[id_], name)!r} is logged"
        for id_, one in told.items()
        for name in one.__struct_fields__
        if getattr(one, name) != getattr(logged[id_], name)
    ]


def comparable(one: Evolution) -> Evolution:
    """Without what only its leader knows at this moment: its pace, and what it waits for."""
    return replace(one, rate_per_s=0.0, eta_s=None, reason=one.reason if one.state in FINAL else "")


def check_log(log: Sequence[tuple[str, Any]]) -> None:
    """All of the above."""
    one_writer(log)
    for run in runs_of(entry for _, entry in log):
        each_once(run)
        generations_without_gap(run)
        in_order(run)


def same_as(run: Run, uninterrupted: Run) -> None:
    """A run went as one that nobody disturbed: genome by genome, and to the same champion."""
    mine, theirs = run.genomes, uninterrupted.genomes
    assert mine == theirs[: len(mine)], "it went another way than an uninterrupted run of the same seed"
    if run.champion is not None:
        assert len(mine) == len(theirs), "it lost genomes on its way"
        assert run.champion == uninterrupted.champion, "it has another champion than an uninterrupted run"
