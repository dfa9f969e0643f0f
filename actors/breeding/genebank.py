"""Genomes for who asks: lineage, validation, backup, and the way of one genome to the gate."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from actors.evolving.record import GenomeRecord, Schema
from chimera.errors import ConflictError, CorruptError, NoAgentError
from subjects.agent import AgentList, AgentView, ListAgents, Release, ShowAgent
from subjects.experiment import CreateExperiment, Experiment
from subjects.genome import (
    DeployGenome,
    ExportGenomes,
    GenomeDetail,
    GenomePage,
    GetGenome,
    Imported,
    ImportGenomes,
    ValidateGenomes,
    Validation,
)

from .breeder import Breeder
from .checking import Schemas
from .notes import note_for
from .shelf import GenomeShelf


class Genebank:
    """What is done with stored genomes.

    Args:
        shelf: Holds them.
        breeder: Writes to the log.
        ask: Asks the agent actor and the optimizer.
        report: Writes an event.
    """

    def __init__(
        self, shelf: GenomeShelf, breeder: Breeder, *, ask: Callable[[Any], Awaitable[Any]], report: Callable[..., Any]
    ) -> None:  # fmt: skip
        self._shelf, self._breeder, self._ask, self._report = shelf, breeder, ask, report

    async def detail(self, message: GetGenome) -> GenomeDetail:
        """One genome, its ancestors, how it differs from the live one, and what is wrong with it.

        Raises:
            NoGenomeError: If there is none.
        """
        record = (await self._shelf.genome(message.id)) if not message.depth else None
        agent = record.agent if record else ""
        views = await self._views(agent)
        detail = await self._shelf.detail(message, {}, schemas_of(views))
        live = next((_live(view) for view in views if view.name == detail.genome.agent), None)
        return await self._shelf.detail(message, live.genome if live else {}, schemas_of(views)) if live else detail

    async def validate(self, message: ValidateGenomes) -> Validation:
        """Check every stored genome now.

        Raises:
            NotRunningError: If nobody tells which agents there are: nothing is called sound then.
        """
        return await self._shelf.validate(message, schemas_of(await self._views(message.agent)))

    async def export(self, message: ExportGenomes) -> GenomePage:
        """A page of records for a backup."""
        page = await self._shelf.export(message)
        self._report(
            "genome-backup", f"{len(page.records)} of {page.total} genomes were read", records=len(page.records)
        )
        return page

    async def restore(self, message: ImportGenomes) -> Imported:
        """Bring back records that are sound and not there; the others stay, or are refused by name."""
        found = await self._shelf.check_import(message.records)
        if found.accepted:
            await self._breeder.write(*found.accepted)
        level = "warning" if found.refused else "info"
        words = f"{len(found.accepted)} genomes were brought back, {len(found.refused)} refused"
        self._report("genome-backup", words, level=level, restored=len(found.accepted), refused=len(found.refused))
        return Imported(restored=len(found.accepted), known=len(found.known), refused=found.refused)

    async def deploy(self, message: DeployGenome) -> GenomeDetail:
        """Hand a genome to the gate as a candidate.

        Raises:
            NoGenomeError: If there is none.
            CorruptError: If it is not what was stored, or does not fit its release.
            ConflictError: If the agent has another module than it was bred for, or is under experiment.
        """
        record = await self._shelf.genome(message.id)
        view: AgentView = await self._ask(ShowAgent(name=record.agent))
        sound = await self._shelf.sound(message.id, schemas_of([view]))
        _check_module(sound, view)
        experiment: Experiment = await self._ask(CreateExperiment(
            agent=sound.agent, genomes=[sound.genes], plan=message.plan, proposer=message.by,
            note=note_for(sound.id, message.note),
        ))  # fmt: skip
        self._report(
            "genome-access", f"{sound.id} goes to the gate as {experiment.id}", genome=sound.id, agent=sound.agent,
            experiment=experiment.id, by=message.by,
        )  # fmt: skip
        return await self.detail(GetGenome(id=message.id))

    async def _views(self, agent: str) -> list[AgentView]:
        names = [agent] if agent else await self._names()
        found: list[AgentView] = []
        for name in names:
            try:
                found.append(await self._ask(ShowAgent(name=name)))
            except NoAgentError:
                continue
        return found

    async def _names(self) -> list[str]:
        agents: AgentList = await self._ask(ListAgents())
        return [one.name for one in agents.agents]


def schemas_of(views: list[AgentView]) -> Schemas:
    """What genomes of each release must fit."""
    return {
        (view.name, release.number): Schema(
            release.manifest.genome, base=release.genome, searched=(), cap=None
        )
        for view in views
        for release in view.releases
    }  # fmt: skip


def _live(view: AgentView) -> Release:
    return next(release for release in view.releases if release.number == view.live)


def _check_module(record: GenomeRecord, view: AgentView) -> None:
    bred = next((release for release in view.releases if release.number == record.release), None)
    if bred is None:
        raise CorruptError(f"genome '{record.id}' was bred for release {record.release}, which '{view.name}' has not")
    if bred.digest != _live(view).digest:
        raise ConflictError(
            f"genome '{record.id}' was bred for the module of release {bred.number}, another one is live",
            hint="evolve again with the live module",
        )
