"""What is asked of the evaluator: which genomes, of which agent, on which cases, by which yardstick."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import msgspec

from actors.execution.drafts import draft_of
from actors.execution.genome import complete_genome
from actors.execution.trials import checksum
from chimera.errors import BadGenomeError
from subjects.agent import Genes, Limits, Release

from .caseload import Caseload
from .fitness_cache import SheetKey
from .yardstick import Yardstick

_CHANCE = ("clock", "random")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A genome: genes and limits that are laid over the release's."""

    genes: Genes
    limits: Limits | None = None

    def size(self) -> int:
        """Bytes that it takes in a request, about."""
        return len(msgspec.msgpack.encode(self.genes)) + (128 if self.limits else 8)


@dataclass(frozen=True)
class Examination:
    """The same for all genomes of an evaluation.

    Attributes:
        release: Module, genome and limits that candidates are laid over.
        node: The node that is preferred; empty = any.
    """

    release: Release
    caseload: Caseload
    yardstick: Yardstick
    node: str = ""

    @cached_property
    def key(self) -> tuple[str, int, str, str, str]:
        """Equal keys may share a request."""
        return self.release.agent, self.release.number, self.caseload.digest, self.yardstick.digest, self.node

    @cached_property
    def repeatable(self) -> bool:
        """Whether a genome gives the same figures again: else nothing of it is remembered."""
        manifest = self.release.manifest
        return manifest.deterministic and not any(grant in _CHANCE for grant in manifest.grants)

    def sheet_key(self, candidate: Candidate) -> SheetKey:
        """What its figures are remembered by.

        Raises:
            BadGenomeError: If the genes do not fit the manifest.
        """
        draft = draft_of(self.release)
        genome = complete_genome(draft.manifest.genome, candidate.genes, draft.genome)
        sum_ = checksum(type(draft)(draft.digest, draft.manifest, genome, candidate.limits or draft.limits))
        return SheetKey(sum_, self.caseload.digest, self.yardstick.digest)


def fault_of(examination: Examination, candidate: Candidate) -> str:
    """Why a candidate is no genome of the agent; empty if it is one."""
    try:
        examination.sheet_key(candidate)
    except BadGenomeError as error:
        return error.detail
    return ""
