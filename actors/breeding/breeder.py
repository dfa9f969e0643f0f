"""Evolutions: what people and autonomous mode ask for, each evolution driven in a task of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import anyio

from actors.evolving.record import GenomeRecord
from actors.refining.tuneround import searched
from chimera.clock import Clock
from chimera.errors import ChimeraError, ConflictError
from subjects.agent import AgentView, Release, ShowAgent
from subjects.autonomous import SetAutonomous
from subjects.evolution import (
    Evolution,
    EvolutionList,
    Evolved,
    GetProgress,
    ListEvolutions,
    PauseEvolution,
    Progress,
    ResumeEvolution,
    StartEvolution,
)
from subjects.evolver import ConfigurePopulation, PopulationConfig

from .book import EvolutionBook, configured
from .facts import fact_of, words_of
from .fold import EvolutionFold
from .log import Began, Configured, Halted, Paused, RunEntry

STOP_S = 20.0
"""How long the answer to a stop waits for the end."""


class Driven(Protocol):
    """An evolution under way."""

    ended: anyio.Event

    @property
    def rate(self) -> float:
        """Genomes measured per second of late."""
        ...

    async def run(self) -> None:
        """Do what is due until nothing is."""
        ...

    def look(self) -> None:
        """Something was decided by hand: look at once."""
        ...


class Breeder:
    """Every evolution: each is the fold of its log, so that it goes on wherever the log is read.

    Args:
        write: Stores entries, one after the other.
        ask: Asks the other actors.
        clock: Time.
        report: Writes an event.
        tell: Publishes a fact under an id that makes it repeatable.
        spawn: Runs a coroutine function in the background.
        prepare: Chooses tasks, algorithm and islands of a new evolution, and keeps the tasks.
        drive: Makes what drives an evolution.
    """

    def __init__(
        self, *, write: Callable[..., Awaitable[None]], ask: Callable[[Any], Awaitable[Any]], clock: Clock,
        report: Callable[..., Any], tell: Callable[[Any, str], Awaitable[None]], spawn: Callable[..., None],
        prepare: Callable[[StartEvolution, Release, PopulationConfig, str], Awaitable[Began]],
        drive: Callable[[EvolutionFold], Driven],
    ) -> None:  # fmt: skip
        self._write_log, self._ask, self._clock = write, ask, clock
        self._report, self._tell, self._spawn = report, tell, spawn
        self._prepare, self._drive = prepare, drive
        self.book = EvolutionBook()
        self.drives: dict[str, Driven] = {}
        self._starting = anyio.Lock()

    def resume(self) -> None:
        """After the log was read: go on with every evolution that has not ended."""
        for fold in self.book.running():
            self._begin(fold)

    # -- what is asked for ---------------------------------------------------------------------------------------------

    async def start(self, message: StartEvolution) -> Evolution:
        """Begin an evolution; while one is under way for the agent, it is that one.

        Raises:
            NoAgentError: If there is no such agent.
            BadGenomeError: If nothing of its genome can be searched, or not what is named.
            BadMessageError: If there are too few tasks, or the algorithm can't do what is asked of it.
            ConflictError: If the id is another evolution's, or the agent is retired.
        """
        async with self._starting:
            fold = self.book.asked(message)
            if fold is None:
                release = await self._live(message.agent)
                began = await self._prepare(message, release, self.book.config, message.id or self._id())
                await self.write(began)
                fold = self.book.find(began.id)
        return self.shown(fold)

    async def check(self, message: SetAutonomous) -> None:
        """Refuse autonomous mode where its evolutions could not begin.

        Raises:
            NoAgentError: If there is no such agent.
            BadGenomeError: If nothing of its genome can be searched, or not what is named.
        """
        release = await self._live(message.agent)
        searched(release.manifest, release.genome, message.evolution.parameters)

    async def stop(self, fold: EvolutionFold, note: str) -> Evolution:
        """End an evolution; its genomes stay. One that has ended stays as it is."""
        if fold.ended is None:
            if fold.halted is None:
                await self.write(Halted(id=fold.id, at=self._clock.time(), note=note))
            drive = self.drives.get(fold.id)
            if drive is not None:
                drive.look()
                with anyio.move_on_after(STOP_S):
                    await drive.ended.wait()
        return self.shown(fold)

    async def pause(self, message: PauseEvolution | ResumeEvolution) -> Evolution:
        """Let an evolution wait, or go on.

        Raises:
            NoEvolutionError: If there is none.
            ConflictError: If it has ended.
        """
        fold, on = self.book.newest(message.id), isinstance(message, PauseEvolution)
        if fold.ended is not None:
            raise ConflictError(f"evolution '{fold.id}' has ended: {fold.state}")
        if fold.paused != on:
            await self.write(Paused(id=fold.id, at=self._clock.time(), on=on))
            drive = self.drives.get(fold.id)
            if drive is not None:
                drive.look()
        return self.shown(fold)

    async def configure(self, message: ConfigurePopulation) -> PopulationConfig:
        """How populations are bred from the next generation on; kept in the log."""
        config = configured(self.book.config, message)
        if config != self.book.config:
            await self.write(Configured(at=self._clock.time(), config=config))
            self._report(
                "algorithm-optimization", f"population {config.population_size}, mutation {config.mutation_rate:g}",
                population_size=config.population_size, mutation_rate=config.mutation_rate,
            )  # fmt: skip
        return config

    def listed(self, message: ListEvolutions) -> EvolutionList:
        """Evolutions by filter, newest first."""
        return self.book.listed(message, self._clock.time())

    def progress(self, message: GetProgress) -> Progress:
        """An evolution and its generations.

        Raises:
            NoEvolutionError: If there is none.
        """
        fold = self.book.newest(message.id)
        last = fold.bred[-1] if fold.bred else None
        return Progress(
            evolution=self.shown(fold), history=fold.history[message.after :][: message.limit],
            convergence=last.reason if last else "no generation is finished yet",
            stagnant=last.stagnant if last else 0,
        )  # fmt: skip

    def shown(self, fold: EvolutionFold) -> Evolution:
        """An evolution as it stands."""
        drive = self.drives.get(fold.id)
        return fold.show(self._clock.time(), rate=drive.rate if drive is not None else 0.0)

    # -- means ---------------------------------------------------------------------------------------------------------

    async def write(self, *entries: RunEntry | GenomeRecord | Configured) -> None:
        """Store entries, take them, and tell others of them."""
        await self._write_log(*entries)
        for entry in entries:
            self.book.apply(entry)
            await self._tell_of(entry)

    async def _tell_of(self, entry: RunEntry | GenomeRecord | Configured) -> None:
        if isinstance(entry, Configured | GenomeRecord):
            return
        fold = self.book.find(entry.id)
        if isinstance(entry, Began):
            self._begin(fold)
        fact = fact_of(entry, fold)
        if fact is not None:
            self._report(
                *words_of(fact), agent=fold.agent, evolution=fold.id, step=fact.step, generation=fold.generation
            )
            await self._publish(fact, f"{fold.id}.{fold.entries}")

    async def _publish(self, fact: Evolved, id_: str) -> None:
        try:
            await self._tell(fact, id_)
        except ChimeraError as error:
            self._report("fitness-score", f"fact {id_} was not published: {error.detail}", level="warning")

    async def _live(self, agent: str) -> Release:
        view: AgentView = await self._ask(ShowAgent(name=agent))
        if view.state != "live":
            raise ConflictError(f"agent '{agent}' is retired", hint="register or roll it back first")
        return next(release for release in view.releases if release.number == view.live)

    def _begin(self, fold: EvolutionFold) -> None:
        if fold.id not in self.drives:
            drive = self.drives[fold.id] = self._drive(fold)
            self._spawn(self._run, drive, fold.id)

    async def _run(self, drive: Driven, id_: str) -> None:
        try:
            await drive.run()
        finally:
            self.drives.pop(id_, None)

    def _id(self) -> str:
        number = int(self._clock.time() * 1000)
        while (id_ := f"v-{number:x}") in self.book.evolutions:
            number += 1
        return id_
