"""Trials beside live traffic: tasks on any release or genome, in pieces so short that live tasks never wait long."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import NamedTuple

import anyio
import msgspec
from anyio.lowlevel import checkpoint

from chimera.errors import (
    AgentContractError,
    BadGenomeError,
    BadMessageError,
    BadModuleError,
    DeadlineError,
    OverloadedError,
)
from chimera.sandbox.contract import Guest, GuestFailure, GuestResult, GuestSpec, Swept
from subjects.agent import Genes, Limits, Release
from subjects.trial import Evaluate, EvaluateGenomes, Evaluation, Failed, GenomeRun, GenomesEvaluation, Tried

from .answers import decode_output, outcome_of
from .drafts import Draft, draft_of, guest_spec
from .genome import complete_genome
from .guests import GuestPool
from .manifest import cap_limits, tasks_of
from .releases import ReleaseBook
from .settings import Serving

PIECE_S = 0.02
"""Longest that a trial means to hold a worker at a time: what a live task may have to wait for one."""

MOST_AT_ONCE = 64
"""Evaluations under way on a node; one more is refused."""

_FIRST_PIECE, _LARGEST_PIECE = 4, 256
_encode = msgspec.json.Encoder(order="deterministic").encode


class _Prepared(NamedTuple):
    checksum: str
    spec: GuestSpec


class TrialRunner:
    """Evaluates releases and genomes without leaving a trace in records, windows or breakers.

    Args:
        node: Name of this node.
        book: Knows the releases.
        pool: Loads the guests.
        serving: Caps of the operator.
        now: Monotonic seconds.
    """

    def __init__(
        self, *, node: str, book: ReleaseBook, pool: GuestPool, serving: Serving, now: Callable[[], float]
    ) -> None:
        self._node, self._book, self._pool = node, book, pool
        self._serving, self._now = serving, now
        self.running = 0
        self._turns = anyio.CapacityLimiter(1)

    async def evaluate(self, message: Evaluate, deadline: float) -> Evaluation:
        """Every input's result, in order. A task that fails is a result, not an error.

        Args:
            message: What to run on what.
            deadline: Monotonic seconds when nobody waits any more.

        Raises:
            NoAgentError, NoReleaseError: If there is none.
            BadGenomeError: If the genes do not fit the manifest, or the guest refuses them.
            BadMessageError: If the agent has no such task.
            OverloadedError: If too many evaluations are under way here.
            DeadlineError: If the time was too short; nothing of it counts.
        """
        release = await self._release(message)
        draft = self._draft(release, message.genome, message.limits)
        payloads = [_encode(one) for one in message.inputs]
        with anyio.move_on_after(max(0.0, deadline - self._now())):
            async with self._loaded(draft) as guest:
                _check_task(message, release, guest)
                results = await self._run(guest, message.task, payloads, deadline)
                return Evaluation(
                    agent=message.name, release=release.number, checksum=checksum(draft), node=self._node,
                    results=results, failed=sum(1 for one in results if one.outcome != "ok"),
                )  # fmt: skip
        raise DeadlineError(stage="running", hint="send fewer inputs at a time, or allow more time")

    async def evaluate_genomes(self, message: EvaluateGenomes, deadline: float) -> GenomesEvaluation:
        """A run per genome, in order. A genome that can't be started, or whose tasks fail, is a result too.

        As many run at once as there are workers, and one that waits, so that no worker idles: a live task finds at most
        one piece of a sweep before it besides those that run.

        Args:
            message: What to run on what.
            deadline: Monotonic seconds when nobody waits any more.

        Raises:
            NoAgentError, NoReleaseError: If there is none.
            BadModuleError: If the release's module is refused or lost.
            BadMessageError: If the agent has no such task, or there are not as many limits as genomes.
            OverloadedError: If too many evaluations are under way here.
            DeadlineError: If the time was too short; nothing of it counts.
        """
        if len(message.limits) not in {0, len(message.genomes)}:
            raise BadMessageError("limits: give one for each genome, or none at all")
        release = await self._release(message)
        with anyio.move_on_after(max(0.0, deadline - self._now())), self._counted():
            payloads = [_encode(one) for one in message.inputs]
            drafts = await self._drafts(message, release)  # while others have the workers
            self._turns.total_tokens = max(1, self._pool.workers) + 1
            async with self._turns:
                runs = [await self._genome(message, release, draft, payloads, deadline) for draft in drafts]
                return GenomesEvaluation(
                    agent=message.name, release=release.number, node=self._node, runs=runs,
                    workers=self._pool.workers, under_way=self.running,
                )  # fmt: skip
        raise DeadlineError(stage="running", hint="send fewer genomes or inputs at a time, or allow more time")

    async def _drafts(self, message: EvaluateGenomes, release: Release) -> list[_Prepared | BadGenomeError]:
        found: list[_Prepared | BadGenomeError] = []
        for genes, limits in zip(message.genomes, message.limits or [None] * len(message.genomes), strict=True):
            try:
                draft = self._draft(release, genes, limits)
                found.append(_Prepared(checksum(draft), guest_spec(draft, self._serving.limits)))
            except BadGenomeError as error:
                found.append(error)
            await checkpoint()
        return found

    async def _genome(
        self, message: EvaluateGenomes, release: Release, prepared: _Prepared | BadGenomeError,
        payloads: Sequence[bytes], deadline: float,
    ) -> GenomeRun:  # fmt: skip
        """One genome's run; it is ``refused`` if the release itself could be started, but not with this change."""
        if isinstance(prepared, BadGenomeError):
            return GenomeRun(checksum="", tasks=0, refused=prepared.detail)
        known, spec = prepared
        try:
            swept = await self._sweep(message, spec, payloads, deadline)
        except BadGenomeError as error:
            return GenomeRun(checksum=known, tasks=0, refused=error.detail)
        except BadModuleError as error:
            own = guest_spec(self._draft(release, {}, None), self._serving.limits)
            await self._sweep(message, own, payloads[:1], deadline)
            return GenomeRun(checksum=known, tasks=0, refused=error.detail)
        return _genome_run(known, swept, times=message.times)

    async def _sweep(
        self, message: EvaluateGenomes, spec: GuestSpec, payloads: Sequence[bytes], deadline: float
    ) -> Swept:
        return await self._pool.sweep(
            spec, message.task, payloads, message.fields, timeout_s=max(0.001, deadline - self._now()),
            give_up=message.give_up,
        )  # fmt: skip

    async def _release(self, message: Evaluate | EvaluateGenomes) -> Release:
        record = await self._book.read(message.name)
        return await self._book.fetch(record, message.release or record.pointers.live)

    def _draft(self, release: Release, genes: Genes, limits: Limits | None) -> Draft:
        return drafted(release, genes, limits, self._serving.limits)

    @contextmanager
    def _counted(self) -> Generator[None]:
        if self.running >= MOST_AT_ONCE:
            raise OverloadedError(f"{self.running} evaluations are under way", retry_after_s=1.0)
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    @asynccontextmanager
    async def _loaded(self, draft: Draft) -> AsyncGenerator[Guest]:
        with self._counted():
            spec = guest_spec(draft, self._serving.limits)
            # under a name of its own: what a trial holds must not count as the live agent's
            guest = await self._pool.acquire(replace(spec, agent=f"{spec.agent}~trial"))
            try:
                yield guest
            finally:
                with anyio.CancelScope(shield=True), anyio.move_on_after(self._serving.stop_s):
                    await self._pool.release(guest)

    async def _run(self, guest: Guest, task: str, payloads: Sequence[bytes], deadline: float) -> list[Tried]:
        """Piece by piece, each as long as the one before suggests: between two, live tasks get the worker."""
        results: list[Tried] = []
        size = _FIRST_PIECE
        while len(results) < len(payloads):
            piece, began = payloads[len(results) : len(results) + size], self._now()
            outcomes = await guest.run(task, piece, timeout_s=max(0.001, deadline - began))
            results.extend(_tried(outcome) for outcome in outcomes)
            each = sum(outcome.run_s for outcome in outcomes) / len(outcomes)
            size = min(_LARGEST_PIECE, max(1, int(PIECE_S / each))) if each > 0 else _LARGEST_PIECE
        return results


def drafted(release: Release, genes: Genes, limits: Limits | None, cap: Limits) -> Draft:
    """A release's content with other genes or limits, within the operator's caps.

    Raises:
        BadGenomeError: If the genes do not fit the manifest.
    """
    draft = draft_of(release)
    genome = complete_genome(draft.manifest.genome, genes, draft.genome) if genes else draft.genome
    return Draft(draft.digest, draft.manifest, genome, cap_limits(limits or draft.limits, cap))


def checksum(draft: Draft) -> str:
    """What the content of a release is known by: sha256 of its module's digest, whole genome and limits."""
    return hashlib.sha256(_encode([draft.digest, draft.genome, draft.limits])).hexdigest()


def _check_task(message: Evaluate, release: Release, guest: Guest) -> None:
    tasks = tasks_of(release.manifest, guest.info)
    if message.task not in tasks:
        known = ", ".join(sorted(tasks)[:10]) or "none"
        raise BadMessageError(f"task: '{message.name}' has no task '{message.task}'", hint=f"it has: {known}")


def _tried(outcome: GuestResult | GuestFailure) -> Tried:
    run_ms, cpu_ms = round(outcome.run_s * 1e3, 3), round(outcome.cpu_s * 1e3, 3)
    if isinstance(outcome, GuestFailure):
        return Tried(outcome=outcome_of(outcome), run_ms=run_ms, cpu_ms=cpu_ms, detail=outcome.detail[:500])
    try:
        return Tried(outcome="ok", output=decode_output(outcome), run_ms=run_ms, cpu_ms=cpu_ms)
    except AgentContractError as error:
        return Tried(outcome="agent-contract", run_ms=run_ms, cpu_ms=cpu_ms, detail=error.detail[:500])


def _genome_run(checksum_: str, swept: Swept, *, times: bool) -> GenomeRun:
    failures = [
        Failed(place=place, outcome=outcome_of(failure), detail=failure.detail[:500])
        for place, failure in swept.failures.items()
    ]
    return GenomeRun(
        checksum=checksum_, tasks=len(swept.run_s), outputs=swept.outputs, failures=failures, cpu_s=sum(swept.cpu_s),
        run_ms=[round(one * 1e3, 4) for one in swept.run_s] if times else [],
        cpu_ms=[round(one * 1e3, 4) for one in swept.cpu_s] if times else [],
    )  # fmt: skip
