"""Genomes: immutable records with checksum and lineage; validate, deploy, go back, back up. Times are Unix seconds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from ._message import Reply, Request
from ._operation import Http, Operation, Port
from ._types import Count, Digest, Page, ReleaseNumber, Token
from .agent import Genes, Limits, Text
from .experiment import Plan
from .task import MaybeToken

GenomeId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$(?!\n)", description="a genome's id")]


class GenomeView(Reply, frozen=True, kw_only=True):
    """A genome as it is stored; it never changes.

    Attributes:
        id: ``<evolution>-<number>``.
        evolution: The evolution it was bred in.
        genes: Every searched gene; those the agent's manifest declares besides are the release's.
        limits: Execution limits, where they were searched too.
        parents: Ids; none in the first generation.
        operator: How it came about: ``known``, ``drawn``, ``immigrant``, ``crossover``, ``mutation``, ``sampled``, or
            ``mean``.
        generation: Counted from 0.
        fitness: First objective, higher is better; ``None`` if it failed, which ``failure`` explains.
        half_width: How much of it may be chance.
        values: Every objective in its own unit.
        tasks: Tasks it was measured on.
        window: Digest of the tasks.
        checksum: sha256 of all the rest.
    """

    id: str
    evolution: str
    agent: str
    release: int
    genes: Genes
    limits: Limits | None
    parents: list[str]
    operator: str
    seed: int
    generation: Count
    island: Count
    fitness: float | None
    half_width: float | None
    values: list[float]
    tasks: Count
    window: str
    failure: str
    at: float
    checksum: Digest


class GenomeList(Reply, frozen=True, kw_only=True):
    """Genomes, fittest first within the newest evolution; ``total`` is how many match."""

    genomes: list[GenomeView]
    total: Count


class ListGenomes(Request[GenomeList], frozen=True, kw_only=True):
    """Genomes by filter; empty fields do not filter."""

    agent: MaybeToken = ""
    evolution: MaybeToken = ""
    generation: Count | None = None
    order: Literal["fitness", "newest"] = "fitness"
    limit: Page = 100
    offset: Count = 0


class Ancestor(Reply, frozen=True, kw_only=True):
    """A genome in a lineage. ``depth`` is 0 for the genome asked about."""

    id: str
    parents: list[str]
    operator: str
    generation: Count
    fitness: float | None
    depth: Count


class GenomeDetail(Reply, frozen=True, kw_only=True):
    """A genome, the ways it differs from the agent's live one, its ancestors, and what is wrong with it, if anything.

    ``ancestors`` ends at a bounded number of genomes; ``cut`` says that there are more.
    """

    genome: GenomeView
    changes: Genes
    ancestors: list[Ancestor]
    cut: bool
    faults: list[str]


class GetGenome(Request[GenomeDetail], frozen=True, kw_only=True):
    """One genome with its lineage."""

    id: GenomeId
    depth: Annotated[int, Meta(ge=0, le=1000)] = 20


class BadGenome(Reply, frozen=True, kw_only=True):
    """A stored genome that is not what was stored, or may not be deployed, and why."""

    id: str
    faults: list[str]


class Validation(Reply, frozen=True, kw_only=True):
    """Every stored genome was checked now: checksum, schema, bounds, lineage.

    ``missing`` are those that were counted when they were stored and are not there any more.
    """

    status: Literal["pass", "fail"]
    checked: Count
    evolutions: Count
    bad: list[BadGenome]
    missing: list[str]
    seconds: float


class ValidateGenomes(Request[Validation], frozen=True, kw_only=True):
    """Check every stored genome, of one agent or evolution or of all."""

    agent: MaybeToken = ""
    evolution: MaybeToken = ""


class DeployGenome(Request[GenomeDetail], frozen=True, kw_only=True):
    """Hand a genome to the gate as a candidate. One that is corrupt is refused."""

    id: GenomeId
    plan: Plan = Plan()
    by: Token = "operator"
    note: Text = ""


class ReturnView(Reply, frozen=True, kw_only=True):
    """The way back: what is live, what would be (or is now), and which genes differ.

    ``done`` is false in a preview; ``how`` names the request that does it.
    """

    agent: str
    live: int
    target: ReleaseNumber | None
    candidate: int | None
    genome: str
    changes: Genes
    done: bool
    how: str
    reason: str


class PreviewReturn(Request[ReturnView], frozen=True, kw_only=True):
    """What a rollback would do; nothing is changed."""

    agent: Token = "sentiment"


class Return(Request[ReturnView], frozen=True, kw_only=True):
    """Go back to the release before the live one, with its genome, in one step; a candidate on trial is dropped first.

    Where there is no release before, dropping the candidate is all that is done.
    An experiment, evolution or autonomous mode that changes the same agent is stopped, so that it does not come back.
    """

    agent: Token = "sentiment"
    expect_live: Count | None = None
    by: Token = "operator"
    note: Text = ""


class GenomePage(Reply, frozen=True, kw_only=True):
    """Stored records as they are, packed; ``next`` is where the next page begins, ``None`` at the end."""

    records: list[bytes]
    next: Count | None
    total: Count


class ExportGenomes(Request[GenomePage], frozen=True, kw_only=True):
    """A page of stored genome records, for a backup. Each record carries its checksum."""

    agent: MaybeToken = ""
    after: Count = 0
    limit: Page = 500


class Imported(Reply, frozen=True, kw_only=True):
    """What became of records that were brought back."""

    restored: Count
    known: Count
    refused: list[BadGenome]


class ImportGenomes(Request[Imported], frozen=True, kw_only=True):
    """Bring records back from a backup. Those whose checksum is wrong are refused, by name; known ones stay."""

    records: Annotated[list[bytes], Meta(max_length=1000)]


_SHOWN = {"id": "v-1-0"}
_NONE = ("no-genome",)

GENOMES = Operation(
    "evolver", "genomes", ListGenomes, GenomeList, Port.EVOLUTION, "Stored genomes",
    http=(Http("GET", "/api/genomes"),), safe=True,
)  # fmt: skip
GENOME = Operation(
    "evolver", "genome", GetGenome, GenomeDetail, Port.EVOLUTION, "One genome with its lineage",
    http=(Http("GET", "/api/genomes/{id}"),), safe=True, errors=_NONE, example=_SHOWN,
)  # fmt: skip
VALIDATE = Operation(
    "evolver", "validate", ValidateGenomes, Validation, Port.EVOLUTION, "Check every stored genome, naming the bad",
    http=(Http("GET", "/api/genome/validate"),), safe=True, timeout_s=60.0,
)  # fmt: skip
DEPLOY = Operation(
    "evolver", "deploy", DeployGenome, GenomeDetail, Port.EVOLUTION, "Hand a genome to the gate as a candidate",
    http=(Http("POST", "/api/genomes/{id}/deploy", status=202),), timeout_s=30.0,
    errors=(*_NONE, "corrupt", "bad-genome", "conflict", "layer-not-running"), example=_SHOWN,
)  # fmt: skip
PREVIEW_ROLLBACK = Operation(
    "evolver", "preview_rollback", PreviewReturn, ReturnView, Port.EVOLUTION, "What a rollback would do",
    http=(Http("GET", "/api/evolution/rollback"),), safe=True, errors=("no-agent",),
)  # fmt: skip
ROLLBACK = Operation(
    "evolver", "rollback", Return, ReturnView, Port.EVOLUTION, "Return to the previous release and its genome",
    http=(Http("POST", "/api/evolution/rollback"),), timeout_s=30.0, errors=("no-agent", "no-release", "conflict"),
)  # fmt: skip
EXPORT = Operation(
    "evolver", "export", ExportGenomes, GenomePage, Port.EVOLUTION, "A page of genome records, for a backup",
    http=(Http("GET", "/api/genomes/export"),), safe=True, timeout_s=30.0,
)  # fmt: skip
RESTORE = Operation(
    "evolver", "restore", ImportGenomes, Imported, Port.EVOLUTION, "Bring genome records back from a backup",
    http=(Http("POST", "/api/genomes/restore"),), timeout_s=30.0, example={"records": []},
)  # fmt: skip

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    GENOMES, EXPORT, RESTORE, GENOME, VALIDATE, DEPLOY, PREVIEW_ROLLBACK, ROLLBACK,
)  # fmt: skip
