"""The evolution log: every genome that was measured and every step of every evolution, in one stream with one writer.

The log is the state: an engine is made again by stepping once more with the figures of the genomes that stand here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec

from actors.evolving.autonomy import Sign
from actors.evolving.record import GenomeRecord
from chimera.journal import LogKind
from subjects.agent import Release
from subjects.evolution import Descriptor, EvolutionState, GenerationView, StartEvolution, Window
from subjects.evolver import PopulationConfig

STREAM, SUBJECT = "EVOLUTION", "chimera.evolution.log"
MOST_BYTES = 1 << 30


class Led(msgspec.Struct, frozen=True, kw_only=True, tag="led"):
    """A node took the lead; what others write after that is refused."""

    epoch: int
    node: str
    at: float


class Configured(msgspec.Struct, frozen=True, kw_only=True, tag="configured"):
    """How populations are bred from the next generation on."""

    at: float
    config: PopulationConfig


class Began(msgspec.Struct, frozen=True, kw_only=True, tag="began"):
    """An evolution begins.

    Attributes:
        request: As it was asked for, without the cases: those are kept under the window's digest.
        release: The agent's live release: module, manifest, genome and limits that genomes are laid over.
        config: How it is bred, all choices made; ``algorithm`` is the one in use, for the reason ``why``.
        islands: The node that each island's genomes are measured on; empty = on any.
    """

    id: str
    at: float
    request: StartEvolution
    release: Release
    config: PopulationConfig
    why: str
    seed: int
    window: Window
    islands: list[str]
    descriptors: list[Descriptor] = []


class Told(msgspec.Struct, frozen=True, kw_only=True, tag="told"):
    """A steady engine took a genome's figures, when ``asked`` genomes had been asked for.

    ``losses`` are what the engine was given; ``again`` tells that the genome was known and was measured once more, on
    all training tasks.
    """

    id: str
    island: int
    number: int
    asked: int
    losses: list[float]
    half_width: float | None = None
    again: bool = False


class Bred(msgspec.Struct, frozen=True, kw_only=True, tag="bred"):
    """A generation is finished.

    Attributes:
        digests: Of the genomes that each island's engine asked for, to tell whether a rebuilt one asks for the same.
        losses: What each island's engine was given, one row of objectives per genome; empty for a steady engine.
        size: Population of all islands from the next generation on, and so are the next two.
        mutation_rate: As the next generation has it.
        immigrants: Genomes drawn at random that replace the worst.
        migrated: Whether the best of each island moved on to the next one.
        stagnant: Generations without an improvement beyond chance.
        premature: Whether diversity was gone before the search had time.
        genes: Normalised entropy of each gene's values.
        effective: Effective number of different genomes.
    """

    id: str
    at: float
    figures: GenerationView
    digests: list[bytes]
    losses: list[list[list[float]]]
    size: int
    mutation_rate: float
    immigrants: int
    migrated: bool
    stagnant: int
    premature: bool = False
    genes: dict[str, float] = {}
    effective: float = 0.0
    converged: bool = False
    reason: str = ""


class Measured(msgspec.Struct, frozen=True, kw_only=True, tag="measured"):
    """Figures of the live genome: on the training tasks at the start, on the validation tasks at the end."""

    id: str
    at: float
    part: str
    value: float | None
    tasks: int
    cpu_s: float


class Championed(msgspec.Struct, frozen=True, kw_only=True, tag="championed"):
    """The best genome by the validation tasks, beside the live one on the same tasks. ``better``: worth a trial."""

    id: str
    at: float
    genome: str
    value: float | None
    incumbent: float | None
    low: float | None
    better: bool
    reason: str


class Gated(msgspec.Struct, frozen=True, kw_only=True, tag="gated"):
    """The champion goes to the gate as this experiment; said before it is begun."""

    id: str
    at: float
    experiment: str


class Judged(msgspec.Struct, frozen=True, kw_only=True, tag="judged"):
    """The gate's experiment ended: promoted if ``release`` is given, else discarded."""

    id: str
    at: float
    experiment: str
    release: int | None
    harmed: int
    reason: str


class Paused(msgspec.Struct, frozen=True, kw_only=True, tag="paused"):
    """Wait, or go on, from here."""

    id: str
    at: float
    on: bool


class Halted(msgspec.Struct, frozen=True, kw_only=True, tag="halted"):
    """A person, or autonomous mode, wants the evolution to end."""

    id: str
    at: float
    note: str


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag="ended"):
    """An evolution is over. The used figures are of its whole life."""

    id: str
    at: float
    state: EvolutionState
    reason: str
    champion: str = ""


class Moved(msgspec.Struct, frozen=True, kw_only=True, tag="moved"):
    """Autonomous mode of an agent took a sign."""

    agent: str
    at: float
    sign: Sign


RunEntry: TypeAlias = Began | Told | Bred | Measured | Championed | Gated | Judged | Paused | Halted | Ended
Entry: TypeAlias = Led | Configured | GenomeRecord | RunEntry | Moved

_decoder = msgspec.msgpack.Decoder(list[Entry])
_encode = msgspec.msgpack.Encoder().encode


def pack(entry: Any) -> bytes:
    """An entry as bytes."""
    return _encode(entry)


def unpack(data: bytes) -> Iterable[Any]:
    """The entries of a message.

    Raises:
        msgspec.DecodeError: If they are none.
    """
    return _decoder.decode(data)


LOG: LogKind[Any] = LogKind(STREAM, SUBJECT, "evolver", pack, unpack)
