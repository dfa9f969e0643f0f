"""The immutable record of a genome: sealed by a checksum over all of it, and checked against what an agent declares."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from actors.execution.genome import check_value, default_of
from chimera.errors import BadGenomeError, CorruptError
from subjects.agent import Genes, Limits, Parameter

ROOTS = ("known", "drawn", "immigrant")
"""Operators that make a genome of nothing; ``sampled`` and ``mean`` come of a distribution, with parents or without."""

OPERATORS = (*ROOTS, "mean", "sampled", "crossover", "mutation")


class DataWindow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tasks a genome was measured on.

    ``first`` and ``last`` are places in the stream of outcomes (0 = supplied tasks), ``count`` is how many tasks there
    are, ``digest`` their sha256.
    """

    first: int
    last: int
    count: int
    digest: str


class GenomeRecord(
    msgspec.Struct, frozen=True, kw_only=True, tag="genome", omit_defaults=True, forbid_unknown_fields=True
):
    """A genome, how it came about and how it was measured. It never changes; measured again, it is told elsewhere.

    A field that is added later needs a default: defaults are not written, so older checksums stay true.

    Attributes:
        id: Unique in all evolutions.
        run: The evolution it was bred in.
        number: In the order in which its island asked for genomes.
        agent: Whose genome.
        release: The live release when the evolution began.
        genes: Every searched gene.
        limits: Execution limits, where they were searched too.
        parents: Ids.
        operator: One of ``OPERATORS``.
        seed: Of the engine that made it.
        generation: Counted from 0.
        island: Counted from 0.
        fitness: First objective, higher is better; ``None`` if it failed.
        half_width: How much of it may be chance.
        values: Every objective in its own unit.
        tasks: Tasks it was measured on.
        cpu_s: Guests' CPU time that took.
        failure: Why it failed.
        window: The tasks.
        at: Unix time in seconds.
        checksum: sha256 of all the rest, 64 hex digits.
    """

    id: str
    run: str
    number: int
    agent: str
    release: int
    genes: Genes
    operator: str
    seed: int
    generation: int
    window: DataWindow
    at: float
    island: int = 0
    limits: Limits | None = None
    parents: list[str] = []
    fitness: float | None = None
    half_width: float | None = None
    values: list[float] = []
    tasks: int = 0
    cpu_s: float = 0.0
    failure: str = ""
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class Schema:
    """What a genome must fit.

    Attributes:
        parameters: As the manifest declares them.
        base: Values of the genes that are not searched: the release's genome.
        searched: Genes that every record must hold; empty = each that ``base`` does not.
        cap: Limits that searched ones may not exceed; ``None`` = not checked.
    """

    parameters: Sequence[Parameter]
    base: Mapping[str, Any] = field(default_factory=dict[str, Any])
    searched: Sequence[str] = ()
    cap: Limits | None = None


_canonical = msgspec.msgpack.Encoder(order="deterministic")
_plain = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(GenomeRecord)


def checksum_of(record: GenomeRecord) -> str:
    """sha256 over the canonical encoding of everything but the checksum: msgpack, fields in order, keys sorted."""
    return hashlib.sha256(_canonical.encode(msgspec.structs.replace(record, checksum=""))).hexdigest()


def seal(record: GenomeRecord) -> GenomeRecord:
    """The record with its checksum, its numbers in the types that decoding gives (a float field never holds an int).

    Raises:
        msgspec.ValidationError: If a value does not fit the record.
    """
    plain = _decoder.decode(_plain.encode(record))
    return msgspec.structs.replace(plain, checksum=checksum_of(plain))


def pack_record(record: GenomeRecord) -> bytes:
    """The record as bytes, for a store or a backup."""
    return _plain.encode(record)


def unpack_record(data: bytes) -> GenomeRecord:
    """The record of bytes, if its checksum is right and they are what it is written as, bit by bit.

    Raises:
        CorruptError: Otherwise. Other bytes that mean the same (an integer 0 for 0.0) are refused, too.
    """
    try:
        record = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptError(f"the genome's record can't be read: {error}") from error
    if checksum_of(record) != record.checksum:
        raise CorruptError(f"genome '{record.id[:64]}' is not what was stored: its checksum is another")
    if _plain.encode(record) != data:
        raise CorruptError(f"genome '{record.id[:64]}' is not written as it was stored")
    return record


def check(record: GenomeRecord, schema: Schema) -> list[str]:
    """Every fault of a record, in words; none if it may be deployed."""
    faults = [] if checksum_of(record) == record.checksum else ["its checksum is not that of its content"]
    return [*faults, *_genes(record.genes, schema), *_limits(record, schema), *_origin(record), *_figures(record)]


def _genes(genes: Genes, schema: Schema) -> Iterator[str]:
    known = {parameter.name: parameter for parameter in schema.parameters}
    yield from (f"unknown gene '{name[:64]}'" for name in genes if name not in known)
    needed = schema.searched or [name for name in known if name not in schema.base]
    yield from (f"gene '{name}' is missing" for name in needed if name not in genes)
    whole = {name: genes.get(name, schema.base.get(name, default_of(one))) for name, one in known.items()}
    for name, parameter in known.items():
        if name in genes:
            yield from _gene(parameter, genes[name], whole)


def _gene(parameter: Parameter, value: Any, whole: Mapping[str, Any]) -> Iterator[str]:
    try:
        checked = check_value(parameter, value)
    except BadGenomeError as error:
        yield error.detail
        return
    if type(checked) is not type(value):
        yield f"{parameter.name}: {value!r:.40} is written as {type(value).__name__}, not {type(checked).__name__}"
    elif value != default_of(parameter) and (unmet := _unmet(parameter, whole)):
        yield f"{parameter.name} counts only while {unmet}, so it must be at its default"


def _unmet(parameter: Parameter, whole: Mapping[str, Any]) -> str:
    wishes = parameter.when.items()
    return (
        "" if all(whole.get(name) == wish for name, wish in wishes) else " and ".join(f"{n} = {w}" for n, w in wishes)
    )


def _limits(record: GenomeRecord, schema: Schema) -> Iterator[str]:
    if record.limits is None or schema.cap is None:
        return
    for one in msgspec.structs.fields(Limits):
        asked, most = getattr(record.limits, one.name), getattr(schema.cap, one.name)
        if not asked <= most:
            yield f"limit {one.name}: {asked} is above the cap of {most}"


def _origin(record: GenomeRecord) -> Iterator[str]:
    operator, parents = record.operator, record.parents
    if operator not in OPERATORS:
        yield f"unknown operator '{operator[:64]}'"
    if operator in ROOTS and parents:
        yield f"'{operator}' has no parents, but it names {len(parents)}"
    if operator in {"crossover", "mutation"} and not parents:
        yield f"'{operator}' has a parent, but none is named"
    if record.id in parents:
        yield "it is its own parent"


def _figures(record: GenomeRecord) -> Iterator[str]:
    figures = {"fitness": record.fitness, "half_width": record.half_width, "cpu_s": record.cpu_s, "at": record.at}
    yield from (f"{name} is not a finite number" for name, one in figures.items() if not math.isfinite(one or 0.0))
    if not all(map(math.isfinite, record.values)):
        yield "an objective's value is not a finite number"
    counts = (record.number, record.generation, record.island, record.tasks, record.window.count)
    if min(*counts, record.half_width or 0.0, record.cpu_s) < 0:
        yield "a count or a width is below zero"
    if record.fitness is None and not record.failure:
        yield "it has neither a fitness nor a failure"
