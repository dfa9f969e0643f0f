"""The sandbox of one node: checks modules, loads guests, owns the worker processes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from chimera.clock import Clock
from chimera.errors import (
    BadGenomeError,
    BadMessageError,
    BadModuleError,
    BadSettingError,
    StartError,
    UnavailableError,
)
from chimera.events import EventSink, ignore_events

from .abi import check_binary, check_grants
from .cache import CacheEntry, ModuleCache
from .compiler import Compiler
from .contract import GuestSpec, ModuleInfo, SandboxStatistics, Swept
from .guest import GuestHandle, SharedGuest
from .inline import InlinePlace
from .link import Batch, WorkerLink
from .place import Place
from .pool import WorkerPool
from .residents import Residence
from .settings import SandboxSettings
from .sweep import Wish, collect
from .sweeping import CorruptGuestError, Sweep, sweep_on

_MOST_ENTRIES = 64


class LocalSandbox:
    """See ``contract.Sandbox``."""

    def __init__(self, settings: SandboxSettings, clock: Clock, events: EventSink = ignore_events) -> None:
        self._settings, self._clock = settings, clock
        self._events = events
        self._cache = ModuleCache(settings.cache_dir)
        self._compiler = Compiler(self._cache)
        self._pool = WorkerPool(settings, clock, self._heal, self._note)
        self._inline = InlinePlace(settings, clock)
        self._guests: dict[GuestSpec, SharedGuest] = {}
        self._entries: dict[tuple[str, bool], CacheEntry] = {}
        self._loading = anyio.Lock()
        self._group: TaskGroup | None = None
        self._numbers = 0
        self._past_calls = self._past_failures = 0

    async def __aenter__(self) -> Self:
        """Open the cache and start the workers.

        Raises:
            BadSettingError: If the cache folder cannot be used.
            StartError: If a worker does not come up.
        """
        await anyio.to_thread.run_sync(self._cache.open)
        group = anyio.create_task_group()
        self._group = await group.__aenter__()
        try:
            await self._pool.open(group)
        except BaseException as error:
            await self._end(error)
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        """End the workers; at most two seconds, then by force."""
        error = exc[1] if len(exc) > 1 and isinstance(exc[1], BaseException) else None
        await self._end(error)

    async def check(self, module: bytes, grants: Sequence[str] = ()) -> ModuleInfo:
        """Verify, compile in a limited child, check every signature, put it into the cache.

        Raises:
            BadModuleError: With the reason.
        """
        check_binary(module)
        check_grants((), grants)
        digest = await anyio.to_thread.run_sync(_digest, module)
        entry = await anyio.to_thread.run_sync(self._find, digest, True)
        if entry is None:
            entry = await self._compiler.compile(module, digest, tuple(grants), deterministic=True)
        check_grants(entry.info.imports, grants)
        await anyio.to_thread.run_sync(self._cache.keep_module, module)
        return entry.info

    async def load(self, spec: GuestSpec) -> GuestHandle:
        """Load on every worker and configure; equal specs share one guest.

        Raises:
            BadModuleError: If the module was never checked, no longer compiles, or does not start.
            BadGenomeError: If ``chimera_configure`` refuses, or there is none for a genome.
            BadSettingError: If it is to run inline and that is not allowed.
            UnavailableError: If the sandbox is not open.
        """
        if self._group is None:
            raise UnavailableError("the sandbox is not open")
        async with self._loading:
            shared = self._guests.get(spec)
            if shared is None:
                shared = self._guests[spec] = await self._load(spec)
            return GuestHandle(shared, self._release)

    async def sweep(
        self, spec: GuestSpec, task: str, payloads: Sequence[bytes], fields: Sequence[str], *,
        timeout_s: float | None = None, give_up: int = 0,
    ) -> Swept:  # fmt: skip
        """Run the payloads on a guest that is loaded on one worker, for as long as that takes; see ``contract``.

        Raises:
            BadModuleError, BadGenomeError: If it can't be started.
            DeadlineError: If ``timeout_s`` passed.
            OverloadedError: If too many calls wait for a worker.
            UnavailableError: If the sandbox is not open.
        """
        if self._group is None:
            raise UnavailableError("the sandbox is not open")
        wish = Wish(tuple(fields), give_up)
        if spec.placement == "inline":
            guest = await self.load(spec)
            try:
                return collect(await guest.run(task, payloads, timeout_s=timeout_s), wish)
            finally:
                await guest.close()
        order, info = await self._order(spec, self._entries.get((spec.digest, spec.deterministic)))
        if task not in info.tasks:
            raise BadMessageError(f"there is no task {task!r}", hint=f"there is: {', '.join(info.tasks)}")
        sweep = Sweep(order, task, payloads, wish)
        try:
            found = await sweep_on(self._pool, self._clock, sweep, timeout_s)
        except CorruptGuestError as error:
            self._entries.clear()
            healed = await self._heal(order)
            if healed is None:
                raise BadModuleError(str(error)) from error
            found = await sweep_on(self._pool, self._clock, sweep._replace(order=healed), timeout_s)
        self._past_calls += len(found.run_s)
        self._past_failures += len(found.failures)
        return found

    def statistics(self) -> SandboxStatistics:
        """Counters and gauges; ``instances`` counts those started since the start."""
        guests = self._guests.values()
        return SandboxStatistics(
            workers=len(self._pool.links), idle=self._pool.idle, waiting=self._pool.waiting, loaded=len(self._guests),
            calls=self._past_calls + sum(guest.calls for guest in guests),
            failures=self._past_failures + sum(guest.failures for guest in guests),
            worker_deaths=self._pool.deaths, instances=self._pool.instances + self._inline.instances,
        )  # fmt: skip

    async def _load(self, spec: GuestSpec) -> SharedGuest:
        place = self._place(spec)
        order, info = await self._order(spec)
        status, detail = await place.load(order)
        if status == "corrupt":
            healed = await self._heal(order)
            order = healed or order
            status, detail = await place.load(order)
        if status == "genome":
            raise BadGenomeError(detail)
        if status:
            raise BadModuleError(detail)
        return SharedGuest(place, order, info)

    async def _order(self, spec: GuestSpec, entry: CacheEntry | None = None) -> tuple[Residence, ModuleInfo]:
        """What a worker needs to load a guest. It checks the file itself; ``entry`` spares looking for it again."""
        entry = entry or await self._compiled(spec)
        if len(self._entries) >= _MOST_ENTRIES:
            self._entries.clear()
        self._entries[spec.digest, spec.deterministic] = entry
        check_grants(entry.info.imports, spec.grants)
        if spec.genome and not entry.info.has_configure:
            raise BadGenomeError("the module exports no chimera_configure, so it takes no genome")
        self._numbers += 1
        return self._residence(spec, entry, self._numbers), entry.info

    def _place(self, spec: GuestSpec) -> Place:
        if spec.placement == "worker":
            return self._pool
        if not self._settings.allow_inline:
            raise BadSettingError(
                f"{spec.agent} asks to run inline, which is not allowed here",
                hint="set placement = 'worker' in its manifest, or allow inline placement in the settings",
            )
        return self._inline

    async def _compiled(self, spec: GuestSpec) -> CacheEntry:
        entry = await anyio.to_thread.run_sync(self._find, spec.digest, spec.deterministic)
        if entry is not None:
            return entry
        module = await anyio.to_thread.run_sync(self._cache.module, spec.digest)
        if module is None:
            raise BadModuleError(f"the module {spec.digest} was never checked here", hint="check it first")
        return await self._compiler.compile(module, spec.digest, spec.grants, deterministic=spec.deterministic)

    async def _heal(self, order: Residence) -> Residence | None:
        """Compile again what was damaged on disk; ``None`` if that is impossible."""
        spec = order.spec
        try:
            entry = await anyio.to_thread.run_sync(self._find, spec.digest, spec.deterministic)
            if entry is not None:
                await anyio.to_thread.run_sync(self._cache.discard, entry)
            entry = await self._compiled(spec)
        except BadModuleError:
            return None
        return replace(order, path=str(entry.path), sha256=entry.sha256)

    def _residence(self, spec: GuestSpec, entry: CacheEntry, number: int) -> Residence:
        return Residence(
            number=number, path=str(entry.path), sha256=entry.sha256, spec=spec, imports=entry.info.imports,
            has_configure=entry.info.has_configure,
            memory_bytes=min(spec.limits.memory_bytes, self._settings.memory_limit_bytes),
        )  # fmt: skip

    def _find(self, digest: str, deterministic: bool) -> CacheEntry | None:  # noqa: FBT001 - run_sync passes by position
        return self._cache.find(digest, deterministic=deterministic)

    def _note(self, name: str, link: WorkerLink, batch: Batch | None) -> None:
        """Write a line about a worker; ``batch`` is what it died under."""
        pid = link.process.pid
        if name == "worker-started":
            self._events(name, "sandbox", f"worker {pid}", "info", {"pid": pid})
            return
        text = f"worker {pid} {'did not stop and was killed' if link.overdue else 'ended'}"
        fields = {"pid": pid, "agent": batch.agent if batch else "", "deaths": self._pool.deaths}
        self._events(name, "sandbox", f"{text}, under '{batch.agent}'" if batch else text, "error", fields)

    async def _release(self, shared: SharedGuest) -> None:
        await shared.wait_quiet()
        if shared.handles == 0 and self._guests.get(shared.order.spec) is shared:
            del self._guests[shared.order.spec]
            self._past_calls += shared.calls
            self._past_failures += shared.failures
            shared.place.unload(shared.order)

    async def _end(self, error: BaseException | None) -> None:
        group, self._group = self._group, None
        if group is None:
            return
        with anyio.CancelScope(shield=True):
            await self._pool.close()
            self._inline.close()
        group.cancel_scope.cancel()
        await group.__aexit__(type(error) if error else None, error, error.__traceback__ if error else None)
        if isinstance(error, StartError):
            raise error


def _digest(module: bytes) -> str:
    return hashlib.sha256(module).hexdigest()
