"""Every evolution that the log knows, the settings they are bred with, and what is told of all of them. Pure."""

from __future__ import annotations

from actors.evolving.record import GenomeRecord
from chimera.errors import ConflictError, NoEvolutionError
from subjects.evolution import EvolutionList, ListEvolutions, StartEvolution
from subjects.evolver import ConfigurePopulation, PopulationConfig

from .fold import EvolutionFold
from .log import Began, Configured, RunEntry

KEPT = 64
"""Evolutions that are remembered after their end; their genomes stay on the shelf as long as its bounds allow."""


class EvolutionBook:
    """The fold of the whole log."""

    def __init__(self) -> None:
        self.config = PopulationConfig()
        self.evolutions: dict[str, EvolutionFold] = {}

    def apply(self, entry: RunEntry | GenomeRecord | Configured) -> None:
        """Take an entry that is stored."""
        if isinstance(entry, Configured):
            self.config = entry.config
            for fold in self.running():
                fold.configure(entry.config)
        elif isinstance(entry, Began):
            self.evolutions[entry.id] = EvolutionFold(entry)
            self._forget()
        elif isinstance(entry, GenomeRecord):
            fold = self.evolutions.get(entry.run)
            if fold is not None:
                fold.record(entry)
        else:
            fold = self.evolutions.get(entry.id)
            if fold is not None:
                fold.apply(entry)

    def running(self, agent: str = "") -> list[EvolutionFold]:
        """Evolutions that have not ended, of one agent or of all."""
        return [fold for fold in self.evolutions.values() if fold.ended is None and (not agent or fold.agent == agent)]

    def find(self, id_: str) -> EvolutionFold:
        """An evolution.

        Raises:
            NoEvolutionError: If there is none.
        """
        fold = self.evolutions.get(id_)
        if fold is None:
            raise NoEvolutionError(f"there is no evolution '{id_}'")
        return fold

    def newest(self, id_: str = "", agent: str = "") -> EvolutionFold:
        """An evolution by its id, or the newest one, of an agent or of all.

        Raises:
            NoEvolutionError: If there is none.
        """
        if id_:
            return self.find(id_)
        for fold in reversed(self.evolutions.values()):
            if not agent or fold.agent == agent:
                return fold
        raise NoEvolutionError(
            "nothing was evolved yet" if not agent else f"nothing of '{agent}' was evolved yet",
            hint="start an evolution with: chimera evolve AGENT",
        )

    def asked(self, message: StartEvolution) -> EvolutionFold | None:
        """The evolution that a request asks for, if it is known: by its id, else the one under way for the agent.

        Raises:
            ConflictError: If the id is another one's.
        """
        if message.id and message.id in self.evolutions:
            fold = self.evolutions[message.id]
            if fold.agent != message.agent:
                raise ConflictError(f"evolution '{message.id}' is of '{fold.agent}'", hint="choose another id")
            return fold
        running = self.running(message.agent)
        return running[0] if running else None

    def listed(self, message: ListEvolutions, now: float) -> EvolutionList:
        """Evolutions by filter, newest first."""
        found = [
            fold.show(now)
            for fold in reversed(self.evolutions.values())
            if (not message.agent or fold.agent == message.agent) and (not message.state or fold.state == message.state)
        ]
        return EvolutionList(evolutions=found[: message.limit])

    def _forget(self) -> None:
        ended = [id_ for id_, fold in self.evolutions.items() if fold.ended is not None]
        for id_ in ended[: max(0, len(ended) - KEPT)]:
            del self.evolutions[id_]


def configured(now: PopulationConfig, message: ConfigurePopulation) -> PopulationConfig:
    """The settings with what is named in the request."""
    return PopulationConfig(
        population_size=message.population_size or now.population_size,
        mutation_rate=message.mutation_rate or now.mutation_rate, algorithm=message.algorithm or now.algorithm,
        islands=now.islands if message.islands is None else message.islands,
        migrate_every=now.migrate_every if message.migrate_every is None else message.migrate_every,
        tasks=message.tasks or now.tasks,
    )  # fmt: skip
