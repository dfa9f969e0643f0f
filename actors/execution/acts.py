"""Acts on agents: each is prepared in the sandbox, committed in the book, put in force here, and made known."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio

from chimera.bus.contract import Bus
from chimera.errors import ChimeraError, ConflictError, NoAgentError
from chimera.wire import encode
from subjects.agent import AgentView, Deploy, Manifest, RegisterAgent, Release, Retire, Rollback
from subjects.event import ReleaseChanged

from .drafts import Draft, first_draft, guest_spec, make_draft, next_draft
from .guests import GuestPool
from .outcomes import Outbox
from .projection import AgentProjection
from .releases import Change, Record, ReleaseBook
from .runtime import Fleet
from .settings import Serving

RELEASED = "chimera.event.agent.released"
OPERATOR, SHIPPED = "operator", "shipped"


class Acts:
    """What changes agents. An act that can't be loaded here is refused before anything is written.

    Args:
        book: The truth.
        fleet: What runs here.
        pool: Checks modules and loads guests.
        serving: Caps and grants.
        bus: Where the fact of an act is stored.
        facts: Takes the fact when the bus is away; sent later.
        projection: Takes the agent as it is after the act.
        time: Unix seconds.
        report: Writes an event.
    """

    def __init__(
        self,
        *,
        book: ReleaseBook,
        fleet: Fleet,
        pool: GuestPool,
        serving: Serving,
        bus: Bus,
        facts: Outbox,
        projection: AgentProjection,
        time: Callable[[], float],
        report: Callable[..., Any],
    ) -> None:
        self._book = book
        self._fleet = fleet
        self._pool = pool
        self._serving = serving
        self._bus = bus
        self._facts = facts
        self._projection = projection
        self._time = time
        self._report = report

    async def register(self, message: RegisterAgent, *, by: str = OPERATOR) -> AgentView:
        """Add an agent; the same again changes nothing.

        Raises:
            BadModuleError, BadGenomeError: If it is refused; nothing was written.
            ConflictError: If another agent has the name.
        """
        info = await self._pool.check(message.module, message.manifest.grants)
        draft = first_draft(message, info, self._serving)
        await self._book.keep_module(info.digest, message.module)
        async with self._prepared(draft):
            return await self._done(await self._book.register(draft, by=by, note=message.note), by, message.note)

    async def deploy(self, message: Deploy) -> AgentView:
        """Make a release and send traffic to it, or go to one that exists.

        Raises:
            NoAgentError, NoReleaseError: If there is none.
            BadMessageError, BadModuleError, BadGenomeError: If it is refused; nothing was written.
            ConflictError, FencedError: If it clashes with the agent's present state.
        """
        record, by = await self._book.read(message.name), message.by
        _expect(record, message)
        target: Draft | int
        if message.release is not None:
            target, content = message.release, await self._named(record, message)
        else:
            target = content = await self._draft(record, message)
        async with self._prepared(content):
            change = await self._book.deploy(record, target, message.share, by=by, note=message.note)
            return await self._done(change, by, message.note)

    async def rollback(self, message: Rollback) -> AgentView:
        """Drop the candidate, or return to the previous release, which is warm.

        Raises:
            NoAgentError, NoReleaseError: If there is nothing to return to.
            ConflictError: If the agent is not as the caller expects.
            FencedError: If somebody else changed the agent meanwhile.
        """
        return await self._done(await self._rolled_back(message), message.by, message.note)

    async def _rolled_back(self, message: Rollback) -> Change:
        """Write it on what was seen last, if that is as the caller expects: the book refuses it if it is not so now."""
        record = self._book.at_hand(message.name) if message.expect_candidate else None
        if record is not None:
            with suppress(ConflictError):
                _expect(record, message)
                return await self._book.rollback(record)
        record = await self._book.read(message.name)
        _expect(record, message)
        return await self._book.rollback(record)

    async def retire(self, message: Retire) -> AgentView:
        """Stop serving an agent.

        Raises:
            NoAgentError: If there is none.
            FencedError: If somebody else changed it meanwhile.
        """
        return await self._done(await self._book.retire(await self._book.read(message.name)), OPERATOR, "")

    async def show(self, name: str) -> AgentView:
        """An agent as the book has it now.

        Raises:
            NoAgentError: If there is none.
        """
        record = await self._book.read(name)
        for number in range(1, record.pointers.last + 1):
            if number not in record.releases:
                await self._whole(record, number)
        return record.view()

    async def ship(self, shipped: Sequence[tuple[Manifest, bytes]]) -> None:
        """Bring the agents that came with the program into the book; never against a person's decision."""
        for manifest, module in shipped:
            try:
                await self._ship(manifest, module)
            except ChimeraError as error:
                self._report(
                    "wasm-runtime", f"shipped agent '{manifest.name}' was not entered: {error.detail}", level="warning"
                )

    async def _ship(self, manifest: Manifest, module: bytes) -> None:
        try:
            record = await self._book.read(manifest.name)
        except NoAgentError:
            await self.register(RegisterAgent(module=module, manifest=manifest, note="shipped"), by=SHIPPED)
            return
        if not record.is_live or record.pointers.candidate is not None:
            return
        info = await self._pool.check(module, manifest.grants)
        known = any(one.digest == info.digest and one.manifest == manifest for one in record.releases.values())
        if known or record.release(record.pointers.live).created_by != SHIPPED:
            return
        draft = make_draft(manifest, {}, None, info, self._serving)
        await self._book.keep_module(info.digest, module)
        async with self._prepared(draft):
            change = await self._book.deploy(record, draft, 1.0, by=SHIPPED, note="a newer version came")
            await self._done(change, SHIPPED, "a newer version came")

    async def _draft(self, record: Record, message: Deploy) -> Draft:
        live = record.release(record.pointers.live)
        grants = (message.manifest or live.manifest).grants
        if message.module is None:
            return next_draft(message, live, await self._pool.inspect(live.digest, grants), self._serving)
        info = await self._pool.check(message.module, grants)
        draft = next_draft(message, live, info, self._serving)
        await self._book.keep_module(info.digest, message.module)
        return draft

    async def _named(self, record: Record, message: Deploy) -> Release:
        if any(part is not None for part in (message.module, message.manifest, message.genome, message.limits)):
            raise ConflictError(
                "a release is immutable: give its number, or what to change, not both",
                hint="leave out 'release' to make a new one",
            )
        return await self._book.fetch(record, message.release or 0)

    async def _whole(self, record: Record, number: int) -> None:
        try:
            await self._book.fetch(record, number)
        except ChimeraError:
            return  # a number that a fenced act gave up

    @asynccontextmanager
    async def _prepared(self, content: Draft | Release) -> AsyncGenerator[None]:
        """Hold the guest loaded, so that the swap finds it warm."""
        guest = await self._pool.acquire(guest_spec(content, self._serving.limits))
        try:
            yield
        finally:
            await self._pool.release(guest)

    async def _done(self, change: Change, by: str, note: str) -> AgentView:
        """Put a change in force here and make it known. Also after a repeat: the first try may have died halfway."""
        view = change.record.view()
        await self._fleet.apply(change.record)
        async with anyio.create_task_group() as group:  # neither waits for the other's disk
            group.start_soon(self._projection.save, view)
            if change.act is not None:
                await self._tell(change, by, note)
        return view

    async def _tell(self, change: Change, by: str, note: str) -> None:
        now = change.record.pointers
        fact = ReleaseChanged(
            agent=change.record.name, act=change.act or "deployed", live=now.live, candidate=now.candidate,
            share=now.share, previous=now.previous, at=self._time(), by=by, note=note,
        )  # fmt: skip
        try:
            await self._bus.append(RELEASED, encode(fact), msg_id=now.act)
        except ChimeraError:
            self._facts.add(RELEASED, fact)
        text = f"{fact.agent}: {fact.act}, release {now.candidate if fact.act == 'candidate' else now.live}"
        self._report("release-changed", text, agent=fact.agent, act=fact.act, live=now.live, share=now.share, by=by)
        if fact.act in {"deployed", "candidate"}:
            self._report("genome-update", text, agent=fact.agent, release=now.candidate or now.live)


def _expect(record: Record, message: Deploy | Rollback) -> None:
    """Refuse an act that was decided on another state than the present one."""
    now = record.pointers
    for what, wanted, found in (
        ("live", message.expect_live, now.live),
        ("on trial", message.expect_candidate, now.candidate or 0),
    ):
        if wanted is not None and wanted != found:
            raise ConflictError(
                f"release {found or 'none'} of '{record.name}' is {what}, not {wanted or 'none'}",
                hint="read the agent's present state and decide again",
            )
