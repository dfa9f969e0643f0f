"""A release before it has a number: what is asked for, completed from the live release, checked and capped."""

from __future__ import annotations

from dataclasses import dataclass

from chimera.errors import BadMessageError, BadModuleError
from chimera.sandbox.contract import GuestSpec, ModuleInfo
from subjects.agent import Deploy, Genes, Limits, Manifest, RegisterAgent, Release

from .genome import carry_genome, complete_genome, flatten_genome
from .manifest import cap_limits, check_manifest
from .settings import Serving


@dataclass(frozen=True, slots=True)
class Draft:
    """The content of a release. Equal drafts are the same release."""

    digest: str
    manifest: Manifest
    genome: Genes
    limits: Limits

    def is_same(self, release: Release) -> bool:
        """True if ``release`` has this content."""
        return self == draft_of(release)

    def release(self, number: int, *, parent: int | None, created_at: str, created_by: str, note: str) -> Release:
        """The release with this content."""
        return Release(
            agent=self.manifest.name, number=number, digest=self.digest, manifest=self.manifest, genome=self.genome,
            limits=self.limits, parent=parent, created_at=created_at, created_by=created_by, note=note,
        )  # fmt: skip


def draft_of(release: Release) -> Draft:
    """A release's content."""
    return Draft(release.digest, release.manifest, release.genome, release.limits)


def first_draft(message: RegisterAgent, info: ModuleInfo, settings: Serving) -> Draft:
    """What registering an agent asks for.

    Raises:
        BadModuleError: If the manifest does not fit the module.
        BadGenomeError: If the genome does not fit the manifest.
    """
    return make_draft(message.manifest, message.genome, None, info, settings)


def next_draft(message: Deploy, live: Release, info: ModuleInfo, settings: Serving) -> Draft:
    """What a deploy asks for: the live release, changed in what is given.

    Values that were set on purpose travel to a new manifest; values at their default follow the new default.

    Raises:
        BadMessageError: If nothing is to change.
        BadModuleError: If the manifest does not fit the module or names another agent.
        BadGenomeError: If the genome does not fit the manifest.
    """
    if message.module is None and message.manifest is None and message.genome is None and message.limits is None:
        raise BadMessageError("nothing to deploy", hint="give a release number, a module, manifest, genome or limits")
    manifest = message.manifest or live.manifest
    if manifest.name != live.agent:
        raise BadModuleError(f"the manifest is of '{manifest.name}', not of '{live.agent}'", hint="register it instead")
    carried = carry_genome(live.manifest.genome, manifest.genome, live.genome)
    limits = message.limits or (manifest.limits if message.manifest else live.limits)
    check_manifest(manifest, info, grants=settings.grants, inline=settings.allow_inline)
    genome = complete_genome(manifest.genome, message.genome or {}, carried)
    return Draft(info.digest, manifest, genome, cap_limits(limits, settings.limits))


def make_draft(manifest: Manifest, genome: Genes, limits: Limits | None, info: ModuleInfo, settings: Serving) -> Draft:
    """A draft from nothing but a module and what is said about it.

    Raises:
        BadModuleError: If the manifest does not fit the module.
        BadGenomeError: If the genome does not fit the manifest.
    """
    check_manifest(manifest, info, grants=settings.grants, inline=settings.allow_inline)
    full = complete_genome(manifest.genome, genome)
    return Draft(info.digest, manifest, full, cap_limits(limits or manifest.limits, settings.limits))


def guest_spec(content: Draft | Release, cap: Limits) -> GuestSpec:
    """What the sandbox loads for a release; the operator's cap of today holds for releases of yesterday too."""
    manifest = content.manifest
    return GuestSpec(
        agent=manifest.name, digest=content.digest, genome=flatten_genome(manifest.genome, content.genome),
        limits=cap_limits(content.limits, cap), reuse=manifest.reuse, grants=tuple(manifest.grants),
        deterministic=manifest.deterministic, placement=manifest.placement,
    )  # fmt: skip
