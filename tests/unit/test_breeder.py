"""What people and autonomous mode ask of evolutions, and the drive that does what is due."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from actors.breeding.autopilot import Autopilot
from actors.breeding.breeder import Breeder
from actors.breeding.drive import Drive, first_of
from actors.breeding.fold import EvolutionFold
from actors.breeding.log import Ended, Gated, Halted, Judged, Paused
from chimera.errors import BadMessageError, ChimeraError, ConflictError, NoAgentError, UnavailableError
from chimera.testing import ManualClock
from subjects.autonomous import SetAutonomous
from subjects.evolution import PauseEvolution, ResumeEvolution, StartEvolution
from subjects.evolver import ConfigurePopulation
from tests.support.brood import Asked, began, championed, folded, record, take, trained, view

pytestmark = pytest.mark.anyio


class Idle:
    """A drive that does nothing until its fold is halted."""

    rate = 2.0

    def __init__(self) -> None:
        self.ended = anyio.Event()
        self.looks = 0

    async def run(self) -> None:
        """Wait."""
        await self.ended.wait()

    def look(self) -> None:
        """Looked at."""
        self.looks += 1
        self.ended.set()


class Farm:
    """A breeder whose log is a list."""

    def __init__(self, **answers: Any) -> None:
        self.clock = ManualClock(epoch=100.0)
        self.log: list[Any] = []
        self.facts: list[tuple[Any, str]] = []
        self.events: list[str] = []
        self.prepared: list[str] = []
        self.refuse: ChimeraError | None = None
        self.spawned: list[Any] = []
        self.breeder = Breeder(
            write=self._write, ask=Asked(**{"ShowAgent": view(), **answers}), clock=self.clock, report=self._report,
            tell=self.tell, spawn=lambda *work: self.spawned.append(work), prepare=self._prepare,
            drive=lambda _fold: Idle(),
        )  # fmt: skip

    async def _write(self, *entries: Any) -> None:
        await anyio.lowlevel.checkpoint()
        self.log += entries

    async def tell(self, fact: Any, id_: str) -> None:
        """Whoever listens."""
        if self.refuse is not None:
            raise self.refuse
        self.facts.append((fact, id_))

    def _report(self, name: str, _words: str, **_fields: Any) -> None:
        self.events.append(name)

    async def _prepare(self, message: StartEvolution, _release: Any, config: Any, id_: str) -> Any:
        await anyio.lowlevel.checkpoint()
        self.prepared.append(id_)
        return replace(began(id_), request=message, config=replace(config, algorithm="cmaes"))


async def test_two_who_start_at_once_get_one_evolution() -> None:
    """The second one is told the first one's."""
    farm = Farm()
    found: list[str] = []

    async def start() -> None:
        found.append((await farm.breeder.start(StartEvolution(agent="echo"))).id)

    async with anyio.create_task_group() as group:
        group.start_soon(start)
        group.start_soon(start)
    assert len(set(found)) == len(farm.prepared) == len(farm.spawned) == 1


@pytest.mark.parametrize(("answer", "error"), [
    (NoAgentError(), NoAgentError), (replace(view(), state="retired"), ConflictError),
])  # fmt: skip
async def test_an_agent_that_is_not_live_is_not_bred(answer: Any, error: type[ChimeraError]) -> None:
    """Nothing is prepared and nothing written."""
    farm = Farm(ShowAgent=answer)
    with pytest.raises(error):
        await farm.breeder.start(StartEvolution(agent="echo"))
    assert (farm.prepared, farm.log) == ([], [])


async def test_pausing_twice_is_written_once() -> None:
    """And what has ended can't be paused."""
    farm = Farm()
    await farm.breeder.start(StartEvolution(agent="echo", id="v-1"))
    assert [(await farm.breeder.pause(PauseEvolution())).state for _ in range(2)] == ["paused", "paused"]
    assert (await farm.breeder.pause(ResumeEvolution(id="v-1"))).state == "running"
    assert [entry.on for entry in farm.log if isinstance(entry, Paused)] == [True, False]
    await farm.breeder.write(Ended(id="v-1", at=1.0, state="stopped", reason=""))
    with pytest.raises(ConflictError, match="has ended"):
        await farm.breeder.pause(PauseEvolution(id="v-1"))


async def test_stopping_twice_is_written_once() -> None:
    """The drive is told each time; one that has ended stays as it is."""
    farm = Farm()
    await farm.breeder.start(StartEvolution(agent="echo", id="v-1"))
    fold, drive = farm.breeder.book.find("v-1"), farm.breeder.drives["v-1"]
    assert isinstance(drive, Idle)
    await farm.breeder.stop(fold, "enough")
    await farm.breeder.stop(fold, "more than enough")
    assert ([entry.note for entry in farm.log if isinstance(entry, Halted)], drive.looks) == (["enough"], 2)
    take(fold, Ended(id="v-1", at=1.0, state="stopped", reason=""))
    await farm.breeder.stop(fold, "again")
    assert drive.looks == 2


async def test_settings_are_written_when_they_change() -> None:
    """The same again is no entry."""
    farm = Farm()
    await farm.breeder.configure(ConfigurePopulation(population_size=50))
    config = await farm.breeder.configure(ConfigurePopulation(population_size=50))
    assert (config.population_size, len(farm.log), farm.events) == (50, 1, ["algorithm-optimization"])


async def test_a_fact_that_can_not_be_told_stops_nothing() -> None:
    """The log has it; that nobody heard is an event. Ids of facts repeat after a crash."""
    farm = Farm()
    await farm.breeder.start(StartEvolution(agent="echo", id="v-1"))
    assert [id_ for _, id_ in farm.facts] == ["v-1.1"]
    farm.refuse = UnavailableError("no bus")
    await farm.breeder.write(Paused(id="v-1", at=1.0, on=True))
    assert farm.events[-1] == "fitness-score"
    assert farm.breeder.book.find("v-1").paused


async def test_after_a_crash_only_what_has_not_ended_goes_on() -> None:
    """One drive for each, however often that is said."""
    farm = Farm()
    for entry in (began("v-1"), began("v-2"), Ended(id="v-1", at=1.0, state="stopped", reason="")):
        farm.breeder.book.apply(entry)
    farm.breeder.resume()
    farm.breeder.resume()
    assert (list(farm.breeder.drives), len(farm.spawned)) == (["v-2"], 1)


# -- the drive ---------------------------------------------------------------------------------------------------------


def drive_of(*entries: Any, fail: ChimeraError | None = None, **answers: Any) -> tuple[Drive, list[Any]]:
    """A drive of an evolution that stands there."""
    return driving(folded(*entries), fail, **answers)


def driving(fold: EvolutionFold, fail: ChimeraError | None = None, **answers: Any) -> tuple[Drive, list[Any]]:
    """A drive of an evolution; its log fails from the start if told so."""
    log = list[Any]()

    async def write(*written: Any) -> None:
        await anyio.lowlevel.checkpoint()
        if fail is not None:
            raise fail
        log.extend(written)
        take(fold, *written)

    async def measuring(_fold: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        raise BadMessageError("the tasks are gone")

    return Drive(fold, write=write, ask=Asked(**answers), clock=ManualClock(epoch=100.0), open_measuring=measuring), log


async def test_an_error_ends_the_evolution_with_its_reason() -> None:
    """It does not hang, and it is not tried for ever."""
    drive, log = drive_of()
    await drive.run()
    assert [(entry.state, entry.reason) for entry in log] == [("failed", "bad-message: the tasks are gone")]
    assert drive.ended.is_set()


async def test_a_log_that_takes_nothing_ends_nothing() -> None:
    """Who can't write does not lead: the evolution goes on from the log elsewhere, not as a failure."""
    drive, log = drive_of(Halted(id="v-1", at=1.0, note=""), fail=UnavailableError("fenced"))
    with pytest.raises(UnavailableError):
        await drive.run()
    assert (log, drive.ended.is_set()) == ([], True)


async def test_a_stop_before_anything_was_measured_is_an_end() -> None:
    """With the words of who stopped it, and the best so far as champion."""
    drive, log = drive_of(record(3), Halted(id="v-1", at=1.0, note="enough"))
    await drive.run()
    assert [(entry.state, entry.reason, entry.champion) for entry in log] == [("stopped", "enough", "v-1-3")]


async def test_the_end_tells_what_became_of_the_champion() -> None:
    """The gate's word is part of the reason."""
    gated = Gated(id="v-1", at=1.0, experiment="v-1")
    judged = Judged(id="v-1", at=1.0, experiment="v-1", release=2, harmed=0, reason="it is live")
    drive, log = drive_of(trained(), record(3), championed(), gated, judged)
    await drive.run()
    assert [entry.state for entry in log] == ["exhausted"]
    assert log[0].reason.endswith("; it is live")


async def test_a_paused_drive_waits_until_it_is_told() -> None:
    """Nothing is done meanwhile; whoever decides by hand wakes it."""
    fold = folded(Paused(id="v-1", at=1.0, on=True))
    drive, log = driving(fold)
    async with anyio.create_task_group() as group:
        group.start_soon(drive.run)
        await anyio.wait_all_tasks_blocked()
        assert log == []
        take(fold, Halted(id="v-1", at=1.0, note="enough"))
        drive.look()
    assert [entry.state for entry in log] == ["stopped"]


async def test_the_first_error_of_lanes_is_the_one_that_counts() -> None:
    """Those that were broken off with it say nothing."""
    await anyio.lowlevel.checkpoint()
    error = BadMessageError("x")
    group = BaseExceptionGroup("lanes", [anyio.get_cancelled_exc_class()(), error])
    assert first_of(error) is error
    assert first_of(group) is error


# -- autonomous mode ---------------------------------------------------------------------------------------------------


def pilot(farm: Farm) -> tuple[Autopilot, list[Any]]:
    """Autonomous mode beside a breeder."""
    log: list[Any] = []

    async def write(entry: Any) -> None:
        await anyio.lowlevel.checkpoint()
        log.append(entry)

    async def watch(_agent: str) -> None:
        await anyio.lowlevel.checkpoint()

    made = Autopilot(
        breeder=farm.breeder, write=write, watch=watch, clock=farm.clock, report=lambda *_words, **_fields: None,
        tell=farm.tell,
    )  # fmt: skip
    return made, log


async def test_a_cycle_is_one_evolution_within_what_is_left() -> None:
    """Its id is the cycle's, so that a second look begins no second one; it may deploy."""
    farm = Farm()
    loop, log = pilot(farm)
    on = SetAutonomous(agent="echo")
    budget, evolution = replace(on.budget, harmed=7, cpu_s=11.0), replace(on.evolution, seed=5)
    await loop.switch(replace(on, budget=budget, evolution=evolution))
    for _ in range(2):
        await loop.look("echo")
    assert (farm.prepared, len(log)) == (["auto-echo-1"], 1)
    asked = farm.breeder.book.find("auto-echo-1").began.request
    assert (asked.deploy, asked.seed, asked.budget.harmed, asked.budget.cpu_s) == (True, 6, 7, 11.0)


async def test_what_can_not_begin_is_a_rest_with_its_reason() -> None:
    """The agent may come back: it is tried again later."""
    farm = Farm(ShowAgent=NoAgentError("there is no agent 'echo'"))
    loop, _ = pilot(farm)
    await loop.switch(SetAutonomous(agent="echo"))
    await loop.look("echo")
    view_ = loop.view("echo")
    assert (view_.phase, "there is no agent" in view_.reason) == ("rest", True)


async def test_off_stops_the_cycle_and_stays_off() -> None:
    """The evolution is halted; a second off is no step; a look does nothing."""
    farm = Farm()
    loop, log = pilot(farm)
    await loop.switch(SetAutonomous(agent="echo"))
    await loop.look("echo")
    for _ in range(2):
        await loop.switch(SetAutonomous(agent="echo", on=False))
    await loop.look("echo")
    assert (loop.view("echo").on, len(log)) == (False, 2)
    assert any(isinstance(entry, Halted) for entry in farm.log)


async def test_the_fold_of_its_steps_is_what_it_was() -> None:
    """Another instance that reads the log stands where the first one stood."""
    farm = Farm()
    loop, log = pilot(farm)
    await loop.switch(SetAutonomous(agent="echo"))
    await loop.look("echo")
    await loop.switch(SetAutonomous(agent="echo", on=False))
    other, _ = pilot(farm)
    for entry in log:
        other.apply(entry)
    assert other.view("echo") == loop.view("echo")
