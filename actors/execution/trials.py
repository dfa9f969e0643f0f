"""Trials beside live traffic: tasks on any release or genome, in pieces so short that live tasks never wait long."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import msgspec

from chimera.errors import AgentContractError, BadMessageError, DeadlineError, OverloadedError
from chimera.sandbox.contract import Guest, GuestFailure, GuestResult
from subjects.agent import Release
from subjects.trial import Evaluate, Evaluation, Tried

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
        draft = self._draft(release, message)
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

    async def _release(self, message: Evaluate) -> Release:
        record = await self._book.read(message.name)
        return await self._book.fetch(record, message.release or record.pointers.live)

    def _draft(self, release: Release, message: Evaluate) -> Draft:
        draft = draft_of(release)
        genome = (
            complete_genome(draft.manifest.genome, message.genome, draft.genome) if message.genome else draft.genome
        )
        limits = cap_limits(message.limits or draft.limits, self._serving.limits)
        return Draft(draft.digest, draft.manifest, genome, limits)

    @asynccontextmanager
    async def _loaded(self, draft: Draft) -> AsyncGenerator[Guest]:
        if self.running >= MOST_AT_ONCE:
            raise OverloadedError(f"{self.running} evaluations are under way", retry_after_s=1.0)
        self.running += 1
        try:
            spec = guest_spec(draft, self._serving.limits)
            # under a name of its own: what a trial holds must not count as the live agent's
            guest = await self._pool.acquire(replace(spec, agent=f"{spec.agent}~trial"))
            try:
                yield guest
            finally:
                with anyio.CancelScope(shield=True), anyio.move_on_after(self._serving.stop_s):
                    await self._pool.release(guest)
        finally:
            self.running -= 1

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
